"""Tracing on the real servers: an event is followed from its stream to its notification, and nothing depends on it."""

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from events_made import issue_event, raw, redemption_event, uscc
from eventually import eventually
from line import CHENGDU, dead_letters, entered, notifications, quick_settings, running, send, settled
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services import spans
from services.consumers.service import served_policies
from services.notifier import Notifier
from services.settings import Settings
from services.spans import EVENTS_MAX, Spans, context_of, exporter
from services.tasks import end
from services.tracing import Untraced, What, tracer_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ISSUED, STREAM = f"voucher.issued:{CHENGDU}", f"notification:{CHENGDU}"


def parent(number: int = 0, flags: str = "01") -> str:
    return f"00-{int(TRACE, 16) + number:032x}-{SPAN}-{flags}"


@pytest.fixture
def exported(monkeypatch) -> InMemorySpanExporter:
    """Let spans go to memory, in the consumers too."""
    memory = InMemorySpanExporter()
    monkeypatch.setattr(spans, "exporter", lambda: memory)
    # One service ends before the other, and both have this one.
    monkeypatch.setattr(memory, "shutdown", lambda: None)
    return memory


@pytest.fixture
def settings(database_url, redis_url) -> Settings:
    return quick_settings(database_url, redis_url, tracing=True)


@contextlib.asynccontextmanager
async def notifying(settings):
    tracer = tracer_of(settings, "notifier")
    task = asyncio.create_task(Notifier(settings, served_policies(settings), tracer).run())
    try:
        yield
    finally:
        await end(task)
        await tracer.end()


async def told(redis, number: int) -> bool:
    return len(await notifications(redis)) >= number


def named(exported: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exported.get_finished_spans() if span.name == name]


def links(span: ReadableSpan) -> set[str]:
    return {f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links}


def itself(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}-{span.context.span_id:016x}"


async def test_one_event_is_followed_from_its_stream_to_its_notification(settings, exported, redis, admin):
    async with running("issued", settings), notifying(settings):
        _, entry_id, _ = await send(
            redis,
            issue_event("V0", amount="10000.00"),
            issue_event("V1", amount="10000.00", enterprise=uscc(2), traceparent=parent()),
            issue_event("V2", amount="10000.00", enterprise=uscc(3), traceparent=parent(1, "00")),
        )
        await entered(admin, 3)
        await eventually(lambda: told(redis, 3))
        await settled(redis, [ISSUED])
    sent = [one for _, one in await notifications(redis)]
    # The notification carries the context on, as the event has it, sampled or not.
    assert [one.get("traceparent") for one in sent] == [None, parent(), parent(1, "00")]

    (decided,), (notified,) = named(exported, "process event"), named(exported, "send event")
    for span, kind, service in ((decided, SpanKind.CONSUMER, "issued"), (notified, SpanKind.PRODUCER, "notifier")):
        assert f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" == f"{TRACE}-{SPAN}"
        assert span.parent.is_remote
        assert span.kind is kind
        assert span.resource.attributes["service.name"] == f"voucher-ledger-{service}"
    assert decided.attributes["messaging.destination.name"] == ISSUED
    assert decided.attributes["messaging.message.id"] == entry_id.decode()
    assert notified.attributes["messaging.destination.name"] == STREAM
    assert notified.attributes["messaging.message.id"] == "2-0"
    assert notified.attributes["voucher_ledger.position"] == 2
    assert notified.attributes["voucher_ledger.outcome"] == "accepted"
    # The notifier may see the commit before the consumer has its answer, and be done before it.
    assert decided.start_time < min(decided.end_time, notified.end_time)

    (batch,), (written,) = named(exported, "process batch"), named(exported, "send batch")
    assert links(batch) == links(written) == {f"{TRACE}-{SPAN}"}
    assert links(decided) == {itself(batch)}
    assert links(notified) == {itself(written)}
    assert batch.attributes["messaging.batch.message_count"] == 3

    (append,) = named(exported, "append")
    assert append.parent.span_id == batch.context.span_id
    assert (append.attributes["voucher_ledger.first"], append.attributes["voucher_ledger.last"]) == (1, 3)
    steps = [append.attributes[f"voucher_ledger.{step}_seconds"] for step in ("wait", "load", "decide", "commit")]
    assert all(seconds >= 0 for seconds in steps)
    assert batch.start_time <= append.start_time < append.end_time <= batch.end_time
    assert sum(steps) == pytest.approx((append.end_time - append.start_time) / 1e9, abs=1e-3)


async def test_a_batch_of_which_no_event_is_traced_has_no_spans(settings, exported, redis, admin):
    async with running("issued", settings), notifying(settings):
        await send(redis, issue_event("V0"), issue_event("V1", enterprise=uscc(2), traceparent="nonsense"))
        await entered(admin, 2)
        await eventually(lambda: told(redis, 2))
    assert exported.get_finished_spans() == ()
    assert not any("traceparent" in one for _, one in await notifications(redis))


async def test_a_wrong_context_harms_nobody(settings, exported, redis, admin):
    """Whatever is in that place, the event is decided and told, and so are those around it."""
    wrong = [5, [1, 2], {"a": {"b": None}}, "", f"00-{TRACE}", "\N{SNOWMAN}", None]
    events = []
    for number, value in enumerate(wrong):
        event = issue_event(f"V{number}", amount="10000.00", enterprise=uscc(number))
        event["traceparent"] = value
        events.append((ISSUED, json.dumps(event).encode()))
    async with running("issued", settings), notifying(settings):
        await send(redis, *events, issue_event("last", traceparent=parent()))
        await entered(admin, len(wrong) + 1)
        await eventually(lambda: told(redis, len(wrong) + 1))
    assert await dead_letters(redis) == []
    assert len(named(exported, "send event")) == 1


async def test_a_refusal_says_its_code_and_no_name(settings, exported, redis, admin):
    async with running("issued", settings), notifying(settings):
        event = issue_event("V0", amount="1.00", traceparent=parent())
        await send(redis, event)
        await entered(admin, 1)
        await eventually(lambda: told(redis, 1))
    (span,) = named(exported, "send event")
    assert span.attributes["voucher_ledger.outcome"] == "refused"
    assert span.attributes["voucher_ledger.code"] == "below_minimum"
    text = " ".join(span.to_json() for span in exported.get_finished_spans())
    for word in (event["data"]["enterprise"]["uscc"], event["data"]["enterprise"]["name"], "HT-V0", "1.00"):
        assert word not in text


async def test_of_a_large_batch_some_are_traced_the_same_ones_everywhere(settings, exported, redis, admin):
    number = EVENTS_MAX + 40
    await send(
        redis,
        *(issue_event(f"V{n}", amount="10000.00", enterprise=uscc(n), traceparent=parent(n)) for n in range(number)),
    )
    async with running("issued", settings), notifying(settings.model_copy(update={"notify_batch_size": 1_000})):
        await entered(admin, number)
        await eventually(lambda: told(redis, number))
    decided = named(exported, "process event")
    assert len(decided) == EVENTS_MAX
    (batch,) = named(exported, "process batch")
    assert len(batch.links) == EVENTS_MAX
    assert batch.attributes["messaging.batch.message_count"] == number


def test_a_share_is_chosen_by_the_trace_and_only_of_what_is_sampled():
    def chosen(share: float) -> list[int]:
        half = 2**64 // 100
        events = [raw(issue_event("V0", traceparent=f"00-{1:016x}{n * half:016x}-{SPAN}-01")) for n in range(100)]
        return [n for n, event in enumerate(events) if context_of(event, share) is not None]

    assert chosen(1.0) == list(range(100))
    assert chosen(0.25) == list(range(26))
    assert chosen(0) == []
    assert context_of(raw(issue_event("V0", traceparent=parent(0, "00"))), 1.0) is None
    assert context_of(raw(issue_event("V0", traceparent=parent(0, "03"))), 1.0) is not None
    assert context_of(raw(issue_event("V0")), 1.0) is None


async def test_a_batch_that_fails_says_so_and_not_what_was_in_it(exported):
    tracer = Spans("of-a-test", 1.0, exported)
    events = [(raw(issue_event("V0", traceparent=parent())), {})]
    with pytest.raises(ValueError, match="secret"), tracer.batch(What("process", "s"), events):
        raise ValueError("secret")
    await tracer.end()
    (span,) = named(exported, "process batch")
    assert span.status.status_code is StatusCode.ERROR
    assert "ValueError" in span.to_json()
    assert "secret" not in span.to_json()


async def test_while_it_is_off_the_context_is_handed_on_and_nothing_that_traces_is_imported(
    database_url, redis_url, redis, admin
):
    settings = quick_settings(database_url, redis_url)
    assert isinstance(tracer_of(settings, "issued"), Untraced)
    async with running("issued", settings), notifying(settings):
        await send(redis, issue_event("V0", traceparent=parent()))
        await entered(admin, 1)
        await eventually(lambda: told(redis, 1))
    ((_, notification),) = await notifications(redis)
    assert notification["traceparent"] == parent()
    code = "import sys, services.cli.running; sys.exit('services.spans' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


class Collector(BaseHTTPRequestHandler):
    """Takes spans in as OpenTelemetry's collector does."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, self.headers["content-encoding"], body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.requests = []
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_spans_reach_a_collector(settings, redis, admin, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    async with running("issued", settings), running("redeemed", settings):
        await send(redis, issue_event("V0", traceparent=parent()))
        await entered(admin, 1)
        await send(redis, redemption_event("V0", traceparent=parent(1)))
        await entered(admin, 2)
    found = set()
    for path, encoding, body in collector.requests:
        assert path == "/v1/traces"
        assert encoding is None
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            found |= {
                (names["service.name"], span.name, span.trace_id.hex())
                for scope in resource.scope_spans
                for span in scope.spans
                if span.name.endswith("event")
            }
    assert found == {
        ("voucher-ledger-issued", "process event", TRACE),
        ("voucher-ledger-redeemed", "process event", f"{int(TRACE, 16) + 1:032x}"),
    }


async def test_a_collector_that_is_away_holds_nobody_up(settings, redis, admin, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(spans, "_ENDED_WITHIN_SECONDS", 0.5)
    loop, others = asyncio.get_running_loop(), set(threading.enumerate())
    async with running("issued", settings):
        await send(redis, issue_event("V0", traceparent=parent()))
        await entered(admin, 1)
        await settled(redis, [ISSUED])
        begun = loop.time()
    assert loop.time() - begun < 8
    # The exporter tries for a while yet, at random moments: drawn from what other tests draw from too.
    for thread in set(threading.enumerate()) - others:
        await asyncio.to_thread(thread.join, 60)
        assert not thread.is_alive()
    assert exporter is spans.exporter
