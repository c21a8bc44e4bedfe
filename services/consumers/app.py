"""A consumer as a FastStream app: how it runs until it is told to end, and that nothing of it is left then."""

import asyncio
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker
from faststream.redis.subscriber.usecases import StreamBatchSubscriber

from services.ending import at_signals
from services.tasks import end


class App(FastStream):
    """A FastStream app that remembers that it was told to end, also while it still waits for its servers, and by whom."""

    def __init__(self, broker: RedisBroker, *, graceful_seconds: float, **named: Any) -> None:
        super().__init__(broker, **named)
        self._graceful_seconds = graceful_seconds
        self._told = asyncio.Event()
        self.told_by_reader = False

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._told.is_set()

    def exit(self) -> None:
        """End the app; called by a signal, and by FastStream itself for a reader that cannot go on (its group is gone, say)."""
        # A signal is heard by the loop itself, in no task.
        if not self.stopping:
            self.told_by_reader = asyncio.current_task() is not None
        self._told.set()

    async def run(self, *_: Any, **__: Any) -> None:
        """Run until told to end.

        FastStream's own way ends what is started while it still starts more, which fails, or goes on reading, as it comes. Here
        a start that is not over is cancelled, and what it started is stopped.
        """
        at_signals(self.exit, self._graceful_seconds)
        async with self.lifespan_context():
            starting, told = asyncio.create_task(self.start()), asyncio.create_task(self._told.wait())
            try:
                await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    await told
            finally:
                await end(starting, told)
                await self.stop()

    async def stop(self) -> None:
        """Give the batches in hand their time, then cancel the readers until they have ended, and only then disconnect."""
        # FastStream cancels each once, forgets it, and disconnects: one whose cancellation is lost would go on holding its batch,
        # and one that is on its way out would connect again, with nobody left to end that.
        readers, reading = self._readers(), self._reading()
        try:
            await asyncio.gather(*(reader.stop() for reader in readers))
        finally:
            await end(*reading)
            await end(*self._reading())  # begun again meanwhile, as FastStream does with one that fails
            await super().stop()

    def _readers(self) -> list[StreamBatchSubscriber]:
        return [
            subscriber
            for broker in self.brokers
            for subscriber in broker.subscribers
            if isinstance(subscriber, StreamBatchSubscriber)
        ]

    def _reading(self) -> list["asyncio.Task[Any]"]:
        current = asyncio.current_task()
        return [task for reader in self._readers() for task in reader.tasks if task is not current]
