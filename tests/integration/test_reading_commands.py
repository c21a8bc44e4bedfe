"""The commands that read: what they print for machines and for people, and how they end."""

from pathlib import Path

import pytest
from events_made import ENTERPRISE, Wire, as_inbound, issue_event, raw, redemption_event

from schemas import export
from services.ledger.append import Ledger
from services.programmes import SHIPPED

CHENGDU, GUIZHOU = "chengdu-2024", "guizhou-2024"


@pytest.fixture
async def used(ledger: Ledger) -> Ledger:
    for programme in (CHENGDU, GUIZHOU):
        events = [issue_event("V-1", programme=programme), redemption_event("V-1", programme=programme)]
        await ledger.append(programme, [as_inbound(event) for event in events])
    return ledger


def written(path: Path, *events: Wire | bytes) -> Path:
    path.write_bytes(b"\n".join(event if isinstance(event, bytes) else raw(event) for event in events))
    return path


async def test_statement(used, command):
    ended = await command("statement", CHENGDU, "--json")
    assert (ended.status, ended.err) == (0, "")
    assert list(ended.document) == [
        "programme", "position", "head_hash", "budget", "periods", "quotas", "vouchers", "payables",
    ]  # fmt: skip
    assert ended.document["vouchers"][0]["remaining"] == "90000.00"
    with_entries = await command("statement", CHENGDU, "--entries", "--json", "--enterprise", ENTERPRISE)
    assert [one["position"] for one in with_entries.document["entries"]] == [1, 2]
    assert with_entries.document["payables"] == []
    for_people = await command("statement", CHENGDU, "--entries")
    for told in ("成都市算力券", ENTERPRISE, "9900000.00", "成都智算中心", "90000.00", "redeemed"):
        assert told in for_people.out
    unknown = await command("statement", "nowhere-2024")
    assert (unknown.status, unknown.out) == (2, "")
    assert "nowhere-2024" in unknown.err


async def test_voucher(used, command):
    ended = await command("voucher", CHENGDU, "V-1", "--json")
    assert (ended.status, ended.document["status"], len(ended.document["entries"])) == (0, "active", 2)
    for_people = await command("voucher", CHENGDU, "V-1")
    assert "V-1 is active: 90000.00 left of 100000.00" in for_people.out
    unknown = await command("voucher", CHENGDU, "V-2")
    assert (unknown.status, unknown.out) == (1, "")


async def test_producers(used, command):
    ended = await command("producers", "--json")
    assert (ended.status, ended.err) == (0, "")
    rows = {(one["stream"], one["programme"]): one for one in ended.document["producers"]}
    assert {code for _, code in rows} == {path.stem for path in SHIPPED.glob("*.toml")}
    issue = rows[f"voucher.issued:{CHENGDU}", CHENGDU]
    assert list(issue) == ["stream", "programme", "uscc", "name", "last"]
    assert issue["last"] | {"recorded_at": ...} == {
        "event_id": "issue-V-1", "occurred_at": "2024-05-06T10:00:00+08:00", "recorded_at": ..., "position": 1,
        "parked": False,
    }  # fmt: skip
    assert rows[f"quota.exhausted:{CHENGDU}", CHENGDU]["last"] is None
    await used.append(CHENGDU, [as_inbound(redemption_event("V-2"))])
    of_one = (await command("producers", CHENGDU, "--json")).document["producers"]
    assert {one["programme"] for one in of_one} == {CHENGDU}
    (waiting,) = [one["last"] for one in of_one if one["last"] and one["last"]["parked"]]
    assert (waiting["event_id"], waiting["position"]) == ("redemption-V-2-1", None)
    for_people = await command("producers", CHENGDU)
    for told in ("redemption-V-2-1", "parked", "issue-V-1", f"quota.exhausted:{CHENGDU}", "成都智算中心"):
        assert told in for_people.out
    unknown = await command("producers", "nowhere-2024")
    assert (unknown.status, unknown.out) == (2, "")


@pytest.mark.tampers
async def test_verify(used, command, admin):
    ended = await command("verify", "--json")
    assert ended.status == 0
    assert ended.document["ok"] is True
    found = {one["programme"]: one for one in ended.document["programmes"]}
    assert found[CHENGDU] == {"programme": CHENGDU, "entries": 2, "ok": True}
    assert len(found) == 5
    await admin.execute("ALTER TABLE entry DISABLE TRIGGER USER")
    await admin.execute("UPDATE entry SET payable = payable + 1 WHERE programme = $1 AND position = 2", CHENGDU)
    wrong = await command("verify", CHENGDU, "--json")
    assert (wrong.status, wrong.document["ok"]) == (1, False)
    (one,) = wrong.document["programmes"]
    assert (one["ok"], one["entries"], one["first_bad_position"]) == (False, 1, 2)
    assert one["reason"] == "payable is 1000001, recomputed it is 1000000"
    for_people = await command("verify")
    assert for_people.status == 1
    assert f"{CHENGDU}: WRONG at position 2: payable" in for_people.out
    assert f"{GUIZHOU}: right, all 2 entries" in for_people.out
    assert (await command("verify", "nowhere-2024")).status == 2


async def test_quote(used, command, admin, tmp_path):
    file = written(
        tmp_path / "events.ndjson",
        issue_event("V-2", amount="950000.00"),
        issue_event("V-2", programme=GUIZHOU),
        b"",
        issue_event("V-3", amount="900000.00"),
        redemption_event("V-3"),
        redemption_event("V-1"),
        redemption_event("V-3", 2),
    )
    ended = await command("quote", file, "--json")
    assert ended.status == 0
    assert [(one["line"], one["programme"], one["outcome"], one.get("code"), one.get("granted"))
            for one in ended.document["events"]] == [
        (1, CHENGDU, "refused", "exceeds_annual_cap", None), (2, GUIZHOU, "accepted", None, "100000.00"),
        (4, CHENGDU, "accepted", None, "900000.00"), (5, CHENGDU, "accepted", None, None),
        (6, CHENGDU, "duplicate", None, None), (7, CHENGDU, "accepted", None, None),
    ]  # fmt: skip
    assert await admin.fetchval("SELECT count(*) FROM entry") == 4
    for_people = await command("quote", file)
    assert "exceeds_annual_cap" in for_people.out
    bad = written(
        file, b"{", issue_event("V-9"), redemption_event("V-1", 8, source="urn:uscc:x"), redemption_event("V-9", 1, provider="x"),
        issue_event("V-9", data__programme="nowhere-2024"), issue_event("V-1", amount="20000.00"),
        redemption_event("V-10"),
    )  # fmt: skip
    ended = await command("quote", bad, "--json")
    assert ended.status == 1
    assert [(one["outcome"], one.get("code")) for one in ended.document["events"]] == [
        ("rejected", "not_json"), ("accepted", None), ("rejected", "wrong_stream"), ("rejected", "wrong_stream"),
        ("rejected", "programme_unknown"), ("rejected", "id_reused_with_other_content"), ("waiting", None),
    ]  # fmt: skip
    assert (await command("quote", tmp_path / "missing")).status == 2


async def test_programmes(command, tmp_path):
    listed = (await command("programmes", "list", "--json")).document["programmes"]
    assert [one["programme"] for one in listed] == sorted(path.stem for path in SHIPPED.glob("*.toml"))
    assert "成都市算力券" in (await command("programmes", "list")).out
    shown = await command("programmes", "show", CHENGDU, "--json")
    assert shown.document["caps"][0]["amount"] == "1000000.00"
    for_people = await command("programmes", "show", CHENGDU)
    for told in ("illustrative", "published", "caps[0]", "1000000.00", "国家超算成都中心"):
        assert told in for_people.out
    assert (await command("programmes", "show", "nowhere-2024")).status == 2


async def test_checking_a_policy_file_says_all_that_is_wrong(command, tmp_path):
    right = SHIPPED / f"{CHENGDU}.toml"
    assert (await command("programmes", "check", right, "--json")).document == {
        "file": str(right), "ok": True, "problems": [],
    }  # fmt: skip
    wrong = tmp_path / "wrong.toml"
    text = right.read_text(encoding="utf-8")
    for changes, problems in (
        ({}, ["code: is"]),
        (
            {'share = "0.50"': 'shar = "0.50"', "opens_on = 2024": "opens_on = 2025"},
            ["period", "rates.0.share", "rates.0.shar"],
        ),
        ({'stage = "issue"': 'stage = "payout"'}, ["not yet enforced", "code: is"]),
        ({"[period]": "[period"}, ["not TOML"]),
    ):
        changed = text
        for old, new in changes.items():
            changed = changed.replace(old, new)
        wrong.write_text(changed, encoding="utf-8")
        ended = await command("programmes", "check", wrong, "--json")
        assert (ended.status, ended.document["ok"]) == (1, False)
        for told, problem in zip(problems, ended.document["problems"], strict=False):
            assert told in problem
        for_people = await command("programmes", "check", wrong)
        assert (for_people.status, len(for_people.out.splitlines())) == (1, len(ended.document["problems"]))
    assert (await command("programmes", "check", tmp_path / "missing.toml")).status == 2


async def test_exporting_the_schemas(command, tmp_path):
    ended = await command("schemas", "export", tmp_path / "new" / "folder", "--json")
    assert ended.document["files"] == sorted(export.documents())
    for name, text in export.documents().items():
        assert (tmp_path / "new" / "folder" / name).read_text(encoding="utf-8") == text
    (tmp_path / "file").touch()
    assert (await command("schemas", "export", tmp_path / "file")).status == 2


@pytest.mark.parametrize(
    "arguments", [["statement"], ["voucher", CHENGDU], ["quote"], ["programmes", "show"], ["verify", "a", "b"]]
)
async def test_bad_usage_ends_with_2(command, arguments):
    ended = await command(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err
