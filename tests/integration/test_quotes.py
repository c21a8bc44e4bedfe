"""Quotes on a real database: what an append would come to, and nothing is written."""

import asyncio

import asyncpg
from appending import append, entered
from events_made import ENTERPRISE, OTHER_ENTERPRISE, as_inbound, exhausted_event, issue_event, redemption_event

from schemas.codes import Code
from services.ledger.batch import Decided

CHENGDU = "chengdu-2024"


async def test_a_quote_gives_what_append_gives_and_writes_nothing(ledger, ledgers, admin):
    await append(ledger, issue_event("V-1", amount="900000.00"), redemption_event("V-5"))
    events = [
        issue_event("V-1", amount="900000.00"),
        issue_event("V-2"),
        issue_event("V-3", amount="20000.00"),
        redemption_event("V-3"),
        issue_event("V-2", amount="30000.00"),
        issue_event("V-5", enterprise=OTHER_ENTERPRISE),
        redemption_event("V-5", 2, amount="95000.00"),
        redemption_event("V-6"),
        exhausted_event(ENTERPRISE),
        issue_event("V-7", amount="10000.00"),
    ]
    before = await state_of(admin)
    quoted = [await one.quote(CHENGDU, [as_inbound(event) for event in events]) for one in (ledger, ledgers[0], ledger)]
    assert await state_of(admin) == before
    appended = await append(ledger, *events)
    assert quoted == [appended] * 3
    assert entered(appended) == [
        "Duplicate", None, Code.EXCEEDS_ANNUAL_CAP, "Waiting", "Rejected", None, Code.EXCEEDS_VOUCHER_BALANCE, "Waiting",
        None, Code.QUOTA_CLOSED,
    ]  # fmt: skip


async def state_of(admin: asyncpg.Connection) -> list[object]:
    tables = ("entry", "block", "payable", "policy", "head", "parked")
    return [await admin.fetch(f"SELECT xmin::text, * FROM {table} ORDER BY 1, 2, 3") for table in tables]


async def test_quotes_taken_while_others_append_are_each_of_one_moment(ledger, ledgers):
    """A quote of an issue always says what the quota was at the position that it would have had."""
    stop = asyncio.Event()

    async def appending() -> None:
        for n in range(60):
            await append(ledger, issue_event(f"V-{n}", amount="10000.00"))
        stop.set()

    async def quoting() -> None:
        while not stop.is_set():
            (outcome,) = await ledgers[0].quote(CHENGDU, [as_inbound(issue_event("V-x", amount="10000.00"))])
            assert isinstance(outcome, Decided)
            assert outcome.decision.quota_used == outcome.position * 10_000_00
            assert outcome.decision.budget_remaining == 10_000_000_00 - outcome.position * 10_000_00

    await asyncio.gather(appending(), quoting())
