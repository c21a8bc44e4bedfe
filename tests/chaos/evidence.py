"""What a campaign leaves behind, read from the servers once all has settled: what the checks are made on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chaos.messages import Identity, Message
from chaos.producers import Sent
from chaos.programmes import PROGRAMMES
from chaos.servers import Servers
from schemas.policy import Policy
from services.broker import DEAD_LETTERS, FIELD, each_entry, notification_stream

Row = dict[str, Any]


class DifferenceError(AssertionError):
    """What was found is not what has to be."""


class Letter(NamedTuple):
    """A dead letter."""

    stream: str
    entry_id: bytes
    event: bytes
    reason: str


class Block(NamedTuple):
    """A block of a chain, as far as it is looked at here: where it ends, its hash, and by which rules it was decided."""

    programme: str
    last: int
    hash: bytes
    policy: bytes


@dataclass(slots=True)
class Evidence:
    """All that is known of a campaign; by programme where it is of one."""

    policies: Mapping[bytes, Policy]
    """By digest."""
    messages: Sequence[Message]
    sent: Sequence[Sent]
    entries: dict[str, list[Row]]
    blocks: list[Block]
    """In the order of the positions."""
    parked: list[bytes]
    letters: list[Letter]
    notified: dict[str, list[tuple[bytes, bytes]]]
    told: dict[str, list[tuple[bytes, bytes]]]
    """What a platform read while it all went on."""
    seen: dict[tuple[str, int], bytes]
    """What the heads said while it all went on."""


async def gather(
    servers: Servers, policies: Mapping[bytes, Policy], messages: Sequence[Message], sent: Sequence[Sent],
    told: dict[str, list[tuple[bytes, bytes]]], seen: dict[tuple[str, int], bytes],
) -> Evidence:  # fmt: skip
    """Read everything from the servers."""
    entries: dict[str, list[Row]] = {}
    async with servers.administrator() as connection:
        for programme in PROGRAMMES:
            found = await connection.fetch("SELECT * FROM entry WHERE programme = $1 ORDER BY position", programme)
            entries[programme] = [dict(row) for row in found]
        found = await connection.fetch("SELECT programme, last, hash, policy FROM block ORDER BY programme, last")
        blocks = [Block(*row) for row in found]
        parked = [row["event"] for row in await connection.fetch("SELECT event FROM parked")]
    async with servers.client() as client:
        letters = [
            Letter(fields[b"stream"].decode(), fields[b"entry_id"], fields[FIELD], fields[b"reason"].decode())
            async for _, fields in each_entry(client, DEAD_LETTERS)
        ]
        notified = {
            programme: [
                (id_, fields[FIELD]) async for id_, fields in each_entry(client, notification_stream(programme))
            ]
            for programme in PROGRAMMES
        }
    return Evidence(policies, messages, sent, entries, blocks, parked, letters, notified, told, seen)


def policies_of(found: Evidence, programme: str) -> Iterator[Policy]:
    """Yield, for each position of a programme, the policy that it was decided by."""
    position = 0
    for block in found.blocks:
        if block.programme == programme:
            for _ in range(position, block.last):
                yield found.policies[block.policy]
            position = block.last


def rows_of(found: Evidence) -> list[Row]:
    """Return the entries of all programmes."""
    return [row for rows in found.entries.values() for row in rows]


def identity_of(row: Row) -> Identity:
    """Return which event an entry is."""
    event = json.loads(row["event"])
    return Identity(row["programme"], event["source"], event["id"])
