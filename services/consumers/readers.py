"""A consumer's readers: FastStream's subscribers of streams, whose batches come as they stand on the stream."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.subscriber.usecases import StreamBatchSubscriber

from services.broker import GROUP, InboundStream
from services.consumers.intake import RawEntry
from services.failures import told
from services.settings import Settings

log = structlog.get_logger()

Handler = Callable[[InboundStream, list[RawEntry]], Awaitable[None]]

_WATCHED_EVERY_SECONDS: Final = 0.2


class Readers:
    """The readers of one consumer, all of one broker."""

    def __init__(self, broker: RedisBroker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._all: list[tuple[str, StreamBatchSubscriber]] = []

    def add(self, stream: InboundStream, handler: Handler) -> None:
        """Let the handler have the stream's batches, by as many readers as the settings say."""
        for reader in range(self._settings.readers):
            subscription = StreamSub(
                stream.key, group=GROUP, consumer=f"{self._settings.consumer_name}-{reader}", batch=True,
                max_records=self._settings.batch_size, polling_interval=self._settings.block_ms,
            )  # fmt: skip

            async def handle(batch: list[RawEntry]) -> None:
                await handler(stream, batch)

            subscriber = self._broker.subscriber(
                stream=subscription,
                parser=_parse,
                decoder=_decode,
                no_reply=True,
                ack_policy=AckPolicy.NACK_ON_ERROR,
                title=f"{stream.key}/{reader}",
            )
            # Where the group is missing again by the time FastStream starts to read (someone flushed the broker), it would make
            # it from the stream's end and skip what was sent before. It reads on from where the group stands either way.
            subscriber.last_id = "0"
            subscriber(handle)
            self._all.append((stream.key, subscriber))

    async def watch(self, end: Callable[[], None]) -> None:
        """Call ``end`` when the broker refuses a reader its read: FastStream would ask again without a pause, for ever."""
        while True:
            for key, reader in self._all:
                if _refused(reader):
                    log.error("a reader is refused", stream=key, because=_why(reader))
                    end()
                    return
            await asyncio.sleep(_WATCHED_EVERY_SECONDS)

    def stopped(self) -> set[str]:
        """Return the streams that a reader of no longer reads, or was refused."""
        return {key for key, reader in self._all if _ended(reader) or _refused(reader)}


async def _parse(raw: Any, original: Callable[[Any], Awaitable[Any]]) -> Any:
    """Give FastStream's message of a batch without its own reading of the entries, of which one bad one fails all."""
    message = await original({**raw, "data": []})
    message.raw_message = raw
    return message


async def _decode(message: Any) -> list[RawEntry]:
    """Return the batch as it stands on the stream; each entry is read on its own later."""
    raw = message.raw_message
    return list(map(RawEntry, raw["message_ids"], raw["data"]))


def _why(reader: StreamBatchSubscriber) -> str:
    error = reader.tasks[0].exception()
    return "unknown" if error is None else told(error)


def _refused(reader: StreamBatchSubscriber) -> bool:
    # Its one task has failed, and FastStream has begun another beside it. That one is alive between two refusals.
    return len(reader.tasks) > 1


def _ended(reader: StreamBatchSubscriber) -> bool:
    return not reader.running or all(task.done() for task in reader.tasks)
