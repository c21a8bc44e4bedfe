"""The embedded servers, on real ones: what is kept, who is refused, and what an unkind end leaves behind.

They run on whatever PostgreSQL `binaries` finds; VOUCHER_LEDGER_POSTGRES_BIN names another one.
"""

import asyncio
import os
import signal
import stat

import asyncpg
import pytest
import redis
import redis.asyncio
from eventually import eventually
from servers_used import another_program, broker, database, keeper_of, read, write

from services.embedded import EmbeddedError, HomeInUseError, Servers, processes
from services.embedded.server import wait_for


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
