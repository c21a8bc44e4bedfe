"""Appending to a ledger on a real database: many ledgers at once, redelivery, parked redemptions, failures."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from appending import append, entered
from events_made import (
    exhausted_event,
    issue_event,
    redemption_event,
    uscc,
)

from schemas.codes import Code, DeadLetterReason
from services.ledger.append import Ledger, Limits, ProgrammeUnknownError
from services.ledger.batch import Duplicate, Rejected, Waiting
from services.ledger.database import TRANSIENT, connect
from services.ledger.verify import verify

CHENGDU = "chengdu-2024"
NOON = datetime(2024, 5, 6, 4, tzinfo=UTC)


async def codes_in(admin: asyncpg.Connection) -> list[tuple[str, str | None]]:
    """Return the kind and the code of every entry, in the order of the positions."""
    return [tuple(row) for row in await admin.fetch("SELECT kind, code FROM entry ORDER BY programme, position")]


async def figures_in(admin: asyncpg.Connection, voucher_id: str) -> int:
    return await admin.fetchval(
        "SELECT voucher_remaining FROM entry WHERE voucher_id = $1 AND accepted ORDER BY position DESC LIMIT 1",
        voucher_id,
    )


async def test_of_150_issues_of_10000_sent_at_once_exactly_100_stand(ledger, ledgers, admin, pool):
    events = [issue_event(f"V-{n}", amount="10000.00") for n in range(150)]
    random.Random(1).shuffle(events)
    batches = [(ledgers[n % 4], events[n : n + 6]) for n in range(0, 150, 6)]
    outcomes = await asyncio.gather(*(append(one, *batch) for one, batch in batches))
    codes = [code for batch in outcomes for code in entered(batch)]
    assert codes.count(None) == 100
    assert codes.count(Code.EXCEEDS_ANNUAL_CAP) == 50
    assert await admin.fetchval("SELECT max(quota_used) FROM entry") == 1_000_000_00
    assert await admin.fetchval("SELECT count(*) = max(position) FROM entry")
    assert (await verify(pool, CHENGDU)).ok


async def test_of_eleven_units_of_a_million_ten_stand(ledger, ledgers, admin, pool):
    events = [issue_event(f"V-{n}", amount="1000000.00", enterprise=uscc(n)) for n in range(11)]
    outcomes = await asyncio.gather(*(append(ledgers[n % 4], event) for n, event in enumerate(events)))
    codes = [code for batch in outcomes for code in entered(batch)]
    assert sorted(codes, key=str) == [None] * 10 + [Code.EXCEEDS_BUDGET]
    assert await admin.fetchval("SELECT min(budget_remaining) FROM entry") == 0
    assert (await verify(pool, CHENGDU)).ok


async def test_the_same_event_five_times_is_one_entry_in_one_batch_across_batches_and_across_ledgers(
    ledger, ledgers, admin
):
    event = issue_event("V-1")
    assert entered(await append(ledger, *[event] * 5)) == [None] + ["Duplicate"] * 4
    for other in ledgers:
        assert await append(other, event) == [Duplicate()]
    again = issue_event("V-2")
    outcomes = await asyncio.gather(*(append(other, again) for other in [ledger, *ledgers]))
    assert sorted(map(str, map(entered, outcomes))) == sorted(["[None]"] + ["['Duplicate']"] * 4)
    assert await admin.fetchval("SELECT count(*) FROM entry") == 2


async def test_an_event_in_other_bytes_is_still_the_same_event(ledger, admin):
    event = issue_event("V-1")
    await append(ledger, event)
    reordered = dict(reversed(event.items())) | {"time": "2024-05-06T02:00:00Z", "extra": "attribute"}
    assert await append(ledger, reordered) == [Duplicate()]
    assert await admin.fetchval("SELECT count(*) FROM entry") == 1


@pytest.mark.parametrize("parked", [False, True], ids=["of an entry", "of a parked redemption"])
async def test_an_id_used_again_for_other_content_is_rejected_and_its_neighbours_are_not(ledger, ledgers, parked):
    first = redemption_event("V-1", amount="100.00") if parked else issue_event("V-1")
    other = redemption_event("V-1", amount="100.01") if parked else issue_event("V-1", amount="20000.00")
    neighbour = issue_event("V-2")
    await append(ledger, first)
    for one, neighbours in ((ledger, [None]), (ledgers[0], ["Duplicate"])):
        rejected, *rest = await append(one, other, neighbour)
        assert isinstance(rejected, Rejected)
        assert rejected.reason is DeadLetterReason.ID_REUSED_WITH_OTHER_CONTENT
        assert other["id"] in rejected.detail
        assert entered(rest) == neighbours


async def test_two_sources_may_use_the_same_id(ledger):
    first, second = (
        redemption_event("V-1", n, event_id="0001", source=f"urn:uscc:{uscc(n)}", amount="1.00") for n in (1, 2)
    )
    assert entered(await append(ledger, issue_event("V-1"), first, second)) == [None, None, None]


async def test_issues_and_redemptions_in_any_order_in_any_ledger_come_to_the_same_figures(ledger, ledgers, admin, pool):
    events = [issue_event(f"V-{v}", enterprise=uscc(v)) for v in range(6)]
    events += [redemption_event(f"V-{v}", n, amount="20000.00") for v in range(6) for n in range(4)]
    for seed in range(3):
        random.Random(seed).shuffle(events)
        batches = [events[n : n + 5] for n in range(0, len(events), 5)]
        await asyncio.gather(*(append(ledgers[n % 4], *batch) for n, batch in enumerate(batches)))
    assert [await figures_in(admin, f"V-{v}") for v in range(6)] == [20_000_00] * 6
    assert await admin.fetchval("SELECT max(payable) FROM entry") == 24 * 20_000_00
    assert await admin.fetchval("SELECT count(*) FROM entry") == 30
    assert await admin.fetchval("SELECT count(*) FROM parked") == 0
    assert (await verify(pool, CHENGDU)).ok


@pytest.mark.parametrize("issue_first", [True, False], ids=["issue first", "redemption first"])
@pytest.mark.parametrize("warm", [True, False], ids=["books warm", "books cold"])
async def test_a_redemption_and_its_issue_meet_across_two_ledgers(ledger, ledgers, admin, issue_first, warm):
    issuing, redeeming = ledgers[:2]
    if warm:
        for one in (issuing, redeeming):
            await append(one, issue_event(f"V-warm-{id(one)}", amount="10000.00", enterprise=uscc(7)))
            await append(one, redemption_event("V-1", id(one), amount="100000.01"))
    issue, redemption = issue_event("V-1"), redemption_event("V-1", amount="30000.00")
    if issue_first:
        assert entered(await append(issuing, issue)) == [None]
        assert entered(await append(redeeming, redemption)) == [None]
    else:
        assert entered(await append(redeeming, redemption)) == ["Waiting"]
        assert entered(await append(redeeming, redemption)) == ["Duplicate"]
        assert entered(await append(issuing, issue)) == [None]
        assert entered(await append(redeeming, redemption)) == ["Duplicate"]
    assert await figures_in(admin, "V-1") == 70_000_00
    assert await admin.fetchval("SELECT count(*) FROM parked") == 0


async def test_parked_redemptions_are_decided_in_the_order_they_came_in(pool, policies, admin):
    now = NOON
    ledger = Ledger(pool, policies, clock=lambda: now)
    await ledger.open()
    for n in range(3):
        now += timedelta(minutes=1)
        waiting = redemption_event("V-1", n, amount="60000.00", event_id=f"{9 - n}")
        assert entered(await append(ledger, waiting)) == ["Waiting"]
    assert entered(await append(ledger, issue_event("V-1"))) == [None]
    rows = await admin.fetch(
        "SELECT convert_from(event, 'UTF8')::json ->> 'id' AS id, code FROM entry ORDER BY position"
    )
    over = Code.EXCEEDS_VOUCHER_BALANCE
    assert [tuple(row) for row in rows] == [("issue-V-1", None), ("9", None), ("8", over), ("7", over)]


async def test_a_parked_redemption_whose_wait_is_over_is_refused_once_and_an_issue_after_it_stands(
    pool, policies, admin
):
    now = NOON
    waiting, other = (Ledger(pool, policies, Limits(wait=timedelta(hours=24)), clock=lambda: now) for _ in range(2))
    await waiting.open()
    redemption = redemption_event("V-1")
    assert await append(waiting, redemption) == [Waiting()]
    now += timedelta(hours=23, minutes=59)
    assert await append(waiting, redemption_event("V-2")) == [Waiting()]
    assert await waiting.expire_parked(CHENGDU) == 0
    now += timedelta(minutes=2)
    assert sorted(await asyncio.gather(waiting.expire_parked(CHENGDU), other.expire_parked(CHENGDU))) == [0, 1]
    assert await codes_in(admin) == [("redeemed", Code.VOUCHER_UNKNOWN)]
    assert await admin.fetchval("SELECT voucher_id FROM parked") == "V-2"
    assert entered(await append(waiting, redemption, issue_event("V-1"))) == ["Duplicate", None]
    assert await figures_in(admin, "V-1") == 100_000_00
    assert (await verify(pool, CHENGDU)).ok


async def test_waits_that_are_over_are_ended_in_portions(pool, policies, admin):
    now = NOON
    limits = Limits(wait=timedelta(hours=1), expire_at_once_max=4)
    ledger = Ledger(pool, policies, limits, clock=lambda: now)
    await ledger.open()
    await append(ledger, *(redemption_event(f"V-{n}") for n in range(10)))
    now += timedelta(hours=1)
    assert [await ledger.expire_parked(CHENGDU) for _ in range(4)] == [4, 4, 2, 0]
    assert await codes_in(admin) == [("redeemed", Code.VOUCHER_UNKNOWN)] * 10


async def test_a_transaction_that_is_cut_off_leaves_nothing_and_the_next_try_decides_right(
    ledger, ledgers, admin, database_url
):
    one, other = ledgers[:2]
    await append(one, issue_event("V-1", amount="900000.00"))
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.fetchrow("SELECT position FROM head WHERE programme = $1 FOR UPDATE", CHENGDU)
    lost = asyncio.create_task(append(one, issue_event("V-2", amount="50000.00"), redemption_event("V-9")))
    await cut_off_whoever_waits(admin)
    with pytest.raises(TRANSIENT):
        await lost
    await transaction.rollback()
    await holder.close()
    assert await admin.fetchval("SELECT count(*) FROM entry") == 1
    assert await admin.fetchval("SELECT count(*) FROM parked") == 0
    # Another process goes on meanwhile, so that the first one's book would be wrong if it had kept it.
    assert entered(await append(other, issue_event("V-3", amount="60000.00"))) == [None]
    outcomes = await append(one, issue_event("V-2", amount="50000.00"), redemption_event("V-9"))
    assert entered(outcomes) == [Code.EXCEEDS_ANNUAL_CAP, "Waiting"]
    assert (await verify(admin, CHENGDU)).ok


async def test_a_head_that_is_held_keeps_no_other_programme_from_going_on(ledger, admin, database_url):
    """However many batches wait for it: they do not take all connections."""
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.fetchrow("SELECT position FROM head WHERE programme = $1 FOR UPDATE", CHENGDU)
    waiting = [asyncio.create_task(append(ledger, issue_event(f"V-{n}", amount="10000.00"))) for n in range(20)]
    await asyncio.sleep(0.1)
    other = issue_event("V-1", programme="guizhou-2024")
    assert entered(await asyncio.wait_for(append(ledger, other, programme="guizhou-2024"), 20)) == [None]
    await transaction.rollback()
    await holder.close()
    assert [entered(outcomes) for outcomes in await asyncio.gather(*waiting)] == [[None]] * 20


async def cut_off_whoever_waits(admin: asyncpg.Connection) -> None:
    """End the one session that waits for a lock in this database."""
    for _ in range(500):
        ended = await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        if ended:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waited")


async def test_a_transaction_that_fails_after_deciding_leaves_nothing(ledger, admin, pool):
    await append(ledger, issue_event("V-1", amount="900000.00"))
    await admin.execute("ALTER TABLE entry ADD CONSTRAINT trouble CHECK (voucher_id <> 'V-3')")
    with pytest.raises(asyncpg.CheckViolationError):
        await append(ledger, issue_event("V-2"), redemption_event("V-9"), issue_event("V-3"))
    assert await admin.fetchval("SELECT count(*) FROM entry") == 1
    assert await admin.fetchval("SELECT count(*) FROM parked") == 0
    assert await admin.fetchval("SELECT position FROM head WHERE programme = $1", CHENGDU) == 1
    assert entered(await append(ledger, issue_event("V-2"))) == [None]
    assert (await verify(pool, CHENGDU)).ok


async def test_recorded_at_never_goes_back_with_the_clock(pool, policies, admin):
    now = NOON
    ledger = Ledger(pool, policies, clock=lambda: now)
    await ledger.open()
    for n, step in enumerate((0, -3600, 1800, 1)):
        now += timedelta(seconds=step)
        await append(ledger, issue_event(f"V-{n}", amount="10000.00"))
    moments = [row["recorded_at"] for row in await admin.fetch("SELECT recorded_at FROM entry ORDER BY position")]
    assert moments == [NOON] * 4
    now = NOON + timedelta(microseconds=1)
    await append(ledger, issue_event("V-9", amount="10000.00"))
    assert await admin.fetchval("SELECT max(recorded_at) FROM entry") == now
    assert (await verify(pool, CHENGDU)).ok


@pytest.mark.parametrize("limits", [Limits(vouchers_max=0, quotas_max=0), Limits(vouchers_max=3, quotas_max=1)])
async def test_a_book_that_forgets_nearly_all_decides_the_same(ledger, admin, database_url, policies, limits):
    events = [issue_event(f"V-{v}", enterprise=uscc(v % 3), amount="150000.00") for v in range(24)]
    events += [redemption_event(f"V-{v}", n, amount="40000.00") for v in range(24) for n in range(4)]
    events += [exhausted_event(uscc(0))]
    random.Random(5).shuffle(events)
    batches = [events[n : n + 7] for n in range(0, len(events), 7)]
    remembered = [await append(ledger, *batch) for batch in batches]
    await admin.execute("SET session_replication_role = 'replica'")
    for table in ("entry", "block", "payable"):
        await admin.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        await admin.execute(f"DELETE FROM {table}")
    await admin.execute("DELETE FROM parked")
    await admin.execute("UPDATE head SET position = 0, parked = 0, hash = decode(repeat('00', 32), 'hex')")
    pool = await connect(database_url)
    forgetful = Ledger(pool, policies, limits)
    assert [await append(forgetful, *batch) for batch in batches] == remembered
    assert (await verify(pool, CHENGDU)).ok
    pool.terminate()


async def test_a_programme_that_is_not_served_or_not_open_is_an_error(pool, policies):
    ledger = Ledger(pool, policies)
    for programme in (CHENGDU, "nowhere-2024"):
        with pytest.raises(ProgrammeUnknownError):
            await append(ledger, issue_event("V-1"), programme=programme)
