"""Quotes: what the ledger would answer to events now, without writing; and how that is told as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schemas.codes import ACCEPTED, MESSAGES, Message
from schemas.decoding import UndecodableError
from schemas.events import Event
from schemas.money import format_yuan
from services.ledger.append import Ledger
from services.ledger.batch import Decided, Duplicate, Outcome, Rejected, Waiting
from services.ledger.entry import Inbound, inbound
from services.ledger.statements import Json
from services.placing import Places

DUPLICATE = Message("该事件此前已受理，不重复记账。", "This event was taken in before: nothing new.")
WAITING = Message("该券尚未发放，暂候其发放。", "The voucher is not issued yet: the redemption waits for it.")


@dataclass(slots=True)
class Quote:
    """An event, None where it cannot be read, and the ledger's answer, None until it was asked."""

    event: Inbound | None
    answer: Outcome | None

    def to_json(self) -> Json:
        """Return the quote as JSON has it."""
        return {**self._told_event(), **_told_answer(self.answer)}

    def _told_event(self) -> Json:
        if self.event is None:
            return {}
        event = self.event.event
        return {"id": event.id, "source": event.source, "type": event.type, "programme": event.data.programme}


def _told_answer(answer: Outcome | None) -> Json:
    match answer:
        case Decided(position, decision):
            message = ACCEPTED if decision.code is None else MESSAGES[decision.code]
            return {
                "outcome": "accepted" if decision.accepted else "refused",
                "position": position,
                **({} if decision.code is None else {"code": decision.code}),
                **({} if decision.granted is None else {"granted": format_yuan(decision.granted)}),
                "message": message._asdict(),
            }
        case Rejected(reason, detail):
            return {"outcome": "rejected", "code": reason, "message": {"zh": detail, "en": detail}}
        case Duplicate():
            return {"outcome": "duplicate", "message": DUPLICATE._asdict()}
        case Waiting():
            return {"outcome": "waiting", "message": WAITING._asdict()}
    raise AssertionError("a quote is told after the ledger was asked")


def read_events(raws: Sequence[bytes], places: Places, check: Callable[[Event], None] = lambda _: None) -> list[Quote]:
    """Return each event, or why it cannot be one; ``check`` raises UndecodableError for what is not to be quoted here."""
    return [_read(raw, places, check) for raw in raws]


def _read(raw: bytes, places: Places, check: Callable[[Event], None]) -> Quote:
    try:
        event, _ = places.read(raw)
        check(event)
    except UndecodableError as error:
        return Quote(None, Rejected(error.reason, error.detail))
    return Quote(inbound(event, raw), None)


async def ask(ledger: Ledger, quotes: Sequence[Quote]) -> None:
    """Put the ledger's answers to the quotes; each programme's events are asked for in one go, as a batch of theirs is decided."""
    by_programme: dict[str, list[tuple[Quote, Inbound]]] = {}
    for quote in quotes:
        if quote.event is not None:
            by_programme.setdefault(quote.event.event.data.programme, []).append((quote, quote.event))
    for programme, asked in by_programme.items():
        outcomes = await ledger.quote(programme, [event for _, event in asked])
        for (quote, _), outcome in zip(asked, outcomes, strict=True):
            quote.answer = outcome
