"""What the page on operations says to do, done as it stands there: its blocks are run, on real servers, and what it promises is checked."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from commands import answer, environment, write_events
from deployed import prepare_database
from events_made import (
    Wire,
    exhausted_event,
    issue_event,
    providers_of,
    raw,
    redemption_event,
    uscc,
)
from eventually import eventually
from line import CHENGDU, entered, entries_of, notifications, notifying, pending, quick_settings, running, send, settled
from verified import verify_all

from schemas.decoding import decode
from services import broker
from services.broker import GROUP, notification_stream
from services.embedded import Embedded, Servers, binaries
from services.embedded.account import for_postgres
from services.ledger.migrate import migrate
from services.placing import stream_key_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(re.findall(r"<!-- tested: ([\w-]+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL))
PROVIDERS = providers_of(CHENGDU)
ISSUED, EXHAUSTED = f"voucher.issued:{CHENGDU}", f"quota.exhausted:{CHENGDU}"
REDEEMED = [f"voucher.redeemed:{provider}" for provider in PROVIDERS]
STREAMS = [ISSUED, *REDEEMED, EXHAUSTED]
TOLD = notification_stream(CHENGDU)

# No package has it; what it does is asked of the same server, and printed a line for each answer.
VALKEY_CLI = f"""#!{sys.executable}
import sys
import redis
words = sys.argv[1:]
assert words.pop(0) == "-u"
client = redis.Redis.from_url(words.pop(0), decode_responses=True)
if words[0] == "--scan":
    found = list(client.scan_iter(match=words[2]))
else:
    answer = client.execute_command(*words)
    found = answer if isinstance(answer, list) else [answer]
for one in found:
    print(one)
"""


class Site:
    """The servers of a deployment: the database prepared and migrated as one is, and a folder for backups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backups = folder / "backups"
        self.backups.mkdir()
        (folder / "valkey-cli").write_text(VALKEY_CLI)
        (folder / "valkey-cli").chmod(0o755)
        self.homes: list[Embedded] = []

    def new_home(self) -> tuple[Embedded, Path]:
        """Return servers that were not started yet, and their folder."""
        home = self.folder / f"home{len(self.homes)}"
        self.homes.append(Embedded(home))
        return self.homes[-1], home

    def prepare_database(self, admin_url: str) -> None:
        """Run the deployment's script, but for where the secrets are mounted."""
        for login in ("migration", "service"):
            (self.folder / f"postgres_{login}_password").write_text("secret")
        prepare_database(admin_url, self.folder, self.folder)

    def _command(self, block: str) -> list[str]:
        return ["sh", "-euc", BLOCKS[block]]

    def _environment(self, servers: Servers, **variables: str) -> dict[str, str]:
        path = [str(self.folder), str(binaries.find_postgres()), str(Path(sys.executable).parent), os.environ["PATH"]]
        usual = {
            "PATH": ":".join(path), "BACKUPS": str(self.backups), "VOUCHER_LEDGER_PROGRAMMES": CHENGDU,
            "ADMIN_URL": servers.database_url, "ADMIN_REDIS_URL": servers.redis_url,
            "DATABASE_URL": service_url(servers), "REDIS_URL": servers.redis_url,
        }  # fmt: skip
        return environment(**usual | variables)

    async def run(self, block: str, servers: Servers, **variables: str) -> str:
        """Run a block of the page to its end, and return what it prints."""
        done = await asyncio.to_thread(
            subprocess.run, self._command(block), env=self._environment(servers, **variables), cwd=self.folder,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def running(self, block: str, servers: Servers) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a block that does not end by itself."""
        process = subprocess.Popen(
            self._command(block), env=self._environment(servers), cwd=self.folder, stderr=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def service_url(servers: Servers) -> str:
    return servers.database_url.replace("//postgres@", "//voucher_ledger@")


def settings_on(database: Servers, redis: Servers | None = None, **changes: Any):
    return quick_settings(service_url(database), (redis or database).redis_url, **changes)


@pytest.fixture
def site(tmp_path_factory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("o"))
    yield made
    for home in made.homes:
        home.stop()


@pytest.fixture
async def servers(site) -> Servers:
    home, _ = site.new_home()
    started = home.start()
    site.prepare_database(started.database_url)
    await migrate(started.database_url.replace("//postgres@", "//voucher_ledger_migration@"))
    return started


@pytest_asyncio.fixture(loop_scope="session")
async def redis(servers) -> AsyncIterator[broker.Redis]:
    client = broker.connect(servers.redis_url)
    yield client
    await client.aclose()


@contextlib.asynccontextmanager
async def on(servers: Servers) -> AsyncIterator["asyncpg.Connection"]:
    """Connect to the database as its superuser; what it holds in the end is verified."""
    connection = await asyncpg.connect(servers.database_url)
    try:
        yield connection
        await verify_all(connection)
    finally:
        connection.terminate()


@contextlib.asynccontextmanager
async def services(settings) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for name in ("issued", "redeemed", "exhausted"):
            await stack.enter_async_context(running(name, settings))
        await stack.enter_async_context(notifying(settings))
        yield


def events(first: int, count: int) -> list[Wire]:
    """Return events of all producers, which are decided the same in any order that keeps to each stream's own."""
    made = []
    for number in range(first, first + count):
        voucher = f"V{number}"
        made.append(issue_event(voucher, enterprise=uscc(number), amount="20000.00"))
        made += [
            redemption_event(voucher, use, provider=provider, amount="6000.00") for use, provider in enumerate(PROVIDERS)
        ]  # fmt: skip
    return [*made, exhausted_event(uscc(1_000_000 + first))]


def keys(rows: list[asyncpg.Record]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return what was decided of each event, by its source and id, without its place and time.

    What is left of a voucher after one use is not told: streams are read side by side, so of two providers' uses either may be first.
    """
    found = {}
    for row in rows:
        event = json.loads(row["event"])
        figures = (row["accepted"], row["code"], row["amount"], row["granted"])
        found[event["source"], event["id"]] = figures
    assert len(found) == len(rows)
    return found


def left(rows: list[asyncpg.Record]) -> dict[str, int]:
    """Return what is left of each voucher in the end, in fen."""
    return {row["voucher_id"]: row["voucher_remaining"] for row in rows if row["accepted"]}


async def is_told(redis, admin) -> bool:
    rows = await entries_of(admin)
    return [id_ for id_, _ in await notifications(redis)] == [f"{row['position']}-0".encode() for row in rows]


async def decided(redis, admin, count: int) -> list[asyncpg.Record]:
    """Wait until so many entries are there, all is acknowledged, and each is told, once and of what it says; return them."""
    rows = await entered(admin, count, 60)
    await settled(redis, STREAMS)
    await eventually(lambda: is_told(redis, admin), 60)
    told = await notifications(redis)
    assert [one["data"]["hash"] for _, one in told] == [row["leaf"].hex() for row in rows]
    return rows


def test_every_block_that_the_page_calls_tested_is_run() -> None:
    run = set(re.findall(r'(?:run|running)\("([\w-]+)"', Path(__file__).read_text()))
    assert run | {"recovery-user"} == set(BLOCKS)
    assert len(BLOCKS) == PAGE.count("<!-- tested:")


async def test_a_dump_is_restored_and_the_line_goes_on_without_a_gap_or_a_repeat(site, servers, redis):
    first = events(0, 30)
    async with on(servers) as admin, services(settings_on(servers)):
        await send(redis, *first[:50])
        await eventually(lambda: entries_of(admin))
        # While the services are at work; the ones that come meanwhile are in it, or are not.
        await site.run("dump", servers)
        await send(redis, *first[50:])
        await decided(redis, admin, len(first))
    await site.run("dump", servers)  # another night; nothing comes in after that
    told = await redis.xrange(TOLD)
    await send(redis, *first[-3:], *events(100, 5)[:7])  # some of it sent before, and nobody reads
    home, _ = site.new_home()
    new = home.start()
    site.prepare_database(new.database_url)
    await site.run("restore-dump", new)
    assert f"{CHENGDU}: right, all {len(first)} entries" in await site.run("check", new)
    settings = settings_on(new, servers)
    found = await findings(settings)
    assert "append-only" in found
    assert {what for what, one in found.items() if not one["ok"]} <= {"streams read"}
    async with on(new) as admin, services(settings):
        rows = await decided(redis, admin, len(first) + 7)
        assert (await redis.xrange(TOLD))[: len(told)] == told
    assert len(keys(rows)) == len(first) + 7


async def test_with_the_log_nothing_that_was_received_is_lost_with_the_server(site, servers, redis):
    first, home = events(0, 20), site.homes[0]
    with site.running("receive", servers):
        async with on(servers) as admin, services(settings_on(servers)):
            await eventually(lambda: is_receiving(admin), 30)
            await send(redis, *first[:20])
            await entered(admin, 20)
            await site.run("base", servers)
            await send(redis, *first[20:])
            rows = await decided(redis, admin, len(first))
            await eventually(lambda: is_received(admin), 30)
        home.postgres.kill()
    new_home, folder = site.new_home()
    folder.mkdir(mode=0o700)
    await site.run("restore-base", servers, NEW_DATA=str(folder / "postgres"))
    for_postgres().own(site.backups)
    new = new_home.start()
    assert f"{CHENGDU}: right, all {len(first)} entries" in await site.run("check", new)
    async with on(new) as admin, services(settings_on(new, servers)):
        assert [row["leaf"] for row in await entries_of(admin)] == [row["leaf"] for row in rows]
        await send(redis, *events(100, 5))
        await decided(redis, admin, len(first) + len(events(100, 5)))


async def is_receiving(admin) -> bool:
    return await admin.fetchval("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pg_receivewal'")


async def is_received(admin) -> bool:
    query = "SELECT flush_lsn >= pg_current_wal_lsn() FROM pg_stat_replication WHERE application_name = 'pg_receivewal'"
    return bool(await admin.fetchval(query))


async def test_an_older_ledger_reads_again_what_it_lost_and_platforms_are_told_anew(site, servers, redis):
    first, second = events(0, 10), events(50, 10)
    async with on(servers) as admin, services(settings_on(servers)):
        await send(redis, *first)
        await decided(redis, admin, len(first))
    await site.run("dump", servers)
    async with on(servers) as admin, services(settings_on(servers)):
        await send(redis, *second)
        rows = await decided(redis, admin, len(first) + len(second))
    told = await redis.xrange(TOLD)
    home, _ = site.new_home()
    new = home.start()
    site.prepare_database(new.database_url)
    await site.run("restore-dump", new)
    settings = settings_on(new, servers)
    async with on(new) as admin:
        async with notifying(settings) as notifier:
            await eventually(lambda: "restored from a backup" in notifier.ready().because)
            assert not notifier.ready().ok
        await site.run("older", servers, DATABASE_URL=settings.database_url, CODE=CHENGDU, POSITION=str(len(first)))
        void = [json.loads(line) for line in (site.backups / "told-and-void.ndjson").read_text().splitlines()]
        assert [one["data"]["position"] for one in void] == list(range(len(first) + 1, len(rows) + 1))
        async with services(settings):
            again = await decided(redis, admin, len(rows))
            assert keys(again) == keys(rows)
            assert left(again) == left(rows)
            assert (await redis.xrange(TOLD))[: len(first)] == told[: len(first)]
            assert not await redis.exists("dead-letter")


@pytest.mark.parametrize("resent", ["from the last event on", "everything"])
async def test_a_broker_that_is_lost_is_made_again_from_the_ledger_and_from_the_producers(site, servers, redis, resent):
    home = site.homes[0]
    sent: dict[str, list[Wire]] = {}
    for event in [*events(0, 15), *events(50, 15)]:
        sent.setdefault(stream_key_of(decode(raw(event))), []).append(event)
    half = {stream: len(of) // 2 for stream, of in sent.items()}
    settings = settings_on(servers)
    async with on(servers) as admin:
        async with services(settings):
            await send(redis, *(event for stream, of in sent.items() for event in of[: half[stream]]))
            await eventually(lambda: nothing_waits(redis))
            await eventually(lambda: is_told(redis, admin))
            decided_before, told_before = await entries_of(admin), await redis.xrange(TOLD)
        # These wait on the broker, some of them in somebody's hands, and are lost with it.
        await send(redis, *(event for stream, of in sent.items() for event in of[half[stream] :]))
        await redis.xreadgroup(GROUP, "killed", {ISSUED: ">"}, count=3)
        home.valkey.kill()
        shutil.rmtree(home._home.path / "valkey")
        home.valkey.start()
        assert await redis.dbsize() == 0
        async with services(settings):
            await eventually(lambda: is_told(redis, admin))
            assert await redis.xrange(TOLD) == told_before
            assert "redemption-" in await site.run("lost", servers)
            document = answer(
                "producers", cwd=site.folder, DATABASE_URL=settings.database_url, VOUCHER_LEDGER_PROGRAMMES=CHENGDU
            )
            assert not (await findings(settings))["streams kept"]["ok"]
            again: list[Wire] = []
            for one in document["producers"]:
                mine = sent[one["stream"]]
                ids = [event["id"] for event in mine]
                assert one["last"]["event_id"] == ids[half[one["stream"]] - 1]
                again += mine[ids.index(one["last"]["event_id"]) if resent == "from the last event on" else 0 :]
            file = write_events(site.folder / "again.ndjson", *again)
            await site.run("send-again", servers, EVENTS=str(file))
            everything = [event for of in sent.values() for event in of]
            rows = await decided(redis, admin, len(everything))
            assert (await findings(settings))["streams kept"]["ok"]
        assert rows[: len(decided_before)] == decided_before
        assert {event_id for _, event_id in keys(rows)} == {event["id"] for event in everything}
        assert all(row["accepted"] for row in rows)
        assert (await redis.xrange(TOLD))[: len(told_before)] == told_before
        assert await admin.fetchval("SELECT count(*) FROM parked") == 0
        assert not await redis.exists("dead-letter")


async def nothing_waits(redis) -> bool:
    lags = [group["lag"] for stream in STREAMS for group in await redis.xinfo_groups(stream)]
    return lags == [0] * len(STREAMS) and not any([await pending(redis, stream) for stream in STREAMS])


async def findings(settings) -> dict[str, dict[str, Any]]:
    """Return what the doctor finds, by what it looked at."""
    urls = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "services.cli", "doctor", "--json"], capture_output=True, check=False,
        env=environment(VOUCHER_LEDGER_PROGRAMMES=CHENGDU, **urls), timeout=60,
    )  # fmt: skip
    return {one["what"]: one for one in json.loads(done.stdout)["findings"]}


async def test_the_user_for_a_recovery_may_do_what_it_takes_and_no_more(tmp_path_factory):
    folder = tmp_path_factory.mktemp("r")
    users = folder / "users"
    line = BLOCKS["recovery-user"].replace("PASSWORD", "secret")
    users.write_text(f"user default on nopass ~* +@all\n{line}")
    with Embedded(folder / "home", durable=False, aclfile=users) as started:
        client = broker.connect(started.redis_url.replace("unix://", "unix://recovery:secret@"))
        default = broker.connect(started.redis_url)
        await default.xgroup_create(ISSUED, GROUP, id="$", mkstream=True)
        await default.xadd(TOLD, {"event": "{}"})
        assert sorted([key async for key in client.scan_iter()]) == sorted([ISSUED.encode(), TOLD.encode()])
        assert await client.xgroup_setid(ISSUED, GROUP, "0")
        others = (
            f"DEL {ISSUED}", f"XADD {ISSUED} * event x", f"XGROUP DESTROY {ISSUED} {GROUP}", "FLUSHALL", f"XRANGE {TOLD} - +"
        )  # fmt: skip
        for command in others:
            with pytest.raises(broker.ResponseError, match="permission"):
                await client.execute_command(*command.split())
        assert await client.delete(TOLD) == 1
        for one in (client, default):
            await one.aclose()
