"""Health: /livez says that the process answers, /readyz whether it can do its work, and with ``verbose`` what of it cannot."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, NamedTuple

import asyncpg
from fastapi import APIRouter, Query
from redis.exceptions import RedisError

from services.api import told_of_streams
from services.api.answers import Document
from services.api.problems import Problem
from services.api.resources import Resources, Shared
from services.health import Answer
from services.keys import KeysError
from services.ledger.database import TRANSIENT
from services.readmodel.tailing import behind

router = APIRouter(tags=["health"], default_response_class=Document)

_CHECK_SECONDS: Final = 3
_BEHIND_MAX: Final = 200_000
"""With more entries than this not taken into the read model yet, answers by enterprise, provider or voucher take long."""


class _Check(NamedTuple):
    what: str
    answer: Answer


@router.get("/livez", responses={200: {"model": told_of_streams.Health}})
async def livez() -> Document:
    """Say whether the process answers."""
    return Document(Answer(ok=True, because="alive")._asdict())


@router.get(
    "/readyz",
    responses={
        200: {"model": told_of_streams.Health},
        422: {"model": Problem, "description": "The request is not valid."},
        503: {"model": told_of_streams.Health, "description": "It cannot."},
    },
)
async def readyz(
    shared: Shared,
    verbose: Annotated[str | None, Query(description="With this, `checks` says how each part is.")] = None,
) -> Document:
    """Say whether it can do its work: the database, the broker, the keys, the read model."""
    checks = [
        _Check("database", await _tried(lambda: _database(shared))),
        _Check("broker", await _tried(lambda: _broker(shared))),
        _Check("keys", _keys(shared)),
        _Check("read model", await _tried(lambda: _read_model(shared))),
    ]
    wrong = [check for check in checks if not check.answer.ok]
    ok, because = not wrong, "; ".join(f"{what}: {answer.because}" for what, answer in wrong) or "answering"
    listed = [{"what": what, **answer._asdict()} for what, answer in checks]
    document = {"ok": ok, "because": because, **({} if verbose is None else {"checks": listed})}
    return Document(document, 200 if ok else 503)


async def _tried(check: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await asyncio.wait_for(check(), _CHECK_SECONDS)
    except (asyncpg.PostgresError, RedisError, *TRANSIENT) as error:
        return Answer(ok=False, because=type(error).__name__)


async def _database(shared: Resources) -> Answer:
    await shared.pool.fetchval("SELECT 1")
    return Answer(ok=True, because="reachable")


async def _broker(shared: Resources) -> Answer:
    await shared.redis.ping()
    return Answer(ok=True, because="reachable")


def _keys(shared: Resources) -> Answer:
    if shared.keyring is None:
        return Answer(ok=True, because="no file of keys: this host may read, and nobody may send")
    try:
        return Answer(ok=True, because=f"{len(shared.keyring.keys())} keys")
    except KeysError:
        return Answer(ok=False, because="the file cannot be read: nobody is let in")


async def _read_model(shared: Resources) -> Answer:
    async with shared.pool.acquire() as connection:
        entries = sum((await behind(connection)).values())
    if shared.tailer.trouble is not None or entries > _BEHIND_MAX:
        return Answer(ok=False, because=f"{entries} entries behind")
    return Answer(ok=True, because=f"{entries} entries behind")
