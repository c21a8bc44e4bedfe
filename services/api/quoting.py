"""Quotes: what a ledger would answer to events at this moment. Nothing is written."""

from collections.abc import Callable

from fastapi import APIRouter

from schemas.codes import DeadLetterReason
from schemas.decoding import UndecodableError
from schemas.events import Event, VoucherRedeemed
from services.api import told, told_of_ledgers
from services.api.access import Caller, Known
from services.api.answers import Document
from services.api.bodies import Events, request_body
from services.api.parameters import Programme
from services.api.problems import ProblemError
from services.api.resources import Shared
from services.ledger.heads import ProgrammeUnknownError
from services.quotes import ask, read_events

router = APIRouter(prefix="/v1/programmes", tags=["ledgers"], default_response_class=Document)


@router.post(
    "/{code}/quote",
    responses=told.answers(told_of_ledgers.Quotes, 400, 404, 413, 415),
    openapi_extra=request_body(),
)
async def quote(code: Programme, events: Events, caller: Known, shared: Shared) -> Document:
    """Decide events as the ledger would now, in their order, and write nothing. A provider may ask of its own redemptions."""
    if not caller.reads(code) and not caller.providers():
        raise ProblemError(403, "not_yours", f"{caller.name} may not ask {code} for quotes.")
    if not shared.ledger.serves(code):
        raise ProgrammeUnknownError(f"no programme {code!r} here")
    quotes = read_events(events, shared.places, _check(code, caller))
    await ask(shared.ledger, quotes)
    return Document({"events": [one.to_json() for one in quotes]})


def _check(code: str, caller: Caller) -> Callable[[Event], None]:
    """Return what raises UndecodableError for an event that is another programme's, or not the caller's to ask about."""

    def check(event: Event) -> None:
        if event.data.programme != code:
            detail = f"programme is {event.data.programme!r}, this is {code!r}"
            raise UndecodableError(DeadLetterReason.WRONG_STREAM, detail)
        own = isinstance(event, VoucherRedeemed) and event.data.provider in caller.providers()
        if not own and not caller.reads(code):
            raise UndecodableError(
                DeadLetterReason.WRONG_STREAM, f"{caller.name} may ask about its own redemptions only"
            )

    return check
