"""What the services write to their logs while all kinds of things happen to them: each line is searched for what may not be in it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from commands import run as run_command
from events_made import OTHER_ENTERPRISE, issue_event, raw, redemption_event, uscc
from eventually import eventually
from line import CHENGDU, dead_letters, entries_of, send, settled
from processes_run import QUICK, services_on
from redis.exceptions import RedisError

from schemas.decoding import decode
from services import broker
from services.embedded import Embedded, Servers
from services.ledger.migrate import migrate
from services.placing import stream_key_of

ISSUED = f"voucher.issued:{CHENGDU}"
DATABASE_PASSWORD = "planted-in-postgres"
BROKER_PASSWORD = "planted-in-valkey"
ENTERPRISE = uscc(4_711_471)
CONTRACT = "HT-PLANTED-4711"
PLANTED = [
    DATABASE_PASSWORD, BROKER_PASSWORD, "wrong-but-secret", ENTERPRISE, OTHER_ENTERPRISE, CONTRACT, "示例科技", "123456.78", "12345678",
    "VPLANTED",
]  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Embedded]:
    """Servers to be killed; they keep what they acknowledged."""
    with_own = Embedded(tmp_path_factory.mktemp("o"), appendfsync="always")
    with_own.start()
    yield with_own
    with_own.stop()


class Log:
    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[dict]:
        """Return every line; each has to be JSON, but for one that is still being written."""
        whole, _, _ = self.path.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def of(self, event: str, service: str | None = None) -> list[dict]:
        return [one for one in self.lines() if one["event"] == event and service in {None, one["service"]}]


async def test_a_line_for_each_batch_and_nothing_in_it_of_a_secret_or_of_an_event(own, tmp_path):
    await migrate(own.postgres.url)
    log = Log(tmp_path / "log")
    servers = Servers(
        tmp_path,
        with_password(own.postgres.url, "postgres", DATABASE_PASSWORD),
        with_password(own.valkey.url, "ledger", BROKER_PASSWORD),
    )
    redis, admin = broker.connect(own.valkey.url), await asyncpg.connect(own.postgres.url)
    await admin.execute("ALTER TABLE entry ADD CONSTRAINT a_mistake CHECK (voucher_id <> 'VPLANTED-BUG')")
    await admit(redis)
    try:
        with services_on(servers, log.path, **QUICK | {"VOUCHER_LEDGER_LOG_LEVEL": "info"}) as services:
            for name in ("issued", "redeemed", "exhausted", "notifier"):
                services.start(name, name)
            await eventually(lambda: len(log.of("started")) == 3 and log.of("notifying"), 60)
            await to_every_fate(redis)
            await eventually(lambda: says_what_it_did(redis, admin, log))
            await says_nothing_while_idle(redis, log)
            await database_away(own, redis, log)
            await broker_away(own, redis, log)
            with services_on(refused_by(servers), log.path, **QUICK) as others:
                others.start("refused", "redeemed")
                await eventually(lambda: "invalid username-password pair" in str(log.of("not started yet")), 30)
            assert services.end() == [0, 0, 0, 0]
    finally:
        await redis.aclose()
        admin.terminate()
    lines = log.lines()
    assert {"decided", "notified", "quota exhausted", "held", "notifier waits", "undecidable", "stopped"} <= {
        line["event"] for line in lines
    }
    for line in lines:
        assert {"event", "level", "timestamp", "service"} <= line.keys(), line
        text = json.dumps(line, ensure_ascii=False)
        assert not [planted for planted in PLANTED if planted in text], line


def with_password(url: str, user: str, password: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}:{password}@{rest.rpartition('@')[2]}"


def refused_by(servers: Servers) -> Servers:
    return servers.__class__(
        servers.home, servers.database_url, servers.redis_url.replace(BROKER_PASSWORD, "wrong-but-secret")
    )


async def admit(redis: broker.Redis) -> bool:
    """Make the services' user on the broker, which forgets it when it is killed; return whether the broker was there."""
    try:
        await redis.acl_setuser(
            "ledger", enabled=True, passwords=[f"+{BROKER_PASSWORD}"], keys=["*"], categories=["+@all"]
        )
    except RedisError:
        return False
    return True


def issue(voucher_id: str, **changes) -> dict:
    return issue_event(voucher_id, **{"amount": "123456.78", "contract_number": f"{CONTRACT}-{voucher_id}", **changes})


async def to_every_fate(redis: broker.Redis) -> None:
    first = issue("VPLANTED-0", enterprise=ENTERPRISE)
    waiting = redemption_event("VPLANTED-8", amount="123456.78")
    await send(
        redis,
        first,
        first,
        {**first, "time": "2024-05-07T10:00:00+08:00"},
        issue("VPLANTED-0", enterprise=ENTERPRISE, event_id="other", contract_number=f"{CONTRACT}-other"),
        issue("VPLANTED-BUG", enterprise=uscc(3)),
        issue("VPLANTED-1", source=f"urn:uscc:{ENTERPRISE}"),
        (ISSUED, raw(issue("VPLANTED-2", data__contract__fee=None))),
        (ISSUED, b"not JSON: VPLANTED " + raw(first)),
        # These use an enterprise's quota up.
        issue("VPLANTED-6", enterprise=OTHER_ENTERPRISE, amount="960000.00"),
        issue("VPLANTED-7", enterprise=OTHER_ENTERPRISE, amount="40000.00"),
    )
    await settled(redis, [ISSUED])
    await send(redis, waiting, redemption_event("VPLANTED-0", amount="123456.78"), redemption_event("VPLANTED-0", 2))
    await settled(redis, [stream_key_of(decode(raw(waiting)))])
    await send(redis, issue("VPLANTED-8", enterprise=uscc(8)))
    await settled(redis, [ISSUED, f"quota.exhausted:{CHENGDU}"])


async def says_what_it_did(redis: broker.Redis, admin: asyncpg.Connection, log: Log) -> bool:
    """Whether the lines, taken together, say what is in the ledger, among the dead letters, and on the notifications' stream."""
    rows, letters = await entries_of(admin), await dead_letters(redis)
    decided = log.of("decided")
    refused, reasons = Counter(), Counter()
    for line in decided:
        refused.update(line["refused"])
        reasons.update(line["dead_letters"])
    positions = list(range(1, len(rows) + 1))
    return (
        len(rows) == 9
        and sum(line["accepted"] for line in decided) == sum(row["accepted"] for row in rows)
        and refused == Counter(row["code"] for row in rows if not row["accepted"])
        and reasons == Counter(letter["reason"] for letter in letters)
        and (sum(line["duplicates"] for line in decided), sum(line["parked"] for line in decided)) == (1, 1)
        and positions == of_all(line["positions"][CHENGDU] for line in decided if line["positions"])
        and positions == of_all(line["positions"] for line in log.of("notified"))
    )


def of_all(spans) -> list[int]:
    return sorted(position for first, last in spans for position in range(first, last + 1))


async def says_nothing_while_idle(redis: broker.Redis, log: Log) -> None:
    """Each consumer looks for batches to take over, and the notifier at its stream, some times; none of them says so."""
    before = log.lines()
    for command in ("xautoclaim", "xinfo|stream", "xreadgroup"):
        enough = await calls(redis, command) + 5
        await eventually(lambda: has_called(redis, command, enough), 60)  # noqa: B023  awaited within
    assert log.lines() == before


async def calls(redis: broker.Redis, command: str) -> int:
    return (await redis.info("commandstats"))[f"cmdstat_{command}"]["calls"]


async def has_called(redis: broker.Redis, command: str, enough: int) -> bool:
    return await calls(redis, command) >= enough


async def database_away(own: Embedded, redis: broker.Redis, log: Log) -> None:
    await asyncio.to_thread(own.postgres.kill)
    await send(redis, issue("VPLANTED-4", enterprise=uscc(4)), (ISSUED, b"bad \xff VPLANTED"))
    await eventually(lambda: log.of("held") and log.of("notifier waits"))
    await asyncio.to_thread(own.postgres.start)
    await settled(redis, [ISSUED], 60)


async def broker_away(own: Embedded, redis: broker.Redis, log: Log) -> None:
    waited = len(log.of("notifier waits"))
    await asyncio.to_thread(own.valkey.kill)
    await eventually(lambda: len(log.of("notifier waits")) > waited)
    await asyncio.to_thread(own.valkey.start)
    # Until their user is there again they are refused: that is a line too.
    await eventually(lambda: "invalid username-password pair" in str(log.of("notifier waits")), 60)
    await eventually(lambda: admit(redis))
    await send(redis, issue("VPLANTED-5", enterprise=uscc(5)))
    await settled(redis, [ISSUED], 60)


def test_a_service_with_a_url_that_is_none_ends_without_telling_it(tmp_path):
    url = "postgresql://ledger:half/of-a-secret@db/ledger"
    ended = run_command("run", "notifier", cwd=tmp_path, DATABASE_URL=url, REDIS_URL="redis://broker")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "DATABASE_URL" in ended.stderr
    assert not {"half", "of-a-secret"} & set(re.split("[^a-z-]+", ended.stderr))
