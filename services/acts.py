"""Acting on dead letters, and the log of it: who sent what again or threw it away, when, and by which way.

What is going to be done is written first, and what became of it after: a crash between the two leaves an act whose outcome is not
known, never an act that nobody wrote down. The letter's event is named by its SHA-256; what was discarded is not kept.
"""

import hashlib
import os
import pwd
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg
from redis.asyncio import Redis

from services.letters import Letter, discard, find_all, replay

AT_ONCE_MAX: Final = 100
"""Letters that are written down, and then acted on, in one go."""

_ASK = """
INSERT INTO act (who, through, action, letter_id, stream, entry_id, reason, event_sha256)
SELECT $1, $2, $3, of.letter_id, of.stream, of.entry_id, of.reason, of.event_sha256
FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[])
  WITH ORDINALITY AS of (letter_id, stream, entry_id, reason, event_sha256, place)
ORDER BY of.place RETURNING number"""
_OUTCOME = "INSERT INTO act_outcome (number, done) SELECT * FROM unnest($1::bigint[], $2::boolean[])"
_RECENT = """
SELECT act.at, act.who, act.through, act.action, act.letter_id, act.stream, act.entry_id, act.reason, act.event_sha256, outcome.done
FROM act LEFT JOIN act_outcome AS outcome USING (number)
ORDER BY number DESC LIMIT $1"""


class Action(StrEnum):
    """What can be done with a dead letter."""

    REPLAY = "replay"
    DISCARD = "discard"


class Through(StrEnum):
    """The ways by which someone acts."""

    MONITOR = "monitor"
    COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and by which way: the name of an operator's key, or of the operating system's user."""

    who: str
    through: Through


@dataclass(frozen=True, slots=True)
class Act:
    """One act of the log. ``done`` is False where the letter was gone already, None where the outcome is not known."""

    at: datetime
    who: str
    through: str
    action: str
    letter_id: str
    stream: str
    entry_id: str
    reason: str
    event_sha256: bytes
    done: bool | None

    def to_json(self) -> dict[str, object]:
        """Return the act as ``dead-letters log --json`` has it."""
        outcome = "unknown" if self.done is None else "done" if self.done else "gone"
        return {
            "at": self.at.isoformat(), "who": self.who, "through": self.through, "action": self.action,
            "letter_id": self.letter_id, "stream": self.stream, "entry_id": self.entry_id, "reason": self.reason,
            "event_sha256": self.event_sha256.hex(), "outcome": outcome,
        }  # fmt: skip


def user_of_the_system() -> str:
    """Return the name of the operating system's user that this process is of, its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


async def carry_out(
    pool: "asyncpg.Pool[asyncpg.Record]", redis: Redis, actor: Actor, action: Action, letter_ids: Sequence[str]
) -> AsyncIterator[list[str]]:
    """Do to exactly these letters what was asked; yield the ids of those that were still there, some at a time, as it is done.

    Each act is written to the log. Raises what the database or the broker raises: nothing is done that could not be written down.
    """
    act = replay if action is Action.REPLAY else discard
    for first in range(0, len(letter_ids), AT_ONCE_MAX):
        letters = await find_all(redis, letter_ids[first : first + AT_ONCE_MAX])
        numbers = await _asked(pool, actor, action, letters)
        done: list[bool] = []
        try:
            for letter in letters:
                done.append(await act(redis, letter))  # noqa: PERF401  what was done before one fails is written down
        finally:
            if done:
                await pool.execute(_OUTCOME, numbers[: len(done)], done)
        yield [letter.id for letter, was_there in zip(letters, done, strict=True) if was_there]


async def recent(pool: "asyncpg.Pool[asyncpg.Record]", limit: int) -> list[Act]:
    """Return the newest acts of the log, the newest first."""
    return [Act(*row) for row in await pool.fetch(_RECENT, limit)]


async def _asked(
    pool: "asyncpg.Pool[asyncpg.Record]", actor: Actor, action: Action, letters: Sequence[Letter]
) -> list[int]:
    rows = await pool.fetch(
        _ASK, actor.who, actor.through, action, [one.id for one in letters], [one.stream for one in letters],
        [one.entry_id for one in letters], [one.reason for one in letters],
        [hashlib.sha256(one.event).digest() for one in letters],
    )  # fmt: skip
    return [row["number"] for row in rows]
