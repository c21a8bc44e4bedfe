"""One programme: its budget over time, who is nearest their cap, what was refused today, what waits, and entries as they come."""

from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup
from nicegui import ui

from schemas.policy import Policy
from services.monitor import charts, figures
from services.monitor.facts import Facts, facts
from services.monitor.frame import View
from services.monitor.live import Cell, Table, Text, code, state, two_lines
from services.monitor.nearest import KEPT
from services.monitor.pages.programmes import budget_bar

NEAREST_SHOWN: Final = KEPT // 2
BEHIND_MAX: Final = 1_000
"""Entries that the figures by time may lack without a word of it: what came in the last second."""


class _Programme:
    """The page's parts."""

    def __init__(self, view: View, programme: str) -> None:
        self._view, self._code = view, programme
        said, tell = view.words, view.teller
        Text(tell.programme(programme), tag="h1")
        self._stands = Text(classes="note")
        finder(view, programme)
        with ui.element("section").classes("budget"):
            Text(said.over_time, tag="h2")
            self._budgets = Text(classes="budgets")
            self._chart = Text(classes="steps-frame")
            self._behind = Text(classes="note")
        with ui.element("div").classes("columns"):
            with ui.element("section"):
                Text(said.nearest_cap, tag="h2")
                columns: list[tuple[Cell, str]] = [
                    (said.enterprise, "name"), (said.period, ""), (said.share, "bar-cell"), (said.used, "number"),
                ]  # fmt: skip
                nothing = said.no_cap if view.site.policies[programme].cap is None else said.nobody_granted
                self._nearest = Table(columns, told=said.nearest_cap, nothing=nothing)
                self._reading = Text(classes="note")
            with ui.element("section"):
                Text(said.refused_today, tag="h2")
                columns = [(said.reason, "name"), (said.how_many, "number")]
                self._refused = Table(columns, told=said.refused_today, nothing=said.nobody_refused)
                Text(said.parked, tag="h2")
                columns = [(said.voucher, "name"), (said.provider, ""), (said.parked_since, "number")]
                self._parked = Table(columns, told=said.parked, nothing=said.not_parked)
                self._parked_more = Text(classes="note")
        with ui.element("section"):
            Text(said.last_entries, tag="h2")
            self._entries = Table(
                tell.entry_columns(), told=said.last_entries, nothing=said.no_entries, classes="entries"
            )

    async def update(self) -> None:
        """Show how the programme is now."""
        view, programme = self._view, self._code
        site, said = view.site, view.words
        found = await site.answers.get(("facts", programme), lambda: facts(site.pool, programme, site.known))
        self._stands.show(_stands(view, programme, found))
        spent = found.redeemed if found.policy.budget.per == "programme" else None
        budgets = [(budget.period, budget_bar(view, budget, spent)) for budget in found.budgets]
        self._budgets.show(
            Markup("").join(
                bar if period == "programme" else Markup("<h3>{}</h3>{}").format(period, bar) for period, bar in budgets
            )
        )
        self._chart.show(_over_time(view, found))
        self._behind.show(
            said.read_model_behind.format(count=figures.count(found.behind)) if found.behind > BEHIND_MAX else ""
        )
        self._nearest.show(_nearest(view, programme, found.policy))
        reading = site.nearest.reading(programme)
        self._reading.show("" if reading is None else said.nearest_cap_reading.format(count=figures.count(reading)))
        self._refused.show([
            [two_lines(view.teller.message(name), code(name)), figures.count(entries)]
            for name, entries in found.refused_today.items()
        ])  # fmt: skip
        self._parked.show([
            [
                view.teller.voucher_link(programme, one.voucher_id),
                view.teller.provider(one.provider),
                view.teller.since(one.parked_at),
            ]
            for one in found.parked
        ])  # fmt: skip
        more = found.parked_count - len(found.parked)
        self._parked_more.show(said.and_more.format(count=figures.count(more)) if more > 0 else "")
        zone = found.policy.period.zone
        self._entries.show([view.teller.entry(programme, entry, zone) for entry in found.last])


def finder(view: View, programme: str) -> None:
    """Make the field that leads to an enterprise or a voucher. It works by itself, without a connection."""
    said = view.words
    Text(
        Markup(
            '<label for="find">{}</label><input id="find" name="name" placeholder="{}" autocomplete="off" spellcheck="false" '
            'maxlength="64" required><button>{}</button>'
        ).format(said.find, said.find_hint, said.go),
        tag="form",
        classes="find",
    ).element.props(f'action="/programmes/{programme}/find" method="get"')


def _stands(view: View, programme: str, found: Facts) -> Markup:
    said, zone = view.words, found.policy.period.zone
    last = figures.moment(found.last[0].recorded_at, zone) if found.last else figures.NOTHING
    return Markup("{} · {} {} · {} · {}").format(
        code(programme), said.position, figures.count(found.position), last, code(f"{found.head_hash.hex()[:16]}…")
    )


def _over_time(view: View, found: Facts) -> Markup:
    said = view.words
    total = sum(budget.total for budget in found.budgets)
    issued = sum(budget.issued for budget in found.budgets)
    now = datetime.now(UTC)
    told = said.over_time_told.format(
        issued=figures.yuan(issued), redeemed=figures.yuan(found.redeemed), total=figures.yuan(total)
    )
    series = [
        charts.Series("issued", said.issued, [(hour.begins.timestamp(), hour.issued) for hour in found.hours]),
        charts.Series("redeemed", said.redeemed, [(hour.begins.timestamp(), hour.redeemed) for hour in found.hours]),
    ]
    begins = found.hours[0].begins if found.hours else now
    zone = found.policy.period.zone
    legend = [
        ("issued", said.issued, issued), ("redeemed", said.redeemed, found.redeemed), ("ceiling", said.budget, total),
    ]  # fmt: skip
    items = Markup("").join(
        Markup('<li><i class="{}"></i>{} <b>{}</b></li>').format(name, label, figures.yuan(fen))
        for name, label, fen in legend
    )
    return Markup('<ul class="legend">{}</ul>{}<div class="axis"><span>{}</span><span>{}</span></div>').format(
        items,
        charts.steps(series, total, now.timestamp() // 60 * 60, told),
        begins.astimezone(zone).strftime("%Y-%m-%d %H:%M"),
        now.astimezone(zone).strftime("%Y-%m-%d %H:%M"),
    )


def _nearest(view: View, programme: str, policy: Policy) -> list[list[Cell]]:
    cap = policy.cap
    rows: list[list[Cell]] = []
    for enterprise, period, used in view.site.nearest.fullest(programme)[:NEAREST_SHOWN]:
        limit = 0 if cap is None else cap.amount
        share = figures.share(used, limit)
        kind = "alarm" if used >= limit else "notice" if used * 100 >= limit * 80 else "ok"
        rows.append([
            view.teller.enterprise_link(programme, enterprise), period_name(view, period),
            two_lines(charts.bar([(f"share {kind}", used)], limit, share), share),
            two_lines(figures.yuan(used), figures.yuan(limit)),
        ])  # fmt: skip
    return rows


def period_name(view: View, period: str) -> Cell:
    """Return a year, or that the period is the whole of the programme."""
    return view.words.programme if period == "programme" else period


async def build(view: View, programme: str) -> None:
    """Show the programme."""
    if programme not in view.site.policies:
        Text(state("notice", view.words.not_found.format(name=programme)), tag="h1")
        return
    await view.keep(_Programme(view, programme).update)
