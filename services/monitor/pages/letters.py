"""The dead letters: filtered, read one by one, and, by an operator, sent again or thrown away, exactly those that were shown."""

import json
from collections import Counter
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup
from nicegui import ui
from nicegui.events import GenericEventArguments
from redis.exceptions import RedisError

from services.broker import AWAY
from services.letters import LetterHead, find
from services.monitor import figures
from services.monitor.acting import Acting
from services.monitor.frame import View
from services.monitor.live import Cell, Table, Text, code, state, two_lines

ROWS_MAX: Final = 50
EVENT_SHOWN_MAX: Final = 20_000
"""Characters of an event that are shown; the whole of it: `voucher-ledger dead-letters show`."""


class _Letters:
    """The list, what is filtered, and what is shown of one letter."""

    def __init__(self, view: View, reason: str, stream: str) -> None:
        self._view = view
        self._reason, self._stream, self._text = reason, stream, ""
        said = view.words
        Text(said.dead_letters, tag="h1")
        self._count = Text(classes="note")
        with ui.element("form").classes("filter").props('role="search" onsubmit="return false"'):
            self._reasons = ui.select({}, label=said.filter_reason, on_change=self._filter).classes("reasons")
            self._streams = ui.select({}, label=said.filter_stream, on_change=self._filter).classes("streams-of")
            self._texts = ui.input(label=said.filter_text, on_change=self._filter).props("clearable debounce=200")
        self._acting = Acting(view, self.matching)
        columns: list[tuple[Cell, str]] = [
            (said.failed_at, "moment"), (said.reason, ""), (said.from_whom, "name"), (said.detail, "wide"),
            (said.size, "number"), ("", "more"),
        ]  # fmt: skip
        self._table = Table(columns, told=said.dead_letters, nothing=said.no_letters, classes="letters")
        # One handler for all rows: the button says which letter it is of.
        self._table.element.on(
            "click",
            self._open,
            js_handler="(e) => { const b = e.target.closest('[data-id]'); if (b) emit(b.dataset.id) }",
        )
        self._more = Text(classes="note")

    def matching(self) -> list[LetterHead]:
        """Return the letters that the filter lets through, as they were last seen."""
        text = self._text.lower()
        return [
            letter
            for letter in self._view.site.sampler.latest.letters
            if (not self._reason or letter.reason == self._reason)
            and (not self._stream or letter.stream == self._stream)
            and (not text or text in letter.detail.lower())
        ]

    def _filter(self) -> None:
        self._reason, self._stream = self._reasons.value or "", self._streams.value or ""
        self._text = self._texts.value or ""
        self._show()

    async def update(self) -> None:
        """Show how the letters are now."""
        letters = self._view.site.sampler.latest.letters
        said = self._view.words
        self._offer(self._reasons, said.all_reasons, Counter(letter.reason for letter in letters), self._reason)
        self._offer(self._streams, said.all_streams, Counter(letter.stream for letter in letters), self._stream)
        self._show()

    def _offer(self, select: ui.select, every: str, found: Counter[str], chosen: str) -> None:
        found[chosen] += 0  # what was chosen stays, also when the last of it is gone
        options = {"": every} | {name: f"{name} ({figures.count(found[name])})" for name in sorted(found) if name}
        if options != select.options or select.value != chosen:
            select.set_options(options, value=chosen)

    def _show(self) -> None:
        said, sample, matching = self._view.words, self._view.site.sampler.latest, self.matching()
        self._count.show(
            said.letters_match.format(count=figures.count(len(matching)), kept=figures.count(sample.letters_kept))
        )
        self._table.show([self._row(letter) for letter in matching[:ROWS_MAX]])
        notes = []
        if len(matching) > ROWS_MAX:
            notes.append(said.letters_shown.format(count=ROWS_MAX))
        if sample.letters_kept > len(sample.letters):
            notes.append(said.letters_not_listed.format(count=figures.count(len(sample.letters))))
        self._more.show(" ".join(notes))
        self._acting.show(len(matching))

    def _row(self, letter: LetterHead) -> list[Cell]:
        said = self._view.words
        return [
            _moment(letter.failed_at, self._view.site.zone),
            code(letter.reason),
            two_lines(self._view.teller.owner(letter.stream), code(letter.stream)),
            letter.detail,
            figures.size(letter.size),
            Markup('<button type="button" data-id="{}">{}</button>').format(letter.id, said.show),
        ]

    async def _open(self, event: GenericEventArguments) -> None:
        """Show one letter whole. The id comes from the browser: whatever it is, it is only looked for."""
        said, letter_id = self._view.words, str(event.args)
        if not self._view.reader.may_read:
            return
        try:
            letter = await find(self._view.site.redis, letter_id)
        except (*AWAY, RedisError) as error:
            ui.notify(f"{type(error).__name__}: {error}", type="negative")
            return
        with ui.dialog() as dialog, ui.card().classes("letter"):
            if letter is None:
                Text(said.letter_gone)
            else:
                told, event_text = readable(letter.event)
                facts: list[tuple[str, Cell]] = [
                    ("ID", code(letter.id)), (said.stream, code(f"{letter.stream} {letter.entry_id}")),
                    (said.reason, state("notice", letter.reason, letter.detail)),
                    (said.failed_at, _moment(letter.failed_at, self._view.site.zone)),
                ]  # fmt: skip
                Text(Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*fact) for fact in facts), tag="dl")
                Text(said.event_as_json if told else said.event_as_bytes, tag="h3")
                Text(event_text, tag="pre")
            ui.button(said.close, on_click=dialog.close, color=None).props("flat no-caps").classes("quiet")
        dialog.on("hide", dialog.delete)
        dialog.open()


def _moment(text: str, zone: ZoneInfo) -> str:
    """Return when a letter was written, on the page's clock; whatever stands there where that is no moment."""
    try:
        return figures.moment(datetime.fromisoformat(text), zone)
    except ValueError:
        return text


def readable(event: bytes) -> tuple[bool, str]:
    """Return whether an event is JSON, and the event as people can read it: laid out, else its bytes in hex with what they spell."""
    try:
        laid_out = json.dumps(json.loads(event), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return False, _cut("\n".join(_hex_lines(event[: EVENT_SHOWN_MAX // 4])), len(event))
    return True, _cut(laid_out, len(event))


def _cut(text: str, size: int) -> str:
    return text if len(text) <= EVENT_SHOWN_MAX else f"{text[:EVENT_SHOWN_MAX]}\n… ({figures.size(size)})"


def _hex_lines(event: bytes) -> list[str]:
    lines = []
    for at in range(0, len(event), 16):
        row = event[at : at + 16]
        spelt = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
        lines.append(f"{at:06x}  {row.hex(' '):<47}  {spelt}")
    return lines


async def build(view: View, reason: str, stream: str) -> None:
    """Show the dead letters, of a reason or a stream where one is given."""
    await view.keep(_Letters(view, reason, stream).update)
