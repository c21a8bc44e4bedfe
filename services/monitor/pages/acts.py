"""The log of who sent dead letters again or threw them away."""

from typing import Final

from nicegui import ui

from services.acts import Act, recent
from services.monitor import figures
from services.monitor.frame import View
from services.monitor.live import Cell, Table, Text, code, state, two_lines

SHOWN_MAX: Final = 100


async def build(view: View) -> None:
    """Show the newest acts, the newest first."""
    said, site = view.words, view.site
    Text(said.acts, tag="h1")
    columns: list[tuple[Cell, str]] = [
        (said.when, "moment"), (said.who, "name"), (said.what, ""), (said.letter, ""), (said.stream, ""), (said.reason, ""),
    ]  # fmt: skip
    with ui.element("section"):
        table = Table(columns, told=said.acts, nothing=said.no_acts, classes="acts")

    async def update() -> None:
        acts = await site.answers.get("acts", lambda: recent(site.pool, SHOWN_MAX))
        table.show([_row(view, act) for act in acts])

    await view.keep(update)


def _row(view: View, act: Act) -> list[Cell]:
    said = view.words
    through = said.through_monitor if act.through == "monitor" else said.through_command
    done = said.act_replay if act.action == "replay" else said.act_discard
    if act.done is None:
        outcome = state("notice", done, said.outcome_unknown)
    else:
        outcome = state("ok", done) if act.done else state("idle", done, said.gone)
    return [
        figures.moment(act.at, view.site.zone),
        two_lines(act.who, through),
        outcome,
        two_lines(code(act.letter_id), code(f"SHA-256 {act.event_sha256.hex()[:16]}…")),
        two_lines(code(act.stream), code(act.entry_id)),
        code(act.reason),
    ]
