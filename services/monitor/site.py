"""What all pages share: the servers, the sampler, who is logged in, and for how long an answer is good."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import asyncpg
from redis.asyncio import Redis

from schemas.policy import Policy
from services.ledger.policies import Policies
from services.monitor.nearest import Nearest
from services.monitor.sampler import Sampler
from services.monitor.sessions import Sessions

Answer = TypeVar("Answer")

_GOOD_FOR_SECONDS: Final = 1.0
_ANSWERS_MAX: Final = 1_000


class Answers:
    """Answers that several browsers ask for at once, or again and again: each is asked of the database once a second at the most."""

    def __init__(self) -> None:
        self._asked: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, what: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer, of this moment or less than a second old. Raises what asking raises, to all who wait for it."""
        now = asyncio.get_running_loop().time()
        asked = self._asked.get(what)
        if asked is None or (asked[1].done() and now - asked[0] > _GOOD_FOR_SECONDS):
            if len(self._asked) >= _ANSWERS_MAX:
                self._asked = {key: one for key, one in self._asked.items() if now - one[0] <= _GOOD_FOR_SECONDS}
            asked = self._asked[what] = (now, asyncio.ensure_future(ask()))
        # One browser that goes away does not take the answer from the others.
        answer: Answer = await asyncio.shield(asked[1])
        return answer


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages are made of."""

    redis: Redis
    pool: "asyncpg.Pool[asyncpg.Record]"
    policies: Mapping[str, Policy]
    sampler: Sampler
    nearest: Nearest
    sessions: Sessions
    known: Policies
    """The rules that the ledgers were decided by, as far as they were read."""
    answers: Answers = field(default_factory=Answers)

    @property
    def zone(self) -> ZoneInfo:
        """The clock by which times are shown where they are of no programme."""
        zones = [policy.period.zone for policy in self.policies.values()]
        return zones[0] if zones else ZoneInfo("Asia/Shanghai")
