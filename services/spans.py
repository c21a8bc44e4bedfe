"""Spans by OpenTelemetry: one of each batch that has events to trace, and one of each of these in the event's own trace.

The batch's span is linked to the events' contexts, and theirs to the batch's: from an event one comes to the batch that it was decided
in, and to how long each step of it took. FastStream's own middleware does not serve here: it looks for contexts in headers, which an
entry of a stream does not have, and makes spans of every batch.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from time import time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from schemas.tracecontext import traceparent_of
from services.ledger.measures import Measures
from services.tracing import Traced, What

EVENTS_MAX: Final = 128
"""Events of a batch that are traced at the most."""

_ENDED_WITHIN_SECONDS: Final = 5.0
_SAMPLED: Final = 1
_SECOND_HALF: Final = 2**64
_NANOSECONDS: Final = 1_000_000_000


def exporter() -> SpanExporter:
    """Return what sends spans to the collector that OpenTelemetry's own variables name."""
    return OTLPSpanExporter()


def context_of(event: bytes, share: float) -> SpanContext | None:
    """Return the context that an event was sent in; None where its producer does not trace it, or it is not of the share."""
    traceparent = traceparent_of(event)
    if traceparent is None:
        return None
    _, trace, parent, flags = (int(part, 16) for part in traceparent.split("-"))
    # As OpenTelemetry's own sampler chooses: the same traces wherever the same share is set.
    if not flags & _SAMPLED or trace % _SECOND_HALF >= share * _SECOND_HALF:
        return None
    return SpanContext(trace, parent, is_remote=True, trace_flags=TraceFlags(_SAMPLED))


class Spans:
    """The tracer of a service: what it traces goes to the exporter, some at a time, on a thread of its own."""

    def __init__(self, service: str, share: float, exporter: SpanExporter) -> None:
        release = version("voucher-ledger")
        self._provider = TracerProvider(
            ALWAYS_ON,
            Resource.create({"service.name": f"voucher-ledger-{service}", "service.version": release}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_links=EVENTS_MAX),
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("voucher-ledger", release)
        self._share = share

    @contextlib.contextmanager
    def batch(self, what: What, events: Iterable[Traced]) -> Iterator[None]:
        """Trace the batch, if any of its events is to be traced."""
        wanted: list[tuple[SpanContext, Mapping[str, Any]]] = []
        number = 0
        for raw, told in events:
            number += 1
            if len(wanted) < EVENTS_MAX and (context := context_of(raw, self._share)) is not None:
                wanted.append((context, told))
        if not wanted:
            yield
            return
        attributes = {"messaging.system": "redis", "messaging.destination.name": what.stream}
        kind, begun = SpanKind.PRODUCER if what.sends else SpanKind.CONSUMER, time_ns()
        with self._tracer.start_as_current_span(
            f"{what.verb} batch", Context(), kind, {**attributes, "messaging.batch.message_count": number},
            [Link(context) for context, _ in wanted], record_exception=False, set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                yield
            except BaseException as error:
                # Its name, and not what it says: that may be the event's.
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise
        for context, told in wanted:
            self._event(f"{what.verb} event", context, span, kind, {**attributes, **told}, begun)

    def observe(self, measures: Measures) -> None:
        """Give the batch that this task is at a span of its way through the ledger."""
        if not get_current_span().is_recording():
            return
        ended = time_ns()
        self._tracer.start_span(
            "append",
            start_time=ended - int(sum(measures.seconds.values()) * _NANOSECONDS),
            attributes={
                "voucher_ledger.programme": measures.programme,
                "voucher_ledger.first": measures.first,
                "voucher_ledger.last": measures.last,
                **{f"voucher_ledger.{step}_seconds": seconds for step, seconds in measures.seconds.items()},
            },
        ).end(ended)

    async def end(self) -> None:
        """Send what was not sent yet; a collector that is away does not keep the process."""
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop did not wait, and is closed
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _ENDED_WITHIN_SECONDS)

    def _event(
        self, name: str, context: SpanContext, batch: Span, kind: SpanKind, told: Mapping[str, Any], begun: int
    ) -> None:
        parent = set_span_in_context(NonRecordingSpan(context), Context())
        self._tracer.start_span(name, parent, kind, told, [Link(batch.get_span_context())], begun).end()
