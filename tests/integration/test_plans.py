"""The queries of the hot path go by the one index that is theirs, on a table of which PostgreSQL knows nothing yet."""

import json

import pytest
from events_made import as_inbound, issue_event, providers_of, redemption_event, uscc

from services.ledger import loading, parking

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


def nodes_of(node):
    yield node
    for below in node.get("Plans", []):
        yield from nodes_of(below)
