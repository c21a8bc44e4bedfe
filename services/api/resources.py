"""What the requests of one process share: connections, policies, keys, and the task that keeps the read model up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Depends
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from schemas.policy import Policy
from services import broker
from services.keys import Keyring
from services.ledger.append import Ledger
from services.ledger.database import connect
from services.ledger.policies import Policies
from services.ledger.read import Pool
from services.placing import Places
from services.readmodel.tailing import Tailer
from services.served import ledger_limits
from services.settings import Settings
from services.tasks import end

_CLOSED_WITHIN_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Resources:
    """All of it. ``known`` remembers the policies that the ledgers were decided by; ``ledger`` is asked for quotes only."""

    settings: Settings
    policies: Mapping[str, Policy]
    places: Places
    keyring: Keyring | None
    pool: Pool
    redis: Redis
    ledger: Ledger
    known: Policies
    tailer: Tailer


@contextlib.asynccontextmanager
async def opened(settings: Settings, policies: Mapping[str, Policy]) -> AsyncIterator[Resources]:
    """Give the resources; nothing is connected before it is needed, so the process answers while its servers are away."""
    pool = await connect(
        settings.require_database_url(), connections_max=settings.database_connections_max, connections_min=0
    )
    redis = broker.connect(settings.require_redis_url())
    tailer = Tailer(
        pool, poll_seconds=settings.readmodel_poll_seconds, retry_seconds_max=settings.retry_seconds_max
    )  # fmt: skip
    tailing = asyncio.create_task(tailer.run())
    try:
        yield Resources(
            settings=settings,
            policies=policies,
            places=Places(policies, settings.entry_bytes_max),
            keyring=None if settings.keys_file is None else Keyring(settings.keys_file),
            pool=pool,
            redis=redis,
            ledger=Ledger(pool, policies, ledger_limits(settings)),
            known=Policies(policies),
            tailer=tailer,
        )
    finally:
        await end(tailing)
        await redis.aclose()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), _CLOSED_WITHIN_SECONDS)


async def resources_of(connection: HTTPConnection) -> Resources:
    """Return the resources of the app that a request came to."""
    # Asynchronous though it waits for nothing: what is not goes to a thread and back.
    return cast("Resources", connection.app.state.resources)


Shared = Annotated[Resources, Depends(resources_of)]
"""The parameter of a route that needs them."""
