"""Tracing, off by default: how an event comes from its stream to its notification, and where the time goes.

An event that its producer traces carries a ``traceparent`` (``schemas.tracecontext``). The ledger keeps events as they came, so nothing
has to be handed on beside them. What is traced, and how, is said in ``services.spans``, which is imported only when tracing is on, for
it needs OpenTelemetry, an extra of this package. While tracing is off, a batch costs one call.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

from services.ledger.measures import Measures
from services.settings import Settings, SettingsError


class What(NamedTuple):
    """What is done with the events of a batch, and on which stream; ``sends`` when the stream is written and not read."""

    verb: str
    stream: str
    sends: bool = False


Traced = tuple[bytes, Mapping[str, Any]]
"""An event in its original bytes, and what its span is to say of it."""


class Tracer(Protocol):
    """What a service traces with."""

    def batch(self, what: What, events: Iterable[Traced]) -> AbstractContextManager[None]:
        """Trace what is done within the context with a batch of events."""

    def observe(self, measures: Measures) -> None:
        """Take in where the time went in the ledger, of the batch that this task is at."""

    async def end(self) -> None:
        """Send what was not sent yet, for a few seconds at the most."""


class Untraced:
    """Tracing is off."""

    def batch(self, what: What, events: Iterable[Traced]) -> AbstractContextManager[None]:  # noqa: ARG002  as a tracer has it
        """Trace nothing, and look at nothing."""
        return nullcontext()

    def observe(self, measures: Measures) -> None:
        """Take nothing in."""

    async def end(self) -> None:
        """Have nothing to send."""


def tracer_of(settings: Settings, service: str) -> Tracer:
    """Return what the service traces with. Raises SettingsError when tracing is on and OpenTelemetry is not installed."""
    if not settings.tracing:
        return Untraced()
    try:
        from services.spans import Spans, exporter  # noqa: PLC0415  an extra, which is not installed everywhere
    except ImportError as error:
        raise SettingsError(
            f"VOUCHER_LEDGER_TRACING is on, but {error.name} is missing: install voucher-ledger[tracing]"
        ) from None
    return Spans(service, settings.trace_share, exporter())
