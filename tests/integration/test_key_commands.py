"""The commands `keys` and `readmodel`: what they print, what they leave, and how they end."""

import asyncio
import json
import stat
import sys

import pytest
from events_made import as_inbound, issue_event, redemption_event

from services.cli import app, run
from services.keys import Keyring

CHENGDU = "chengdu-2024"


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run a command as its process would, but in this one, with a file of keys of the test's own."""
    monkeypatch.setenv("VOUCHER_LEDGER_KEYS_FILE", str(tmp_path / "keys.toml"))

    def run_it(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["voucher-ledger", *arguments])
        capsys.readouterr()
        return run(app), *capsys.readouterr()

    return run_it


def test_a_key_is_printed_once_listed_by_its_name_and_removed(command, tmp_path):
    file = tmp_path / "keys.toml"
    assert command("keys", "list", "--json") == (0, '{\n  "keys": []\n}\n', "")
    status, out, err = command("keys", "add", "audit-office", "--scope", "auditor", "--scope", "platform:*")
    assert status == 0
    secret = out.strip()
    assert secret not in err
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    found = Keyring(file).find(secret)
    assert found is not None
    assert found.name == "audit-office"
    status, out, _ = command("keys", "add", "sc", "--scope", "provider:91510100MA0000001L", "--json")
    made = json.loads(out)
    assert (made["name"], made["scopes"]) == ("sc", ["provider:91510100MA0000001L"])
    assert Keyring(file).find(made["key"]) is not None
    listed = json.loads(command("keys", "list", "--json")[1])["keys"]
    assert [one["name"] for one in listed] == ["audit-office", "sc"]
    assert "audit-office" in command("keys", "list")[1]
    assert made["key"] not in str(listed)
    assert command("keys", "remove", "audit-office")[0] == 0
    assert Keyring(file).find(secret) is None
    assert Keyring(file).find(made["key"]) is not None


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("add", "a b", "--scope", "auditor"), 2, "name"),
        (("add", "a", "--scope", "root"), 2, "'root' is no scope"),
        (("add", "a", "--scope", "provider:123"), 2, "is no scope"),
        (("add", "a"), 2, "scope"),
        (("add", "there", "--scope", "auditor"), 1, "already"),
        (("remove", "nobody"), 1, "no key of 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(command, tmp_path, arguments, status, told):
    command("keys", "add", "there", "--scope", "auditor")
    before = (tmp_path / "keys.toml").read_text()
    found, out, err = command("keys", *arguments)
    assert (found, out) == (status, "")
    assert told in err
    assert (tmp_path / "keys.toml").read_text() == before


def test_a_broken_file_is_not_written_over(command, tmp_path):
    (tmp_path / "keys.toml").write_text("[[key]\n")
    status, _, err = command("keys", "add", "a", "--scope", "auditor")
    assert status == 1
    assert "not TOML" in err
    assert (tmp_path / "keys.toml").read_text() == "[[key]\n"


def test_without_a_file_it_is_asked_for(command, monkeypatch):
    monkeypatch.delenv("VOUCHER_LEDGER_KEYS_FILE")
    status, _, err = command("keys", "list")
    assert status == 2
    assert "--file" in err


async def test_the_read_model_is_rebuilt(ledger, pool, database_url, monkeypatch, capsys):
    events = [issue_event("V-1"), redemption_event("V-1", amount="900000.00")]
    await ledger.append(CHENGDU, [as_inbound(event) for event in events])
    monkeypatch.setenv("DATABASE_URL", database_url)
    for arguments, programmes in (((CHENGDU,), 1), ((), 5)):
        monkeypatch.setattr(sys, "argv", ["voucher-ledger", "readmodel", "rebuild", *arguments, "--json"])
        capsys.readouterr()
        assert await asyncio.to_thread(run, app) == 0
        found = {one["programme"]: one["entries"] for one in json.loads(capsys.readouterr().out)["programmes"]}
        assert (len(found), found[CHENGDU]) == (programmes, 2)
        assert await pool.fetchval("SELECT count(*) FROM readmodel.coded_entry") == 1
