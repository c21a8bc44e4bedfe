"""One entry of an inbound stream as a campaign publishes it, and what has to become of it."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from events_made import Wire

from schemas.codes import DeadLetterReason
from services.broker import FIELD


class Identity(NamedTuple):
    """What makes an event that event, whatever else it says."""

    programme: str
    source: str
    id: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is published, where, and how many seconds after the beginning.

    ``reason`` is that of the dead letter that it must become. Where there is none it is an event, known by its ``identity``; of
    the contents that are published under one identity (a respelling is no other content) the first to arrive counts.
    """

    at: float
    stream: str
    data: bytes
    identity: Identity | None
    content: int = 0
    reason: DeadLetterReason | None = None
    field: bytes = FIELD

    @property
    def kept(self) -> bytes:
        """What a dead letter keeps of it."""
        return self.data if self.field == FIELD else self.field + b"=" + self.data


def stream_of(event: Wire) -> str:
    """Return the stream that an event belongs on."""
    if event["type"] == "voucher.redeemed.v1":
        return f"voucher.redeemed:{event['data']['provider']}"
    return f"{event['type'].removesuffix('.v1')}:{event['data']['programme']}"


def written(event: Wire) -> bytes:
    """Return the event as JSON, in the order of its fields."""
    return json.dumps(event, ensure_ascii=False).encode()


def of_event(at: float, event: Wire, content: int = 0) -> Message:
    """Return the message that publishes an event where it belongs."""
    identity = Identity(event["data"]["programme"], event["source"], event["id"])
    return Message(at, stream_of(event), written(event), identity, content)
