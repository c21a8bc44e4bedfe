"""The queries of the hot path go by the one index that is theirs, on a table of which PostgreSQL knows nothing yet."""

import json

import pytest
from events_made import as_inbound, issue_event, providers_of, redemption_event, uscc

from services.ledger import loading, parking, queries
from services.ledger.read import Of
from services.readmodel import finding
from services.readmodel.tailing import rebuild

CHENGDU = "chengdu-2024"
KEYS = [bytes([number]) * 16 for number in range(50)]
VOUCHERS = [f"V-{number}" for number in range(50)]
ASKED = {
    "vouchers": (loading._VOUCHERS, (VOUCHERS,), {"entry_issue", "entry_use"}),
    "quotas": (loading._QUOTAS, ([uscc(1)] * 50, ["2024"] * 50), {"entry_quota"}),
    "payables": (loading._PAYABLES, (providers_of(CHENGDU),), {"payable_newest"}),
    "events": (loading._KNOWN, (KEYS,), {"entry_key"}),
    "claims": (loading._CLAIMS, (KEYS,), {"entry_claim"}),
    "what came since": (loading._SINCE, (3_000, 3_020), {"entry_pkey"}),
    "waiting events": (parking._KNOWN, (KEYS,), {"parked_pkey"}),
    "how many of a provider wait": (parking._COUNTS, (providers_of(CHENGDU), 500), {"parked_provider"}),
    "waiting redemptions": (parking._OF_VOUCHERS, (VOUCHERS,), {"parked_voucher"}),
}


@pytest.mark.parametrize("analysed", [False, True], ids=["never analysed", "analysed"])
async def test_each_question_has_its_index(ledger, pool, admin, analysed):
    await admin.execute(
        "ALTER TABLE entry SET (autovacuum_enabled = off); ALTER TABLE parked SET (autovacuum_enabled = off)"
    )
    issues = [issue_event(f"V-{number}", amount="10000.00", enterprise=uscc(number % 100)) for number in range(900)]
    uses = [redemption_event(f"V-{number % 900}", number, amount="1.00") for number in range(2_700)]
    early = [redemption_event(f"W-{number % 900}", number, amount="1.00") for number in range(900)]
    for events in (issues, uses, early):
        await ledger.append(CHENGDU, [as_inbound(event) for event in events])
    if analysed:
        await admin.execute("ANALYZE")
    for name, (query, arguments, indexes) in ASKED.items():
        async with pool.acquire() as connection:
            for _ in range(7):  # after some, PostgreSQL may take a plan for any arguments
                await connection.fetch(query, CHENGDU, *arguments)
            plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", CHENGDU, *arguments))
        found = {node.get("Index Name") for node in nodes_of(plan[0]["Plan"]) if "Scan" in node["Node Type"]} - {None}
        assert found == indexes, name
        assert not any(node["Node Type"] in {"Seq Scan", "Bitmap Heap Scan"} for node in nodes_of(plan[0]["Plan"])), (
            name
        )


LOOKED_FOR = {
    "entries of a voucher": (
        finding._OF_VOUCHER, ("V-7", 10, 4_000, 101), {"entry_issue", "entry_use", "coded_entry_voucher"},
    ),
    "entries of an enterprise": (
        finding._OF_ENTERPRISE, (uscc(7), 10, 4_000, 101),
        {"entry_quota", "entry_use", "entry_closure", "coded_entry_enterprise"},
    ),
    "newest refusals": (finding._NEWEST_REFUSALS, (uscc(7), 3_990, 20), {"coded_entry_enterprise", "entry_pkey"}),
    "chunks": (finding._CHUNKS, ("issued", "kind", 3, 101), {"presence_pkey"}),
    "entries in chunks": (
        finding._IN_CHUNKS.format(attribute="provider", which=""), ([1, 2, 9], 300, 4_000, "x", 101), {"entry_pkey"},
    ),
    "entries at positions": (queries.ENTRIES_AT, (list(range(50)), *Of(), 100), {"entry_pkey"}),
    "entries after a position": (queries.ENTRIES, (10, 4_000, *Of(), 101), {"entry_pkey"}),
    "entries after the read model's cursor": (queries.ENTRIES, (3_990, 4_000, *Of(provider="x"), 101), {"entry_pkey"}),
    "issues after it": (queries.ISSUED_AFTER, (3_990, 4_000, 101), {"entry_pkey"}),
    "quotas by pages": (queries.QUOTAS_AFTER, (uscc(7), "2024", 101), {"entry_quota"}),
    "vouchers at positions": (
        queries.VOUCHERS_AT, (list(range(50)),), {"entry_pkey", "entry_use"},
    ),
    "issues to an enterprise": (queries.ISSUED_TO, (uscc(7), 10, 101), {"entry_quota"}),
}  # fmt: skip


TAKEN_FOR_LARGE = "UPDATE pg_class SET relpages = 1, reltuples = 20000 WHERE relname = 'entry'"
"""As one is that grew since: what is known of a page of it, on as many pages as it has."""


@pytest.mark.parametrize("known", ["SELECT", "ANALYZE", TAKEN_FOR_LARGE], ids=["never analysed", "analysed", "large"])
async def test_what_is_looked_for_is_found_without_going_through_the_ledger(ledger, pool, admin, known):
    for table in ("entry", "readmodel.coded_entry", "readmodel.presence"):
        await admin.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    issues = [issue_event(f"V-{number}", amount="10000.00", enterprise=uscc(number % 100)) for number in range(900)]
    uses = [redemption_event(f"V-{number % 900}", number, amount="1.00") for number in range(2_700)]
    late = [redemption_event(f"V-{number % 900}", 9_000 + number, amount="90000.00") for number in range(400)]
    for events in (issues, uses, late):
        await ledger.append(CHENGDU, [as_inbound(event) for event in events])
    await rebuild(pool, CHENGDU)
    await admin.execute(known)
    for name, (query, arguments, indexes) in LOOKED_FOR.items():
        async with pool.acquire() as connection:
            for _ in range(7):  # after some, PostgreSQL may take a plan for any arguments
                await connection.fetch(query, CHENGDU, *arguments)
            plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", CHENGDU, *arguments))
        nodes = list(nodes_of(plan[0]["Plan"]))
        found = {node.get("Index Name") for node in nodes if "Scan" in node["Node Type"]} - {None}
        assert found == indexes, name
        assert not any(node["Node Type"] == "Seq Scan" for node in nodes), name
        looked_at = sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in nodes if "Index" in node["Node Type"]
        )  # fmt: skip
        assert looked_at < 1_300, (name, looked_at)


def nodes_of(node):
    yield node
    for below in node.get("Plans", []):
        yield from nodes_of(below)
