"""The first page: how all streams stand, and every programme in a line. It fits a wall as well as a phone."""

from markupsafe import Markup
from nicegui import ui

from services.monitor import charts, figures
from services.monitor.frame import View
from services.monitor.history import Measured
from services.monitor.live import Cell, Table, Text, link, state, two_lines
from services.monitor.sampler import LedgerHead, Sample, Stream
from services.monitor.telling import LATELY_SECONDS
from services.monitor.verdict import State
from services.queues import Queue

_BEHIND = {State.CATCHING_UP, State.FALLING_BEHIND}


async def build(view: View) -> None:
    """Show the streams, and the ledgers below them."""
    headline = Text(tag="h1", classes="headline")
    troubled = Text(tag="ul", classes="troubled")
    strip = Text(classes="strip")
    with ui.element("div").classes("wall"):
        with ui.element("section"):
            Text(view.words.streams, tag="h2")
            streams = _streams_table(view)
        with ui.element("section"):
            Text(view.words.programmes, tag="h2")
            ledgers = _ledgers_table(view)

    async def update() -> None:
        sample = view.site.sampler.latest
        headline.show(_headline(view, sample))
        troubled.show(_troubled(view, sample))
        strip.show(_strip(view, sample))
        streams.show([_stream(view, stream) for stream in sample.streams])
        ledgers.show([_ledger(view, ledger) for ledger in sample.ledgers])

    await view.keep(update)


def _headline(view: View, sample: Sample) -> Cell:
    said = view.words
    if not sample.number:
        return state("idle", said.starting)
    verdicts = [stream.verdict for stream in sample.streams] + [ledger.notified for ledger in sample.ledgers]
    count = len(verdicts)
    if trouble := sum(verdict.is_trouble for verdict in verdicts):
        return state("alarm", said.in_trouble.format(trouble=trouble, count=count))
    if behind := sum(verdict.state in _BEHIND for verdict in verdicts):
        return state("notice", said.behind.format(behind=behind, count=count))
    return state("ok", said.all_well.format(count=count))


def _troubled(view: View, sample: Sample) -> Markup:
    """Return the streams that need someone, by name and with the reason: nobody has to look for them in the table."""
    tell = view.teller
    named = [(tell.stream(one.row.stream), f"/streams/{one.row.stream}", one.verdict) for one in sample.streams]
    named += [(tell.programme(one.programme), f"/programmes/{one.programme}", one.notified) for one in sample.ledgers]
    return Markup("").join(
        Markup("<li>{}{}</li>").format(link(to, name), tell.verdict(verdict))
        for name, to, verdict in named
        if verdict.is_trouble
    )


def _strip(view: View, sample: Sample) -> Markup:
    said = view.words
    told = [
        (said.figure_waiting, figures.count(sum(stream.row.lag or 0 for stream in sample.streams))),
        (said.figure_in, figures.rate(sum(stream.rate_in or 0.0 for stream in sample.streams))),
        (said.figure_out, figures.rate(sum(stream.rate_out or 0.0 for stream in sample.streams))),
        (said.figure_letters, link("/dead-letters", figures.count(sample.letters_kept))),
        (said.figure_entries, figures.rate(sum(ledger.rate or 0.0 for ledger in sample.ledgers))),
        (said.figure_unnotified, figures.count(sum(max(ledger.distance, 0) for ledger in sample.ledgers))),
        (said.figure_parked, figures.count(sum(ledger.parked for ledger in sample.ledgers))),
    ]
    return Markup("").join(Markup("<div><b>{}</b><span>{}</span></div>").format(figure, name) for name, figure in told)


def _streams_table(view: View) -> Table:
    said = view.words
    columns: list[tuple[Cell, str]] = [
        (said.stream, "name"), (said.verdict, "verdict"), (said.waiting, "number"), (said.oldest_waiting, "number"),
        (said.pending, "number"), (said.oldest_pending, "number"), (said.rate_in, "number"), (said.rate_out, "number"),
        (said.last_hour, "chart"), (said.consumers, "number"), (said.letters_short, "number"),
    ]  # fmt: skip
    return Table(columns, told=said.streams, nothing=said.starting, classes="streams")


def _stream(view: View, stream: Stream) -> list[Cell]:
    tell, row = view.teller, stream.row
    letters = figures.count(row.dead_letters)
    return [
        Markup('<a href="/streams/{key}" title="{key}">{name}</a>').format(
            key=row.stream, name=tell.stream(row.stream)
        ),
        tell.verdict(stream.verdict),
        "?" if row.lag is None else figures.count(row.lag),
        tell.age(row.oldest_waiting_seconds),
        figures.count(row.pending or 0),
        tell.age(row.oldest_pending_seconds),
        figures.rate(stream.rate_in),
        figures.rate(stream.rate_out),
        charts.sparkline(stream.hour_in, stream.hour_out, hour_told(view, stream)),
        _consumers(view, row),
        link(f"/dead-letters?stream={row.stream}", letters) if row.dead_letters else letters,
    ]


def _consumers(view: View, row: Queue) -> Cell:
    """Return how many consumers there are; when one last asked, where that is not a moment ago."""
    count = figures.count(row.consumers or 0)
    if row.last_read_seconds is None or row.last_read_seconds < LATELY_SECONDS:
        return count
    return two_lines(count, view.teller.seen(row.last_read_seconds))


def hour_told(view: View, stream: Stream) -> str:
    """Return what the lines of a stream's hour come to, in words."""

    def highest(values: Measured) -> str:
        return figures.rate(max((value for value in values if value is not None), default=None))

    return view.words.last_hour_told.format(in_max=highest(stream.hour_in), out_max=highest(stream.hour_out))


def _ledgers_table(view: View) -> Table:
    said = view.words
    columns: list[tuple[Cell, str]] = [
        (said.programme, "name"), (said.notified, "verdict"), (said.entries, "number"), (said.rate_entries, "number"),
        (said.last_hour, "chart"), (said.verified, "verdict"),
    ]  # fmt: skip
    return Table(columns, told=said.programmes, nothing=said.no_programmes, classes="ledgers")


def _ledger(view: View, ledger: LedgerHead) -> list[Cell]:
    said, tell = view.words, view.teller
    notified = said.not_notified.format(count=figures.count(ledger.distance))
    return [
        link(f"/programmes/{ledger.programme}", tell.programme(ledger.programme)),
        tell.verdict(ledger.notified) if ledger.distance <= 0 else two_lines(tell.verdict(ledger.notified), notified),
        figures.count(ledger.position),
        figures.rate(ledger.rate),
        charts.sparkline(ledger.hour, (), said.last_hour),
        tell.verified(ledger.verified, advice=False),
    ]
