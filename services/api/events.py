"""The door for events: each goes onto its producer's stream, to be decided as one that was sent to the broker directly."""

from typing import NamedTuple

from fastapi import APIRouter

from schemas.codes import DeadLetterReason
from schemas.decoding import UndecodableError
from services.api import told, told_of_streams
from services.api.access import Caller, Known
from services.api.answers import Document
from services.api.bodies import Events, request_body
from services.api.problems import ProblemError
from services.api.resources import Shared
from services.ledger.statements import Json
from services.placing import Places
from services.publishing import publish

router = APIRouter(prefix="/v1", tags=["events"], default_response_class=Document)


@router.post(
    "/events",
    status_code=202,
    responses=told.answers(told_of_streams.PostedEvents, 400, 413, 415, status=202),
    openapi_extra=request_body(),
)
async def post_events(events: Events, caller: Known, shared: Shared) -> Document:
    """Send events to be decided: a provider its redemptions, an authority its programme's issues and closures.

    Answered when they are on their streams. What is malformed, or another's to say, is not sent; if all is, the answer is 422. Send
    the same again whenever you are not sure: the same `id` with the same content counts once, for ever.
    """
    if not caller.produces():
        raise ProblemError(
            403, "not_yours", f"{caller.name} sends no events: that takes a scope provider:… or authority:…."
        )
    read = [_read(raw, caller, shared.places) for raw in events]
    sendable = [(one.stream, raw) for one, raw in zip(read, events, strict=True) if one.stream is not None]
    sent = await publish(shared.redis, sendable, shared.settings.durable_seconds_max)
    entry_ids = iter(sent.entry_ids)
    document = {
        "events": [one.to_json(None if one.stream is None else next(entry_ids)) for one in read],
        "accepted": len(sendable),
        "malformed": len(read) - len(sendable),
        "durable": sent.durable,
    }
    if not sendable:
        raise ProblemError(422, "all_malformed", "Nothing was sent: no event of the body can be.", **document)
    return Document(document, 202)


class _Event(NamedTuple):
    """An event with the key of its stream, or why it is not sent."""

    id: str | None = None
    stream: str | None = None
    error: UndecodableError | None = None

    def to_json(self, entry_id: str | None) -> Json:
        named: Json = {} if self.id is None else {"id": self.id}
        if self.error is not None:
            return {**named, "status": "malformed", "reason": self.error.reason, "detail": self.error.detail}
        return {**named, "status": "accepted", "stream": self.stream, "entry_id": entry_id}


def _read(raw: bytes, caller: Caller, places: Places) -> _Event:
    try:
        event, stream = places.read(raw)
    except UndecodableError as error:
        return _Event(error=error)
    if not caller.owns(stream):
        detail = f"{stream.key} is not {caller.name}'s to write to"
        return _Event(event.id, error=UndecodableError(DeadLetterReason.WRONG_STREAM, detail))
    return _Event(event.id, stream.key)
