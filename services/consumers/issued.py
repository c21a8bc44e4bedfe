"""The consumer of *voucher issued*: reads the authorities' streams, one a programme.

Run it with ``voucher-ledger run issued``, or ``faststream run services.consumers.issued:app``.
"""

from collections.abc import Mapping, Sequence

from faststream import FastStream

from schemas.policy import Policy
from services.broker import InboundStream, issued_streams
from services.consumers.intake import RawEntry
from services.consumers.service import Consumer
from services.settings import Settings, read_settings


def streams(policies: Mapping[str, Policy], _: Settings) -> Sequence[InboundStream]:
    """Return the streams that this consumer reads."""
    return issued_streams(policies)


def build(settings: Settings) -> Consumer:
    """Return the consumer, not yet started."""
    consumer = Consumer("issued", settings, streams)

    async def on_issued(stream: InboundStream, batch: list[RawEntry]) -> None:
        await consumer.take(stream, batch)

    for stream in consumer.streams:
        consumer.reads(stream, on_issued)
    return consumer


def __getattr__(name: str) -> FastStream:
    # `app` is made when it is asked for: importing this module reads no environment and connects to nothing.
    if name == "app":
        return build(read_settings()).app
    raise AttributeError(name)
