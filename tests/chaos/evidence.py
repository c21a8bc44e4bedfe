"""What a campaign leaves behind, read from the servers once all has settled: what the checks are made on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chaos.messages import Message
from chaos.producers import Sent
from chaos.programmes import PROGRAMMES
from chaos.servers import Servers
from schemas.policy import Policy
from services.broker import DEAD_LETTERS, FIELD, each_entry, notification_stream

Row = dict[str, Any]


class Letter(NamedTuple):
    """A dead letter."""

    stream: str
    entry_id: bytes
    event: bytes
    reason: str


@dataclass(slots=True)
class Evidence:
    """All that is known of a campaign; by programme where it is of one."""

    policies: Mapping[str, Policy]
    messages: Sequence[Message]
    sent: Sequence[Sent]
    entries: dict[str, list[Row]]
    blocks: dict[tuple[str, int], bytes]
    """The hash of the block that ends at a position."""
    parked: list[bytes]
    letters: list[Letter]
    notified: dict[str, list[tuple[bytes, bytes]]]
    told: dict[str, list[tuple[bytes, bytes]]]
    """What a platform read while it all went on."""
    seen: dict[tuple[str, int], bytes]
    """What the heads said while it all went on."""


async def gather(
    servers: Servers, policies: Mapping[str, Policy], messages: Sequence[Message], sent: Sequence[Sent],
    told: dict[str, list[tuple[bytes, bytes]]], seen: dict[tuple[str, int], bytes],
) -> Evidence:  # fmt: skip
    """Read everything from the servers."""
    entries: dict[str, list[Row]] = {}
    async with servers.administrator() as connection:
        for programme in PROGRAMMES:
            found = await connection.fetch("SELECT * FROM entry WHERE programme = $1 ORDER BY position", programme)
            entries[programme] = [dict(row) for row in found]
        blocks = {
            (row["programme"], row["last"]): row["hash"]
            for row in await connection.fetch("SELECT programme, last, hash FROM block")
        }
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
