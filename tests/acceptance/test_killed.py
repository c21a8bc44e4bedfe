"""Several consumers at once, and one that is killed, with settings as they come; all else that can fail is in ``tests/chaos``."""

import time
from collections import Counter
from collections.abc import Iterator

import asyncpg
import pytest
import pytest_asyncio
from events_made import issue_event, uscc
from eventually import eventually
from line import CHENGDU, entries_of, pending, send
from processes_run import QUICK, services_on
from verified import verify_all

from services import broker
from services.broker import GROUP
from services.embedded import Embedded, Servers
from services.ledger.database import connect
from services.ledger.migrate import migrate
from services.ledger.verify import verify

ISSUED = f"voucher.issued:{CHENGDU}"


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


async def test_of_150_issues_at_once_through_several_consumers_exactly_100_stand(servers, admin, redis, tmp_path):
    issues = [issue_event(f"V{number}", amount="10000.00") for number in range(150)]
    settings = {**QUICK, "VOUCHER_LEDGER_BATCH_SIZE": "7"}
    with services_on(servers, tmp_path / "services.log", **settings) as services:
        for number in range(3):
            services.start(f"issued-{number}", "issued")
        await eventually(lambda: readers_of(redis, 3 * 3), 30, "three consumers, three readers each")
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


async def verifies(servers: Servers, entries: int) -> None:
    pool = await connect(servers.database_url)
    found = await verify(pool, CHENGDU)
    await pool.close()
    assert (found.ok, found.entries) == (True, entries), found


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
        await eventually(lambda: readers_of(redis, 3), 30)
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
