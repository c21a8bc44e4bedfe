"""The life of `voucher-ledger up`: started twice, told to end, killed, and its services killed under it."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from asked import free_ports
from commands import (
    COMMAND,
    SERVICES,
    answer,
    environment,
    kill,
    on_broker,
    position_of,
    reading,
    run,
    servers_of,
    services_of,
    up,
    write_events,
)
from events_made import issue_event, uscc
from eventually import eventually_now

from services import broker
from services.cli.supervise import PARENT
from services.embedded import processes

CHENGDU = "chengdu-2024"


def publish(folder: Path, *numbers: int) -> None:
    events = (issue_event(f"V{number}", enterprise=uscc(number)) for number in numbers)
    done = run("publish", str(write_events(folder / "events.ndjson", *events)), cwd=folder)
    assert done.returncode == 0, done.stderr


def statement_at(url: str) -> dict[str, object]:
    """Return Chengdu's statement by the monitor of an `up`; nothing while it does not answer yet."""
    with (
        contextlib.suppress(OSError),
        contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"))) as asked,
    ):
        asked.request("GET", f"/v1/programmes/{CHENGDU}/statement")
        return json.loads(asked.getresponse().read())
    return {}


def service_at(port: int) -> str | None:
    """Return which service says at this port, by its metrics, that it is there."""
    with (
        contextlib.suppress(OSError),
        contextlib.closing(http.client.HTTPConnection(f"127.0.0.1:{port}", timeout=10)) as asked,
    ):
        asked.request("GET", "/metrics")
        found = re.search(r'^voucher_ledger_service{name="(.+?)"', asked.getresponse().read().decode(), re.MULTILINE)
        return found and found[1]
    return None


def test_each_service_of_an_up_has_its_health_at_a_port_of_its_own(tmp_path):
    first = free_ports(len(SERVICES))[0]
    with up(tmp_path / ".voucher-ledger", tmp_path, VOUCHER_LEDGER_HEALTH_PORT=str(first)):
        for place, name in enumerate(SERVICES):
            eventually_now(lambda: service_at(first + place) == name, 30)  # noqa: B023  awaited within


def test_up_is_refused_twice_and_ends_with_a_signal_leaving_nothing(tmp_path):
    home = tmp_path / ".voucher-ledger"
    with up(home, tmp_path) as process:
        publish(tmp_path, 1, 2)
        eventually_now(lambda: position_of(home) == 2)
        refused = run("up", cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert str(home) in refused.stderr
        assert "Traceback" not in refused.stderr
        assert position_of(home) == 2
        told = answer("env", "--home", str(home), cwd=tmp_path)
        assert set(told) == {"database_url", "redis_url", "monitor_url"}
        eventually_now(lambda: statement_at(told["monitor_url"]).get("position") == 2)
        services, servers = services_of(process.pid), servers_of(home)
        assert len(services) == len(SERVICES)
        assert len(servers) >= 2
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        print(f"\nup ended within {time.monotonic() - began:.1f} s of SIGTERM")
        assert [pid for pid in (*services, *servers) if not processes.gone(pid)] == []
        assert run("env", cwd=tmp_path).returncode == 1
    log = (tmp_path / "up.log").read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


def test_a_killed_up_leaves_no_service_behind_and_the_next_goes_on_with_its_data(tmp_path):
    home = tmp_path / ".voucher-ledger"
    with up(home, tmp_path) as process:
        publish(tmp_path, 1)
        eventually_now(lambda: position_of(home) == 1)
        services = services_of(process.pid)
        kill(process)
        began = time.monotonic()
        eventually_now(lambda: all(map(processes.gone, services)), 15)
        print(f"\nthe services ended within {time.monotonic() - began:.1f} s of their supervisor's SIGKILL")
    with up(home, tmp_path):
        publish(tmp_path, 2)
        eventually_now(lambda: position_of(home) == 2)
        assert answer("verify", cwd=tmp_path)["ok"]
    assert servers_of(home) == []


def test_services_that_die_and_a_broker_that_is_emptied_are_recovered_from(tmp_path):
    home = tmp_path / ".voucher-ledger"
    with up(home, tmp_path) as process:
        killed = services_of(process.pid)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        publish(tmp_path, 1)
        eventually_now(lambda: position_of(home) == 1, 30)
        eventually_now(lambda: len(services_of(process.pid)) == len(SERVICES) and reading(home), 30)
        assert not set(killed) & set(services_of(process.pid))
        on_broker(home, lambda client: client.flushall())
        # Each consumer finds its groups gone, ends, and is started again, which makes them anew.
        eventually_now(lambda: reading(home), 30)
        publish(tmp_path, 2)
        eventually_now(lambda: position_of(home) == 2, 30)
        eventually_now(lambda: on_broker(home, lambda client: client.xlen(broker.notification_stream(CHENGDU))) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    ended = [json.loads(line) for line in (tmp_path / "up.log").read_text().splitlines() if "ended by itself" in line]
    assert {line["status"] for line in ended} == {-signal.SIGKILL, 1}


def started_by(supervisor: int) -> list[str]:
    """Return the services that a supervisor started, whoever has them now."""
    named = f"{PARENT}={supervisor}".encode()
    found = []
    for row in processes.table():
        with contextlib.suppress(OSError):
            if "services.cli run" in row.command and named in Path(f"/proc/{row.pid}/environ").read_bytes().split(
                b"\0"
            ):
                found.append(row.command)
    return found


@pytest.mark.parametrize("moment", ["the database is made", "the servers run", "the services start"])
def test_up_that_is_told_to_end_while_it_starts_leaves_nothing(tmp_path, moment):
    home = tmp_path / "home"
    reached = {
        "the database is made": lambda: any(home.glob("postgres.new-*")),
        "the servers run": (home / "run" / "valkey.sock").exists,
        "the services start": lambda: len(services_of(process.pid)) > 0,
    }
    process = subprocess.Popen([COMMAND, "up", "--home", str(home)], env=environment(), stderr=subprocess.PIPE)
    try:
        eventually_now(reached[moment], 30)
        process.send_signal(signal.SIGTERM)
        _, told_us = process.communicate(timeout=30)
        assert process.returncode == 0, told_us.decode()
        assert b"Traceback" not in told_us
        assert servers_of(home) == []
        assert started_by(process.pid) == []
    finally:
        process.kill()
        process.wait()
