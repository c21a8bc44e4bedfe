"""For operators: how the queues stand, and the dead letters."""

from typing import Final

from fastapi import APIRouter

from services.api import access, told, told_of_streams
from services.api.access import Known
from services.api.answers import Document
from services.api.parameters import LIMIT, LetterAfter, Limit
from services.api.resources import Shared
from services.letters import letters_after
from services.queues import queues

router = APIRouter(prefix="/v1", tags=["operations"], default_response_class=Document)

LETTERS_COUNTED_MAX: Final = 2_000
"""Dead letters beyond this are not told apart by stream in an answer: they would all have to be read for it."""


@router.get("/queues", responses=told.answers(told_of_streams.Queues))
async def show_queues(caller: Known, shared: Shared) -> Document:
    """Give a row for each stream: what is on it, what waits, what is pending and since when. For operators."""
    access.require_operator(caller)
    rows = await queues(shared.redis, shared.policies, letters_counted_max=LETTERS_COUNTED_MAX)
    return Document({"streams": [row.to_json() for row in rows]})


@router.get("/dead-letters", responses=told.answers(told_of_streams.DeadLetters))
async def dead_letters(caller: Known, shared: Shared, after: LetterAfter = "0", limit: Limit = LIMIT) -> Document:
    """List dead letters, the oldest first, with their original bytes. For operators."""
    access.require_operator(caller)
    found = await letters_after(shared.redis, after, limit + 1)
    more = found[limit - 1].id if len(found) > limit else None
    return Document({"dead_letters": [letter.to_json() for letter in found[:limit]], "next": more})
