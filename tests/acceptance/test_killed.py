"""Consumers and the notifier killed under load, as processes: nothing is lost, nothing counts twice, and all figures agree."""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from events_made import Wire, issue_event, providers_of, raw, redemption_event, shipped, uscc
from eventually import eventually
from line import CHENGDU, dead_letters, entries_of, notifications, pending, send
from processes_run import QUICK, Services, services_on
from reference import FIGURES, Reference
from verified import verify_all

from services import broker
from services.broker import GROUP
from services.embedded import Embedded, Servers
from services.ledger.database import connect
from services.ledger.migrate import migrate
from services.ledger.verify import verify

ISSUED = f"voucher.issued:{CHENGDU}"
PROVIDERS = providers_of(CHENGDU)
STREAMS = (ISSUED, *(f"voucher.redeemed:{provider}" for provider in PROVIDERS), f"quota.exhausted:{CHENGDU}")
EACH_TWICE = {
    f"{service}-{number}": service for service in ("issued", "redeemed", "exhausted", "notifier") for number in (1, 2)
}
AT_ONCE = 16
MONEY = {"amount", "granted", "voucher_remaining", "quota_used", "quota_limit", "budget_remaining", "payable"}


@pytest.fixture
def servers(tmp_path_factory) -> Iterator[Servers]:
    with Embedded(tmp_path_factory.mktemp("k")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def admin(servers):
    await migrate(servers.database_url)
    connection = await asyncpg.connect(servers.database_url)
    yield connection
    await verify_all(connection)
    connection.terminate()


@pytest_asyncio.fixture(loop_scope="session")
async def redis(servers):
    client = broker.connect(servers.redis_url)
    yield client
    await client.aclose()


def load(chance: random.Random) -> list[Wire]:
    """Return issues to enterprises near their caps, redemptions that partly come first, and a tenth of all of it twice."""
    events: list[tuple[float, Wire]] = []
    for number in range(900):
        voucher, issued_at = f"V{number}", chance.random()
        amount = chance.choice(["10000.00", "20000.00", "9999.99", "35000.00"])
        issue = issue_event(voucher, enterprise=uscc(number % 12), amount=amount)
        events.append((issued_at, issue))
        for use in range(chance.randint(0, 3)):
            redemption = redemption_event(voucher, use, amount="6000.00", provider=chance.choice(PROVIDERS))
            events.append((max(issued_at + chance.uniform(-0.1, 0.2), 0), redemption))
    events += [(chance.random(), event) for _, event in chance.sample(events, len(events) // 10)]
    events.sort(key=lambda pair: pair[0])
    return [event for _, event in events]


async def publish(redis, events: list[Wire], seconds: float) -> None:
    """Publish the events over so many seconds, some of them with an entry in between that cannot be read."""
    for at in range(0, len(events), AT_ONCE):
        await send(redis, *events[at : at + AT_ONCE], (ISSUED, b"garbage %d" % at))
        await asyncio.sleep(seconds * AT_ONCE / len(events))


async def test_killed_again_and_again_under_load_nothing_is_lost_and_nothing_counts_twice(
    servers, admin, redis, tmp_path
):
    chance = random.Random(20240506)
    events = load(chance)
    with services_on(servers, tmp_path / "services.log", **QUICK) as services:
        for name, service in EACH_TWICE.items():
            services.start(name, service)
        for name in EACH_TWICE:
            await eventually(lambda: is_at_work(redis, services, name), 30, f"{name} is at work")  # noqa: B023  awaited within
        publishing = asyncio.create_task(publish(redis, events, seconds=12))
        kills = await kill_at_random(redis, services, chance, publishing)
        await publishing
        await eventually(lambda: all_is_decided(redis), 60, "nothing waits, nothing is pending")
        await eventually(lambda: all_is_told(redis, admin), 30, "as many notifications as entries")
        # The closures that the last entries caused have come round too.
        await eventually(lambda: all_is_decided(redis), 30)
        await eventually(lambda: all_is_told(redis, admin), 30)
        # One that was started a moment ago has not got as far as to listen to signals.
        assert set(services.end()) <= {0, -signal.SIGTERM}, services.log()
    rows = await entries_of(admin)
    print(
        f"\n{len(events)} events, {sum(kills.values())} kills, {len(rows)} entries, {Counter(row['code'] for row in rows)}"
    )
    assert set(kills) == set(EACH_TWICE)
    await every_event_has_its_place(redis, admin, events, rows)
    figures_agree(rows)
    told = await notifications(redis)
    assert [id_ for id_, _ in told] == [f"{row['position']}-0".encode() for row in rows]
    assert [one["data"]["hash"] for _, one in told] == [row["leaf"].hex() for row in rows]
    await verifies(servers, len(rows))


async def kill_at_random(
    redis, services: Services, chance: random.Random, publishing: "asyncio.Task[None]"
) -> Counter[str]:
    """Kill one after the other at work, each at least once, and start it again; return how often each was killed."""
    kills: Counter[str] = Counter()
    while not publishing.done() or len(kills) < len(EACH_TWICE):
        fewest = min(kills[name] for name in EACH_TWICE)
        name = chance.choice([name for name in EACH_TWICE if kills[name] == fewest])
        await eventually(lambda: is_at_work(redis, services, name), 30, f"{name} is at work")  # noqa: B023  awaited within
        await asyncio.sleep(chance.uniform(0, 0.3))
        services.kill(name)
        services.start(name, EACH_TWICE[name])
        kills[name] += 1
    return kills


async def is_at_work(redis, services: Services, name: str) -> bool:
    """Whether a consumer has read; of a notifier, whether it was started some time ago: only one of the two has work."""
    process = services.running[name]
    if EACH_TWICE[name] == "notifier":
        return time.monotonic() - services.started[name] > 2
    stream = next(stream for stream in STREAMS if EACH_TWICE[name] in stream)
    named = f"-{process.pid}-0".encode()
    return await redis.exists(stream) > 0 and any(
        row["name"].endswith(named) for row in await redis.xinfo_consumers(stream, GROUP)
    )


async def all_is_decided(redis) -> bool:
    for stream in STREAMS:
        (group,) = await redis.xinfo_groups(stream)
        if group["lag"] != 0 or group["pending"] != 0:
            return False
    return True


async def all_is_told(redis, admin) -> bool:
    return await redis.xlen(broker.notification_stream(CHENGDU)) == await admin.fetchval("SELECT count(*) FROM entry")


async def every_event_has_its_place(redis, admin, events: list[Wire], rows: list[asyncpg.Record]) -> None:
    """Each published event is one entry or is parked, and each unreadable entry is one dead letter; and there is nothing else."""
    published = {raw(event) for event in events}
    entered = Counter(row["event"] for row in rows if row["kind"] != "exhausted")
    parked = Counter(row["event"] for row in await admin.fetch("SELECT event FROM parked"))
    assert max((entered + parked).values()) == 1
    assert set(entered + parked) == published
    letters = Counter(letter["event"] for letter in await dead_letters(redis))
    assert letters == Counter(b"garbage %d" % at for at in range(0, len(events), AT_ONCE))
    closed = [(row["enterprise"], row["period"]) for row in rows if row["kind"] == "exhausted"]
    assert closed, "some enterprise was to use its quota up"
    assert len(closed) == len(set(closed))


def figures_agree(rows: list[asyncpg.Record]) -> None:
    """Replay the entries' events in their order through the reference: it has to come to the same figures at each position."""
    reference = Reference(shipped()[CHENGDU])
    for row in rows:
        event = json.loads(row["event"])
        origin = event["source"], event["id"]
        outcome = reference.take(event, datetime.now(UTC))[0]
        if outcome["fate"] == "parked":
            # It is an entry by now only because its wait was over, or because its voucher has come: not in this order.
            outcome = reference.end_wait(*origin)
        assert outcome["position"] == row["position"]
        assert (outcome["fate"] == "accepted") == row["accepted"]
        assert {name: outcome[name] for name in FIGURES} == {name: in_yuan(name, row[name]) for name in FIGURES}, row


def in_yuan(name: str, value: Any) -> Any:
    return Decimal(value) / 100 if name in MONEY and value is not None else value


async def verifies(servers: Servers, entries: int) -> None:
    pool = await connect(servers.database_url)
    found = await verify(pool, CHENGDU)
    await pool.close()
    assert (found.ok, found.entries) == (True, entries), found


async def test_of_150_issues_at_once_through_several_consumers_exactly_100_stand(servers, admin, redis, tmp_path):
    issues = [issue_event(f"V{number}", amount="10000.00") for number in range(150)]
    settings = {**QUICK, "VOUCHER_LEDGER_BATCH_SIZE": "7"}
    with services_on(servers, tmp_path / "services.log", **settings) as services:
        for number in range(3):
            services.start(f"issued-{number}", "issued")
        await eventually(lambda: readers_of(redis, 3 * 2), 30, "three consumers, two readers each")
        await send(redis, *issues, *issues[::3])
        await eventually(lambda: is_decided(redis, ISSUED), 30)
        took_part = sum(1 for row in await redis.xinfo_consumers(ISSUED, GROUP) if row["inactive"] >= 0)
        services.end()
    rows = await entries_of(admin)
    assert took_part > 1
    assert len(rows) == 150
    assert Counter(row["code"] for row in rows) == {None: 100, "exceeds_annual_cap": 50}
    assert max(row["quota_used"] for row in rows) == 1_000_000_00
    await verifies(servers, 150)


async def readers_of(redis, count: int) -> bool:
    if not await redis.exists(ISSUED):
        return False
    return (
        len([row for row in await redis.xinfo_consumers(ISSUED, GROUP) if not row["name"].endswith(b"-claims")])
        >= count
    )


async def is_decided(redis, stream: str) -> bool:
    (group,) = await redis.xinfo_groups(stream)
    return group["lag"] == 0 and group["pending"] == 0


async def test_a_killed_consumers_batch_is_decided_by_another_within_30_s_by_default(servers, admin, redis, tmp_path):
    """The one slow test: with the settings as they come, a batch is taken over when it was held for 15 s."""
    with services_on(servers, tmp_path / "services.log") as services:
        services.start("dies", "issued")
        await eventually(lambda: readers_of(redis, 2), 30)
        async with admin.transaction():
            await admin.execute("SELECT FROM head WHERE programme = $1 FOR UPDATE", CHENGDU)
            await send(redis, *(issue_event(f"V{number}", enterprise=uscc(number)) for number in range(500)))
            await eventually(lambda: pending(redis, ISSUED))
            services.kill("dies")
            began = time.monotonic()
        services.start("lives", "issued")
        await eventually(lambda: is_decided(redis, ISSUED), 30, "decided by another")
        seconds = time.monotonic() - began
        print(f"\nthe killed consumer's batch was decided by another after {seconds:.1f} s")
        assert seconds < 30
    assert len(await entries_of(admin)) == 500
