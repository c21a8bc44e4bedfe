"""One stream: its verdict, its last hour, and each of its consumers."""

from nicegui import ui

from services.monitor import charts, figures
from services.monitor.frame import View
from services.monitor.live import Cell, Table, Text, code
from services.monitor.pages.streams import hour_told
from services.monitor.sampler import Stream


async def build(view: View, key: str) -> None:
    """Show the stream of this key; say that there is none where there is none."""
    said, tell = view.words, view.teller
    Text(tell.stream(key), tag="h1")
    Text(code(key), classes="note")
    verdict = Text(classes="headline")
    chart = Text(classes="big-chart")
    with ui.element("section"):
        Text(said.consumers, tag="h2")
        columns: list[tuple[Cell, str]] = [
            (said.consumer, "name"), (said.last_asked, "number"), (said.pending, "number"),
        ]  # fmt: skip
        consumers = Table(columns, told=said.consumers, nothing=said.no_reader)

    async def update() -> None:
        stream = next((one for one in view.site.sampler.latest.streams if one.row.stream == key), None)
        if stream is None:
            verdict.show(said.no_stream)
            return
        verdict.show(tell.verdict(stream.verdict))
        chart.show(charts.sparkline(stream.hour_in, stream.hour_out, hour_told(view, stream)) + hour_told(view, stream))
        consumers.show(_consumers(view, stream))

    await view.keep(update)


def _consumers(view: View, stream: Stream) -> list[list[Cell]]:
    readers = sorted(stream.row.readers, key=lambda reader: (-reader.pending, reader.last_read_seconds, reader.name))
    return [
        [code(reader.name), view.teller.seen(reader.last_read_seconds), figures.count(reader.pending)]
        for reader in readers
    ]
