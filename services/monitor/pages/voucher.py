"""One voucher: what it stands at, and every entry that names it."""

from typing import Final

from markupsafe import Markup
from nicegui import ui

from services.ledger.statements import VoucherHistory
from services.monitor import figures
from services.monitor.frame import View
from services.monitor.live import Table, Text, code, link, prose, state
from services.monitor.pages.enterprise import status
from services.monitor.pages.programme import finder
from services.readmodel import accounts

SHOWN_MAX: Final = 100


async def build(view: View, programme: str, voucher_id: str) -> None:
    """Show the voucher."""
    said, tell, site = view.words, view.teller, view.site
    if programme not in site.policies:
        Text(state("notice", said.not_found.format(name=programme)), tag="h1")
        return
    Text(code(voucher_id), tag="h1")
    Text(link(f"/programmes/{programme}", tell.programme(programme)), classes="note")
    finder(view, programme)
    account = Text(classes="account")
    with ui.element("section"):
        Text(said.entries, tag="h2")
        table = Table(tell.entry_columns(), told=said.entries, nothing=said.no_entries, classes="entries")
        more = Text(classes="note")

    async def ask() -> VoucherHistory | None:
        return await accounts.voucher(site.pool, programme, voucher_id, site.known, limit=SHOWN_MAX)

    async def update() -> None:
        found = await site.answers.get(("voucher", programme, voucher_id), ask)
        if found is None:
            account.show(state("notice", said.not_found.format(name=voucher_id)))
            table.show([])
            return
        account.show(_account(view, programme, found))
        zone = site.policies[programme].period.zone
        table.show([tell.entry(programme, entry, zone) for entry in found.entries])
        more.show("" if found.next is None else prose(said.more_than_shown.format(count=SHOWN_MAX)))

    await view.keep(update)


def _account(view: View, programme: str, found: VoucherHistory) -> Markup:
    said, tell, account = view.words, view.teller, found.account
    facts = [] if account is None else [
        (said.status, status(view, account)), (said.granted, figures.yuan(account.granted)),
        (said.remaining, figures.yuan(account.remaining)),
        (said.enterprise, tell.enterprise_link(programme, account.enterprise)),
        (said.provider, tell.provider(account.provider)),
        (said.valid_until, figures.NOTHING if account.valid_until is None else account.valid_until.isoformat()),
    ]  # fmt: skip
    if found.waiting:
        facts.append((said.parked, figures.count(found.waiting)))
    return Markup("<dl>{}</dl>").format(
        Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*fact) for fact in facts)
    )
