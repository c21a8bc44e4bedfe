"""All programmes: what each has issued, redeemed and left of its budget, and where its ledger stands."""

from markupsafe import Markup
from nicegui import ui

from services.ledger.statements import BudgetAccount
from services.monitor import charts, figures
from services.monitor.facts import redeemed
from services.monitor.frame import View
from services.monitor.live import Cell, Table, Text, code, link, two_lines
from services.readmodel.overview import Overview
from services.readmodel.overview import programmes as overview


async def build(view: View) -> None:
    """Show a row for each programme that has a ledger."""
    said, site = view.words, view.site
    Text(said.programmes, tag="h1")
    columns: list[tuple[Cell, str]] = [
        (said.programme, "name"), (said.budget, "bar-cell"), (said.issued, "number"), (said.redeemed, "number"),
        (said.left, "number"), (said.entries, "number"), (said.parked, "number"), (said.verified, "verdict"),
    ]  # fmt: skip
    with ui.element("section"):
        table = Table(columns, told=said.programmes, nothing=said.no_programmes, classes="programmes")

    async def spent(programme: str) -> int:
        return await site.answers.get(("redeemed", programme), lambda: redeemed(site.pool, programme))

    async def update() -> None:
        found = await site.answers.get("overview", lambda: overview(site.pool, site.known))
        served = [one for one in found if one.policy.code in site.policies]
        table.show([_row(view, one, await spent(one.policy.code)) for one in served])

    await view.keep(update)


def _row(view: View, one: Overview, spent: int) -> list[Cell]:
    tell, programme = view.teller, one.policy.code
    head = next((head for head in view.site.sampler.latest.ledgers if head.programme == programme), None)
    return [
        two_lines(link(f"/programmes/{programme}", tell.programme(programme)), code(programme)),
        budget_bar(view, one.budget, spent if one.policy.budget.per == "programme" else None),
        figures.yuan(one.budget.issued),
        figures.yuan(spent),
        figures.yuan(one.budget.total - one.budget.issued),
        figures.count(one.position),
        figures.count(None if head is None else head.parked),
        tell.verified(None if head is None else head.verified),
    ]


def budget_bar(view: View, budget: BudgetAccount, spent: int | None) -> Markup:
    """Return how much of a budget was issued, and of that redeemed, as a bar with its figures.

    ``spent`` is None where what was redeemed is not of this budget alone: it is not told apart by year.
    """
    said, issued, total = view.words, figures.yuan(budget.issued), figures.yuan(budget.total)
    share = said.of_budget.format(
        share=figures.share(budget.issued, budget.total), total=total, left=figures.yuan(budget.total - budget.issued)
    )
    if spent is None:
        return two_lines(charts.bar([("issued", budget.issued)], budget.total, share), share)
    told = said.over_time_told.format(issued=issued, redeemed=figures.yuan(spent), total=total)
    parts = [("redeemed", spent), ("issued", budget.issued - spent)]
    return two_lines(charts.bar(parts, budget.total, told), share)
