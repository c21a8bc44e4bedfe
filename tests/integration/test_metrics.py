"""What services answer to ``/metrics`` on the real servers: what was decided, how the streams stand, and what cannot be seen."""

import asyncio
import json
from math import isnan

import pytest
from asked import free_port, get
from events_made import ENTERPRISE, issue_event, providers_of, raw, redemption_event, uscc
from eventually import eventually
from line import CHENGDU, entered, held_head, notifications, notifying, quick_settings, running, send, settled
from scraped import Scrape, scrape

from services import metrics
from services.backlog import Backlog
from services.broker import GROUP, inbound_streams
from services.health import serve_health
from services.tasks import end

ISSUED = f"voucher.issued:{CHENGDU}"
PROVIDER = providers_of(CHENGDU)[0]
REDEEMED = f"voucher.redeemed:{PROVIDER}"


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def settings(database_url, redis_url, port):
    return quick_settings(database_url, redis_url, health_port=port)


async def scraped(port: int) -> Scrape:
    return await eventually(lambda: scrape(port), told="/metrics answers")


async def test_what_was_decided_is_counted_by_programme_kind_outcome_and_code(settings, redis, admin, port):
    async with running("issued", settings):
        before = await scraped(port)
        await send(
            redis,
            *(issue_event(f"V{number}", amount="10000.00", enterprise=uscc(number)) for number in range(5)),
            issue_event("V0", event_id="again", contract_number="another", enterprise=uscc(7)),
            issue_event("V1", amount="10000.00", enterprise=uscc(1)),
            (ISSUED, b"not json"),
        )
        await entered(admin, 6)
        await settled(redis, [ISSUED])
        after = await scraped(port)

    def more(name: str, **labels: str) -> float:
        return (after.value(name, **labels) or 0) - (before.value(name, **labels) or 0)

    of = {"programme": CHENGDU, "kind": "issued"}
    assert before.value("entries_total", **of, outcome="accepted", code="") is not None, "it begins at 0"
    assert more("entries_total", **of, outcome="accepted", code="") == 5
    assert more("entries_total", **of, outcome="refused", code="voucher_exists") == 1
    assert more("duplicates_total", programme=CHENGDU) == 1
    assert more("dead_letters_total", kind="issued", reason="not_json") == 1
    assert more("batch_events_sum", kind="issued") == 8
    assert more("batch_events_count", kind="issued") == 1
    # One decode of the read, and one of each other step for each try at the programme's part of it that stood.
    assert more("batch_seconds_count", step="decode") == 1
    for step in ("wait", "load", "decide", "commit"):
        assert more("batch_seconds_count", step=step) == 1
        assert more("batch_seconds_sum", step=step) > 0
    assert more("book_lookups_total", of="voucher", held="no") > 0
    assert after.value("book_vouchers", programme=CHENGDU) >= 5
    assert after.value("ready") == 1
    assert after.value("held_seconds") == 0
    assert after.value("dead_letters_kept") == 1
    (service,) = after.labels("service")
    assert service["name"] == "issued"


async def test_waiting_and_pending_entries_are_seen_with_their_age(settings, redis, database_url, admin, port):
    async with running("issued", settings):
        await eventually(lambda: scrape(port))
        async with held_head(database_url):
            # The first is read, and waits for the head; those after it wait on the stream.
            await send(redis, issue_event("V0"))
            await eventually(lambda: stands(port, "stream_pending", 1))
            await send(redis, issue_event("V1", enterprise=uscc(2)), issue_event("V2", enterprise=uscc(3)))
            await eventually(lambda: stands(port, "stream_lag", 2))
            await eventually(lambda: older(port, 0.3))
        await entered(admin, 3)
        await settled(redis, [ISSUED])
        after = await scraped(port)
        for name in ("lag", "oldest_waiting_seconds", "pending", "oldest_pending_seconds"):
            assert after.value(f"stream_{name}", stream=ISSUED) == 0, name


async def stands(port: int, name: str, number: float) -> bool:
    return (await scraped(port)).value(name, stream=ISSUED) == number


async def older(port: int, seconds: float) -> bool:
    found = await scraped(port)
    ages = [
        found.value(f"stream_oldest_{what}_seconds", stream=ISSUED) for what in ("waiting", "pending")
    ]  # fmt: skip
    return all(age is not None and seconds < age < 60 for age in ages)


async def test_a_stream_that_nobody_ever_read_waits_as_a_whole(redis, policies):
    streams = {stream.key: stream for stream in inbound_streams({CHENGDU: policies[CHENGDU]})}
    await send(redis, issue_event("V0"), issue_event("V1"))
    await Backlog(redis, [streams[ISSUED], streams[REDEEMED]]).at_streams()
    found = Scrape((await metrics.metrics_response()).body.decode())
    assert found.value("stream_lag", stream=ISSUED) == 2
    assert 0 <= found.value("stream_oldest_waiting_seconds", stream=ISSUED) < 60
    assert found.value("stream_pending", stream=ISSUED) == 0
    # This one is not even there.
    assert found.value("stream_lag", stream=REDEEMED) == 0
    assert not await redis.exists(REDEEMED)


async def test_a_lag_that_the_broker_cannot_tell_is_not_0_and_the_age_is_told(redis, policies):
    (stream,) = (one for one in inbound_streams({CHENGDU: policies[CHENGDU]}) if one.key == ISSUED)
    ids = await send(redis, issue_event("V0"), issue_event("V1"), issue_event("V2"))
    await redis.xgroup_create(ISSUED, GROUP, id="0")
    await redis.xdel(ISSUED, ids[1])
    await Backlog(redis, [stream]).at_streams()
    found = Scrape((await metrics.metrics_response()).body.decode())
    assert isnan(found.value("stream_lag", stream=ISSUED))
    assert found.value("stream_oldest_waiting_seconds", stream=ISSUED) >= 0


async def test_what_cannot_be_looked_at_is_missing_and_not_what_it_was(redis, policies):
    streams = inbound_streams({CHENGDU: policies[CHENGDU]})
    await send(redis, issue_event("V0"))
    backlog = Backlog(redis, streams)
    before = Scrape((await metrics.metrics_response(*backlog.looks())).body.decode())
    assert before.value("stream_lag", stream=ISSUED) == 1
    assert before.value("broker_memory_bytes") > 0
    assert before.value("broker_memory_max_bytes") == 0
    await redis.delete(ISSUED)
    await redis.set(ISSUED, "not a stream")
    away = Backlog(type(redis).from_url("unix:///nowhere"), streams)
    for broken in (Backlog(redis, streams).looks()[0], *away.looks()):
        found = Scrape((await metrics.metrics_response(broken)).body.decode())
        assert found.labels("stream_lag") == []
    assert isnan(found.value("broker_memory_bytes"))
    assert isnan(found.value("dead_letters_kept"))
    assert found.value("looks_failed_total", what="streams") >= 2


async def test_the_notifier_tells_how_far_behind_it_is_and_what_waits(
    database_url, redis_url, ledger, redis, admin, port
):
    settings = quick_settings(database_url, redis_url)
    async with running("issued", settings), running("redeemed", settings), notifying(settings) as notifier:
        serving = asyncio.create_task(
            serve_health("127.0.0.1", port, notifier.ready, metrics.Look("notifier", notifier.look))
        )
        before = await scraped(port)
        await send(redis, issue_event("V0"), redemption_event("V0"), redemption_event("unknown"))
        await eventually(lambda: parked(port, 1))
        await eventually(lambda: told(redis, 2))
        after = await scraped(port)
        assert after.value("position", programme=CHENGDU) == 2
        assert after.value("notifier_distance", programme=CHENGDU) == 0
        written = after.value("notifications_total", programme=CHENGDU)
        assert written - (before.value("notifications_total", programme=CHENGDU) or 0) == 2
        assert after.value("notified_seconds_count") > before.value("notified_seconds_count")
        # Told of more than there is: a restored ledger.
        await redis.xadd(f"notification:{CHENGDU}", {"event": "{}"}, id="9-0")
        await eventually(lambda: stands_at(port, -7))
        assert (await scraped(port)).value("ready") == 0
        await end(serving)
    notifier._trouble = "the database is away"
    await notifier.look()
    found = Scrape((await metrics.metrics_response()).body.decode())
    assert found.labels("notifier_distance") == found.labels("position") == []


async def parked(port: int, number: int) -> bool:
    return (await scraped(port)).value("parked", programme=CHENGDU) == number


async def told(redis, number: int) -> bool:
    return len(await notifications(redis)) >= number


async def stands_at(port: int, distance: int) -> bool:
    return (await scraped(port)).value("notifier_distance", programme=CHENGDU) == distance


async def test_no_metric_names_an_enterprise_a_voucher_or_a_contract(settings, redis, admin, port):
    async with running("issued", settings), notifying(settings):
        await send(redis, issue_event("V-SECRET", contract_number="HT-SECRET"), issue_event("V-SECRET", event_id="x"))
        await entered(admin, 2)
        _, content_type, body = await get(port, "/metrics")
    assert content_type.startswith("text/plain; version=0.0.4")
    event = json.loads(raw(issue_event("V-SECRET")))
    for word in (ENTERPRISE, "SECRET", event["data"]["enterprise"]["name"], event["source"]):
        assert word not in body, word
