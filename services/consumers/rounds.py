"""What a consumer does beside reading, in rounds: a round that fails is told and tried again, and never ends the rounds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from services.broker import AWAY
from services.failures import told
from services.ledger.database import TRANSIENT

log = structlog.get_logger()


@asynccontextmanager
async def attempt(what: str, troubles: dict[str, str]) -> AsyncIterator[None]:
    """Let a part of a round fail; ``troubles`` says why for as long as it last did, which readiness shows."""
    try:
        yield
    except (*TRANSIENT, *AWAY) as error:
        troubles[what] = f"{what}: {told(error)}"
        log.warning("put off", what=what, because=told(error))
    except Exception as error:
        troubles[what] = f"{what}: {told(error)}"
        log.exception("failed, to be tried again", what=what)
    else:
        troubles.pop(what, None)
