"""The last event of each producer: found in any ledger without going through it, and never one that the ledger does not have."""

import json
import random

import pytest
from events_made import (
    OTHER_ENTERPRISE,
    STRANGER,
    Wire,
    as_inbound,
    authority_of,
    exhausted_event,
    issue_event,
    policy_with,
    providers_of,
    redemption_event,
    uscc,
)

from schemas.identifiers import ledger_source, source_of
from services.ledger import last_events as module
from services.ledger.append import Ledger
from services.ledger.last_events import LastEvents, last_events
from services.producers import producers

CHENGDU, GUIZHOU = "chengdu-2024", "guizhou-2024"
FIRST, SECOND = providers_of(CHENGDU)


async def append(ledger: Ledger, *events: Wire, programme: str = CHENGDU) -> None:
    await ledger.append(programme, [as_inbound(event) for event in events])


async def asked(pool, *providers: str) -> LastEvents:
    async with pool.acquire() as connection:
        return await last_events(connection, CHENGDU, source_of(authority_of(CHENGDU)), providers or (FIRST, SECOND))


def told(found: LastEvents) -> dict[str, tuple[str, int | None]]:
    named = {"issued": found.issued, "exhausted": found.exhausted, **found.redeemed}
    return {name: (one.event_id, one.position) for name, one in named.items() if one is not None}


async def test_a_ledger_without_entries_and_one_that_is_not_open_have_no_last_event(ledger, pool, admin):
    assert told(await asked(pool)) == {}
    await admin.execute("DELETE FROM head WHERE programme = $1", CHENGDU)
    assert told(await asked(pool)) == {}


async def test_what_was_accepted_refused_or_parked_last_is_named_by_its_producer(ledger, pool, admin):
    await append(
        ledger,
        issue_event("V-1"),
        redemption_event("V-1", 1, provider=SECOND),
        redemption_event("V-1", 2),
        exhausted_event(OTHER_ENTERPRISE),
        exhausted_event(uscc(7), source=ledger_source(CHENGDU)),
        redemption_event("V-1", 3, amount="9999999.00"),
        issue_event("V-1", event_id="refused"),
    )
    assert told(await asked(pool)) == {
        "issued": ("refused", 7), "exhausted": (f"exhausted-{OTHER_ENTERPRISE}-2024", 4),
        FIRST: ("redemption-V-1-3", 6), SECOND: ("redemption-V-1-1", 2),
    }  # fmt: skip
    found = await asked(pool, FIRST)
    assert set(found.redeemed) == {FIRST}
    assert found.redeemed[FIRST].occurred_at == "2024-06-06T10:00:00+08:00"
    assert found.redeemed[FIRST].recorded_at == await admin.fetchval("SELECT recorded_at FROM entry WHERE position = 6")
    await append(ledger, redemption_event("V-9", 1, provider=SECOND), redemption_event("V-9", 2, provider=SECOND))
    assert told(await asked(pool))[SECOND] == ("redemption-V-9-2", None)
    assert not told(await asked(pool, STRANGER)).keys() - {"issued", "exhausted"}
    # It is decided after all, and another comes after it.
    await append(ledger, issue_event("V-9"), redemption_event("V-9", 3, provider=SECOND))
    assert told(await asked(pool))[SECOND] == ("redemption-V-9-3", 11)


@pytest.mark.parametrize("recent", [0, 3, 25, 1_000])
async def test_however_far_back_it_is_it_is_found_and_of_what_is_not_recent_what_was_accepted(
    ledger, pool, admin, monkeypatch, recent
):
    monkeypatch.setattr(module, "RECENT_ENTRIES", recent)
    monkeypatch.setattr(module, "_CLOSURES_AT_ONCE", 2)
    chance = random.Random(recent)
    for number in range(60):
        issue = issue_event(f"V{number}", enterprise=uscc(number % 9), amount="10000.00")
        use = redemption_event(
            f"V{chance.randrange(number + 1)}", number, amount="4000.00", provider=chance.choice([FIRST, SECOND])
        )
        closure = exhausted_event(
            uscc(100 + number), source=None if chance.random() < 0.2 else ledger_source(CHENGDU)
        )  # fmt: skip
        await append(ledger, *chance.choice([(use,), (use,), (issue,), (issue, use), (closure,)]))
        if number % 5:
            continue
        rows = await admin.fetch("SELECT * FROM entry WHERE programme = $1 ORDER BY position", CHENGDU)
        expected = {}
        for row in rows:
            event = json.loads(row["event"])
            if row["position"] <= rows[-1]["position"] - recent and not row["accepted"]:
                continue
            if row["kind"] != "exhausted" or event["source"] != ledger_source(CHENGDU):
                expected[row["provider"] if row["kind"] == "redeemed" else row["kind"]] = event["id"], row["position"]
        found = {name: one for name, one in told(await asked(pool)).items() if one[1] is not None}
        waiting = {row["provider"] for row in await admin.fetch("SELECT provider FROM parked")}
        assert {name: one for name, one in found.items() if name not in waiting} == {
            name: one for name, one in expected.items() if name not in waiting
        }


QUERIES = {
    "recent": (module._RECENT, (2_000,), {"entry_pkey"}),
    "redeemed": (module._REDEEMED, ([FIRST, SECOND],), {"payable_newest", "block_pkey", "entry_pkey"}),
    "issued": (module._ISSUED, (), {"entry_quota"}),
    "closures": (module._CLOSURES, (5_000, 10), {"entry_closure"}),
    "entries": (module._ENTRIES, ([5, 6],), {"entry_pkey"}),
    "parked": (module._PARKED, (100, [FIRST]), {"parked_since"}),
}


@pytest.mark.parametrize("analysed", [False, True], ids=["never analysed", "analysed"])
async def test_each_question_has_its_index(ledger, pool, admin, analysed):
    await append(ledger, *(issue_event(f"V{n}", amount="10000.00", enterprise=uscc(n % 100)) for n in range(500)))
    await append(ledger, *(redemption_event(f"V{n % 500}", n, amount="1.00") for n in range(1_500)))
    await append(ledger, *(redemption_event(f"W{n}", n, amount="1.00") for n in range(500)))
    if analysed:
        await admin.execute("ANALYZE")
    async with pool.acquire() as connection:
        for name, (query, arguments, indexes) in QUERIES.items():
            plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", CHENGDU, *arguments))
            scans = list(scans_of(plan[0]["Plan"]))
            assert {scan.get("Index Name") for scan in scans} - {None} == indexes, name
            assert not any(scan["Node Type"] == "Seq Scan" for scan in scans), name


def scans_of(node):
    if "Scan" in node["Node Type"]:
        yield node
    for below in node.get("Plans", []):
        yield from scans_of(below)


async def test_a_provider_has_one_stream_and_a_row_for_each_programme(ledger, pool):
    both = {CHENGDU: policy_with(CHENGDU), GUIZHOU: policy_with(GUIZHOU)}
    shared = sorted(both[CHENGDU].providers.codes & both[GUIZHOU].providers.codes)
    provider = next(iter(shared), None)
    await append(ledger, issue_event("V-1"), redemption_event("V-1"))
    await append(ledger, issue_event("G-1", programme=GUIZHOU), programme=GUIZHOU)
    async with pool.acquire() as connection:
        found = await producers(connection, both)
    rows = {(one.stream, one.programme): one for one in found}
    assert len(rows) == len(found)
    assert rows[f"voucher.issued:{CHENGDU}", CHENGDU].last.event_id == "issue-V-1"
    assert rows[f"voucher.issued:{GUIZHOU}", GUIZHOU].last.event_id == "issue-G-1"
    assert rows[f"quota.exhausted:{GUIZHOU}", GUIZHOU].last is None
    assert rows[f"voucher.redeemed:{FIRST}", CHENGDU].last.event_id == "redemption-V-1-1"
    assert rows[f"voucher.redeemed:{FIRST}", CHENGDU].name == both[CHENGDU].providers.accredited[0].names.zh
    if provider is not None:
        assert {code for stream, code in rows if stream == f"voucher.redeemed:{provider}"} == {CHENGDU, GUIZHOU}
