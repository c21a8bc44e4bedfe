"""Elements that change in place: what did not change is not sent, and what someone has selected stays selected."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape
from nicegui import ui

Cell = Markup | str
"""What is no markup is escaped: an event, a reason or a name may say anything."""

NUMERIC: Final = "number"


class Text:
    """An element whose content changes."""

    def __init__(self, content: Cell = "", *, tag: str = "div", classes: str = "") -> None:
        self.element = ui.html(str(escape(content)), sanitize=False, tag=tag).classes(classes)

    def show(self, content: Cell) -> None:
        """Show this from now on."""
        told = str(escape(content))
        if told != self.element.content:
            self.element.set_content(told)


class _Row(ui.element, component="row.js"):
    """A row of a table: one element, for an element takes long to make; the browser puts those cells anew that changed."""

    # Tuples: NiceGUI would watch each list for changes of its own.
    def __init__(self, cells: tuple[str, ...], kinds: tuple[str, ...], labels: tuple[str, ...]) -> None:
        super().__init__()
        self.props.update(cells=cells, kinds=kinds, labels=labels)

    def show(self, cells: tuple[str, ...]) -> None:
        """Show these cells from now on."""
        if cells != self.props["cells"]:
            self.props["cells"] = cells


class Table:
    """A table whose cells change; rows are added and taken away at its end. On a phone each row is a card of its own.

    A column is its heading and its class (``number`` for figures); ``told`` is what it is about, for those who do not see it.
    """

    def __init__(self, columns: Sequence[tuple[Cell, str]], *, told: str, nothing: str, classes: str = "") -> None:
        self._kinds = tuple(kind for _, kind in columns)
        self._labels = tuple(Markup(heading).striptags() for heading, _ in columns)  # noqa: S704  headings are ours
        self._rows: list[_Row] = []
        headings = Markup("").join(
            Markup('<th scope="col" class="{}">{}</th>').format(kind, heading) for heading, kind in columns
        )
        with ui.element("div").classes("table-frame"):
            with ui.element("table").classes(classes) as self.element:
                self.element.props["aria-label"] = told
                ui.html(f"<tr>{headings}</tr>", sanitize=False, tag="thead")
                self._body = ui.element("tbody")
            self._nothing = ui.html(str(escape(nothing)), sanitize=False).classes("nothing")

    def show(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Show these rows from now on."""
        shown = [tuple(str(escape(cell)) for cell in cells) for cells in rows]
        while len(self._rows) > len(shown):
            self._rows.pop()
            self._body.remove(len(self._rows))
        for cells, row in zip(shown, self._rows, strict=False):
            row.show(cells)
        with self._body:
            self._rows += [_Row(cells, self._kinds, self._labels) for cells in shown[len(self._rows) :]]
        self._nothing.set_visibility(not shown)
        self.element.set_visibility(bool(shown))


def code(text: Cell) -> Markup:
    """Return a name that a machine gave, as it is."""
    return Markup("<code>{}</code>").format(text)


def prose(sentence: str) -> Markup:
    """Return a sentence of ours, what stands in backticks as code."""
    parts = sentence.split("`")
    return Markup("").join(code(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def link(to: str, text: Cell, classes: str = "") -> Markup:
    """Return a link to another page of the monitor."""
    return Markup('<a href="{}" class="{}">{}</a>').format(to, classes, text)


def state(kind: str, text: Cell, more: Cell = "") -> Markup:
    """Return a state: its colour and its shape by its kind (``ok``, ``notice``, ``alarm`` or ``idle``), and in words what it is."""
    details = Markup('<span class="why">{}</span>').format(more) if more else Markup("")
    return Markup('<span class="state {}"><b>{}</b>{}</span>').format(kind, text, details)


def two_lines(first: Cell, second: Cell) -> Markup:
    """Return a cell of two lines, the second one quieter."""
    return Markup('{}<small class="under">{}</small>').format(first, second)
