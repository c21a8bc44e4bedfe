"""``quote``: what the ledger would answer now, without writing."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from schemas.codes import ACCEPTED, MESSAGES, DeadLetterReason, Message
from schemas.decoding import UndecodableError, decode
from schemas.events import Event
from schemas.money import format_yuan
from schemas.policy import Policy
from services import broker
from services.broker import InboundStream
from services.cli.app import (
    BAD_USAGE,
    FOUND_WRONG,
    CommandError,
    Json,
    app,
    do,
    print_json,
    print_table,
    settings,
    stop,
)
from services.consumers.limits import of_the_ledger
from services.consumers.reading import check_place, stream_key_of, too_long
from services.ledger.append import Ledger
from services.ledger.batch import Decided, Duplicate, Outcome, Rejected, Waiting
from services.ledger.database import connect
from services.ledger.entry import Inbound, inbound
from services.programmes import load_policies
from services.settings import Settings

DUPLICATE = Message("该事件此前已受理，不重复记账。", "This event was taken in before: nothing new.")
WAITING = Message("该券尚未发放，暂候其发放。", "The voucher is not issued yet: the redemption waits for it.")


@dataclass(slots=True)
class _Line:
    """A line of the file, with its event or what is wrong with it, and in the end the ledger's answer."""

    number: int
    event: Inbound | None
    answer: Outcome | None


@app.command()
def quote(
    file: Annotated[str, typer.Argument(metavar="FILE", help="NDJSON of CloudEvents, one a line; - for stdin.")],
    *,
    as_json: Json = False,
) -> None:
    """Decide events as the ledger would at this moment, and write nothing; exit 1 if a line could be no entry."""
    chosen = settings(needs_redis=False)
    policies = load_policies(chosen.programmes_dir)
    lines = _read(_bytes_of(file), policies, chosen.entry_bytes_max)
    do(_answer(lines, chosen, policies))
    if as_json:
        print_json({"events": [_to_json(line) for line in lines]})
    else:
        columns = ("line>", "event", "programme", "outcome", "code", "granted>", "message", "")
        print_table("Quote (nothing was written)", columns, (_cells(line) for line in lines))
    if any(isinstance(line.answer, Rejected) for line in lines):
        stop(FOUND_WRONG)


def _bytes_of(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", BAD_USAGE) from None


def _read(content: bytes, policies: Mapping[str, Policy], bytes_max: int) -> list[_Line]:
    streams = {stream.key: stream for stream in broker.inbound_streams(policies)}
    lines: list[_Line] = []
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not (text := raw.strip()):
            continue
        try:
            if len(text) > bytes_max:
                raise too_long(text, bytes_max)
            event = decode(text)
            _check(event, streams, policies)
        except UndecodableError as error:
            lines.append(_Line(number, None, Rejected(error.reason, error.detail)))
        else:
            lines.append(_Line(number, inbound(event, text), None))
    return lines


def _check(event: Event, streams: Mapping[str, InboundStream], policies: Mapping[str, Policy]) -> None:
    """Raise UndecodableError where a consumer would make a dead letter of the event, or no consumer reads its stream."""
    stream = streams.get(stream_key_of(event))
    if stream is not None:
        check_place(stream, event, policies.__contains__)
    elif event.data.programme not in policies:
        raise UndecodableError(DeadLetterReason.PROGRAMME_UNKNOWN, f"no programme {event.data.programme!r} here")
    else:
        raise UndecodableError(DeadLetterReason.WRONG_STREAM, "the provider is accredited nowhere: it has no stream")


async def _answer(lines: Sequence[_Line], chosen: Settings, policies: Mapping[str, Policy]) -> None:
    """Ask for each programme's events in one go, as a batch of theirs would be decided."""
    by_programme: dict[str, list[_Line]] = {}
    for line in lines:
        if line.event is not None:
            by_programme.setdefault(line.event.event.data.programme, []).append(line)
    pool = await connect(chosen.require_database_url(), connections_max=1)
    try:
        ledger = Ledger(pool, policies, of_the_ledger(chosen))
        for programme, asked in by_programme.items():
            events = [line.event for line in asked if line.event is not None]
            for line, outcome in zip(asked, await ledger.quote(programme, events), strict=True):
                line.answer = outcome
    finally:
        await pool.close()


def _to_json(line: _Line) -> dict[str, object]:
    document: dict[str, object] = {"line": line.number}
    if line.event is not None:
        event = line.event.event
        document |= {"id": event.id, "source": event.source, "type": event.type, "programme": event.data.programme}
    match line.answer:
        case Decided(position, decision):
            message = ACCEPTED if decision.code is None else MESSAGES[decision.code]
            document |= {"outcome": "accepted" if decision.accepted else "refused", "position": position}
            document |= {} if decision.code is None else {"code": decision.code}
            document |= {} if decision.granted is None else {"granted": format_yuan(decision.granted)}
            document |= {"message": message._asdict()}
        case Rejected(reason, detail):
            document |= {"outcome": "rejected", "code": reason, "message": {"zh": detail, "en": detail}}
        case Duplicate():
            document |= {"outcome": "duplicate", "message": DUPLICATE._asdict()}
        case Waiting():
            document |= {"outcome": "waiting", "message": WAITING._asdict()}
    return document


def _cells(line: _Line) -> tuple[object, ...]:
    said = _to_json(line)
    message = said["message"]
    zh, en = message.values() if isinstance(message, dict) else ("", "")
    return (
        line.number, said.get("id"), said.get("programme"), said["outcome"], said.get("code"), said.get("granted"),
        zh if zh != en else None, en,
    )  # fmt: skip
