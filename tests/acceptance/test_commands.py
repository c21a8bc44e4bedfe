"""The commands on a running `up`, as a user runs them: what they print, what they do, and how they end."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import answer, on_broker, position_of, run, settle, up, write_events
from events_made import ENTERPRISE, authority_of, issue_event, providers_of, raw, redemption_event, uscc

from services.queues import Queue

CHENGDU = "chengdu-2024"
ISSUED = f"voucher.issued:{CHENGDU}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """Return a folder in which `voucher-ledger up` runs, in its default home."""
    path = tmp_path_factory.mktemp("c")
    with up(home_of(path), path):
        yield path


def home_of(folder: Path) -> Path:
    return folder / ".voucher-ledger"


def letters_of(folder: Path, **changes: str) -> list[dict]:
    options = [part for name, value in changes.items() for part in (f"--{name}", value)]
    return answer("dead-letters", "list", *options, cwd=folder)["dead_letters"]


def test_env_tells_the_addresses_to_programs_and_to_the_shell(folder):
    told = answer("env", cwd=folder)
    assert told.keys() == {"database_url", "redis_url", "monitor_url"}
    done = run("env", cwd=folder)
    assert done.stdout == (
        f"export DATABASE_URL='{told['database_url']}'\nexport REDIS_URL='{told['redis_url']}'\n"
        f"# the monitor and the HTTP API: {told['monitor_url']}\n"
    )


def test_an_event_is_published_decided_and_found_in_every_answer(folder):
    write_events(
        folder / "events.ndjson",
        issue_event("A0", amount="50000.00"),
        issue_event("A1", amount="9999.99"),
        redemption_event("A0", amount="20000.00"),
    )
    assert answer("quote", "events.ndjson", cwd=folder)
    before = position_of(home_of(folder))
    done = run("publish", "events.ndjson", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert "published 3 events on 2 streams" in done.stderr
    settle(home_of(folder))
    found = answer("statement", CHENGDU, "--enterprise", ENTERPRISE, "--entries", cwd=folder)
    assert found.keys() >= {"programme", "position", "head_hash", "budget", "quotas", "vouchers", "payables"}
    assert found["position"] == before + 3
    assert found["budget"].keys() == {"total", "issued", "remaining"}
    voucher = next(one for one in found["vouchers"] if one["voucher_id"] == "A0")
    assert voucher.items() >= {"granted": "50000.00", "remaining": "30000.00", "kind": "cash"}.items()
    assert answer("voucher", CHENGDU, "A0", cwd=folder)
    verified = answer("verify", CHENGDU, cwd=folder)
    assert verified == {"programmes": [{"programme": CHENGDU, "entries": found["position"], "ok": True}], "ok": True}


def test_what_comes_through_a_pipe_is_published_too(folder):
    event = issue_event("B0", enterprise=uscc(10))
    done = run("publish", "-", "--json", cwd=folder, stdin=raw(event) + b"\n\n")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"published": 1, "streams": {ISSUED: 1}}
    settle(home_of(folder))


def test_a_wrong_line_is_told_with_its_reason_and_nothing_is_sent(folder):
    before = settle(home_of(folder))
    write_events(
        folder / "wrong.ndjson",
        issue_event("C0", enterprise=uscc(11)),
        issue_event("C1", amount="1e3", fee="1.00"),
        b"",
        b"{",
        issue_event("C2", data__programme="atlantis-2024"),
        redemption_event("C0", source=f"urn:uscc:{authority_of(CHENGDU)}"),
        redemption_event("C0", provider=uscc(12), source=f"urn:uscc:{uscc(12)}"),
        issue_event("C3", padding="x" * 70_000),
    )
    done = run("publish", "wrong.ndjson", cwd=folder)
    assert done.returncode == 1
    *told, last = done.stderr.splitlines()
    reasons = [line.split(": ")[:2] for line in told]
    assert reasons == [
        ["line 2", "invalid_data"], ["line 4", "not_json"], ["line 5", "programme_unknown"],
        ["line 6", "wrong_stream"], ["line 7", "wrong_stream"], ["line 8", "invalid_data"],
    ]  # fmt: skip
    assert last == "voucher-ledger: 6 of 7 lines are wrong; nothing was sent"
    assert inbound(settle(home_of(folder))) == inbound(before)


def inbound(rows: Mapping[str, Queue]) -> dict[str, int]:
    """Return the lengths of the streams that are sent to, and of the dead letters; the notifier adds to its own when it comes to it."""
    return {stream: row.length for stream, row in rows.items() if not stream.startswith("notification:")}


def test_queues_have_a_row_for_each_stream(folder):
    settle(home_of(folder))
    rows = {row["stream"]: row for row in answer("queues", cwd=folder)["streams"]}
    assert set(rows) >= {ISSUED, f"voucher.redeemed:{providers_of(CHENGDU)[0]}", f"quota.exhausted:{CHENGDU}"}
    assert set(rows) >= {f"notification:{CHENGDU}", "dead-letter"}
    wanted = {"stream", "length", "lag", "pending", "oldest_pending_seconds", "consumers", "dead_letters"}
    assert all(row.keys() >= wanted for row in rows.values())
    assert rows[ISSUED]["consumers"] >= 2
    letters = answer("queues", cwd=folder)["dead_letters"]
    assert letters == {"kept": rows["dead-letter"]["length"], "max": 500_000}
    table = run("queues", cwd=folder)
    assert table.returncode == 0
    full = run("queues", cwd=folder, VOUCHER_LEDGER_DEAD_LETTERS_MAX="1")
    assert ("no more may be" in full.stderr) == (letters["kept"] >= 1)
    assert all(stream in table.stdout for stream in rows)


def test_dead_letters_are_listed_shown_replayed_and_discarded(folder):
    wrong = raw(issue_event("D0", source=f"urn:uscc:{uscc(13)}"))
    for data in (b"\xff not json", wrong):  # one after the other: two readers may put them aside in any order
        on_broker(home_of(folder), lambda client, data=data: client.xadd(ISSUED, {"event": data}))
        rows = settle(home_of(folder))
    assert rows[ISSUED].dead_letters == rows["dead-letter"].dead_letters == 2
    garbage, misplaced = letters_of(folder)
    assert (garbage["reason"], misplaced["reason"]) == ("not_json", "wrong_stream")
    assert misplaced["event"] == wrong.decode()
    assert answer("dead-letters", "show", garbage["id"], cwd=folder) == garbage
    shown = run("dead-letters", "show", misplaced["id"], cwd=folder)
    assert wrong.decode() in shown.stdout

    assert answer("dead-letters", "replay", misplaced["id"], cwd=folder) == {"replayed": [misplaced["id"]]}
    settle(home_of(folder))
    again = letters_of(folder, reason="wrong_stream")
    assert [one["event"] for one in again] == [misplaced["event"]]
    assert again[0]["entry_id"] != misplaced["entry_id"]
    gone = run("dead-letters", "replay", misplaced["id"], cwd=folder)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert f"no dead letter {misplaced['id']}" in gone.stderr

    assert answer("dead-letters", "discard", garbage["id"], cwd=folder) == {"discarded": [garbage["id"]]}
    assert answer("dead-letters", "discard", "--all", "--reason", "wrong_stream", cwd=folder)["discarded"]
    assert settle(home_of(folder))["dead-letter"].length == 0


WRONG: list[tuple[list[str], int, str]] = [
    (["dead-letters", "show", "1-1"], 1, "no dead letter 1-1"),
    (["dead-letters", "show", "nonsense"], 2, "'nonsense' is no id of a dead letter"),
    (["dead-letters", "replay"], 2, "name letters by their ids, or say --all"),
    (["publish", "no-such-file"], 2, "no-such-file"),
    (["queues", "--nonsense"], 2, "--nonsense"),
    (["run", "nonsense"], 2, "nonsense"),
    (["run", "issued"], 2, "DATABASE_URL is not set"),
    (["env", "--home", "nothing-here"], 1, "nothing is up in nothing-here"),
    (["statement", "atlantis-2024"], 2, "atlantis-2024"),
    (["voucher", CHENGDU, "no-such-voucher"], 1, "no-such-voucher"),
    (["verify", "atlantis-2024"], 2, "atlantis-2024"),
]
WRONG_SETTINGS: list[tuple[dict[str, str], str]] = [
    ({"VOUCHER_LEDGER_BATCH_SIZE": "0"}, "batch_size"),
    ({"VOUCHER_LEDGER_PROGRAMMES": "atlantis-2024"}, "atlantis-2024"),
    ({"VOUCHER_LEDGER_PROVIDERS": "nobody"}, "nobody"),
    ({"DATABASE_URL": "postgresql://localhost/ledger"}, "REDIS_URL is not set"),
]


@pytest.fixture(scope="module")
def refused(folder) -> "dict[str, subprocess.CompletedProcess[str]]":
    """Run all that is wrong, some at a time: a command takes a second to start."""
    (folder / "elsewhere").mkdir()
    with ThreadPoolExecutor(4) as at_once:
        commands = {str(arguments): at_once.submit(run, *arguments, cwd=folder) for arguments, _, _ in WRONG}
        for variables, _ in WRONG_SETTINGS:
            commands[str(variables)] = at_once.submit(run, "up", cwd=folder / "elsewhere", **variables)
        return {name: running.result() for name, running in commands.items()}


@pytest.mark.parametrize(("arguments", "status", "said"), WRONG, ids=str)
def test_what_is_wrong_is_told_in_a_sentence_and_an_exit_status(refused, arguments, status, said):
    done = refused[str(arguments)]
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("variables", "said"), WRONG_SETTINGS, ids=str)
def test_wrong_settings_are_bad_usage_and_named(refused, variables, said):
    done = refused[str(variables)]
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_programmes_are_listed_and_shown(folder):
    assert CHENGDU in {one["programme"] for one in answer("programmes", "list", cwd=folder)["programmes"]}
    assert answer("programmes", "show", CHENGDU, cwd=folder)["code"] == CHENGDU


def test_the_doctor_finds_a_running_house_well(folder):
    found = answer("doctor", cwd=folder)
    assert found["ok"], [finding for finding in found["findings"] if not finding["ok"]]


def test_the_doctor_says_what_is_not_reachable_and_what_to_do(folder, tmp_path):
    urls = answer("env", cwd=folder)
    away = {"DATABASE_URL": urls["database_url"], "REDIS_URL": f"unix://{tmp_path}/nothing.sock"}
    found = answer("doctor", cwd=tmp_path, status=1, **away)
    (bad,) = (finding for finding in found["findings"] if not finding["ok"])
    assert (bad["what"], found["ok"]) == ("broker", False)
    assert "REDIS_URL" in bad["advice"]
    away = {"DATABASE_URL": f"postgresql://postgres@/ledger?host={tmp_path}", "REDIS_URL": urls["redis_url"]}
    told = run("doctor", cwd=tmp_path, **away)
    assert told.returncode == 1
    assert "check DATABASE_URL" in told.stdout
