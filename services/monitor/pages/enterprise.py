"""One enterprise of a programme: its years, its vouchers, and why something was refused to it."""

from typing import Final

from nicegui import ui

from services.ledger.statements import QuotaAccount, VoucherAccount
from services.monitor import charts, figures
from services.monitor.frame import View
from services.monitor.live import Cell, Table, Text, code, link, prose, state, two_lines
from services.monitor.pages.programme import finder, period_name
from services.readmodel import accounts
from services.readmodel.accounts import EnterpriseAccount

SHOWN_MAX: Final = 30


class _Enterprise:
    """The page's parts."""

    def __init__(self, view: View, programme: str, uscc: str) -> None:
        self._view, self._code, self._uscc = view, programme, uscc
        said, tell = view.words, view.teller
        Text(code(uscc), tag="h1")
        Text(link(f"/programmes/{programme}", tell.programme(programme)), classes="note")
        finder(view, programme)
        with ui.element("section"):
            Text(said.quotas, tag="h2")
            columns: list[tuple[Cell, str]] = [
                (said.period, "name"), (said.share, "bar-cell"), (said.used, "number"), (said.limit, "number"),
                (said.left, "number"), (said.status, ""),
            ]  # fmt: skip
            self._quotas = Table(columns, told=said.quotas, nothing=said.nobody_granted)
        with ui.element("section"):
            Text(said.vouchers, tag="h2")
            columns = [
                (said.voucher, "name"), (said.provider, ""), (said.granted, "number"), (said.remaining, "number"),
                (said.valid_until, "moment"), (said.status, ""),
            ]  # fmt: skip
            self._vouchers = Table(columns, told=said.vouchers, nothing=said.no_vouchers)
            self._more = Text(classes="note")
        with ui.element("section"):
            Text(said.refusals, tag="h2")
            self._refusals = Table(
                tell.entry_columns(), told=said.refusals, nothing=said.no_refusals, classes="entries"
            )
            self._more_refusals = Text(classes="note")

    async def update(self) -> None:
        """Show how the enterprise is now."""
        view, programme, uscc = self._view, self._code, self._uscc
        site, said = view.site, view.words

        async def ask() -> EnterpriseAccount:
            return await accounts.enterprise(site.pool, programme, uscc, site.known, limit=SHOWN_MAX)

        found = await site.answers.get(("enterprise", programme, uscc), ask)
        self._quotas.show([self._quota(quota) for quota in found.quotas])
        self._vouchers.show([self._voucher(voucher) for voucher in found.vouchers.vouchers])
        self._more.show("" if found.vouchers.next is None else prose(said.more_than_shown.format(count=SHOWN_MAX)))
        zone = site.policies[programme].period.zone
        self._refusals.show([view.teller.entry(programme, entry, zone) for entry in found.refusals])
        self._more_refusals.show("" if len(found.refusals) < SHOWN_MAX else said.newest_shown.format(count=SHOWN_MAX))

    def _quota(self, quota: QuotaAccount) -> list[Cell]:
        view, said, limit = self._view, self._view.words, quota.limit
        share = "" if limit is None else figures.share(quota.used, limit)
        return [
            period_name(view, quota.period),
            "" if limit is None else two_lines(charts.bar([("share ok", quota.used)], limit, share), share),
            figures.yuan(quota.used),
            said.no_cap if limit is None else figures.yuan(limit),
            "" if limit is None else figures.yuan(0 if quota.closed else max(limit - quota.used, 0)),
            state("notice", said.closed) if quota.closed else "",
        ]

    def _voucher(self, voucher: VoucherAccount) -> list[Cell]:
        view = self._view
        return [
            view.teller.voucher_link(self._code, voucher.voucher_id),
            view.teller.provider(voucher.provider),
            figures.yuan(voucher.granted),
            figures.yuan(voucher.remaining),
            "" if voucher.valid_until is None else voucher.valid_until.isoformat(),
            status(view, voucher),
        ]


def status(view: View, voucher: VoucherAccount) -> Cell:
    """Return whether a voucher can be used."""
    said = view.words
    kinds = {"active": ("ok", said.active), "used": ("idle", said.used_up), "expired": ("notice", said.expired)}
    return state(*kinds[voucher.status])


async def build(view: View, programme: str, uscc: str) -> None:
    """Show the enterprise."""
    if programme not in view.site.policies:
        Text(state("notice", view.words.not_found.format(name=programme)), tag="h1")
        return
    await view.keep(_Enterprise(view, programme, uscc).update)
