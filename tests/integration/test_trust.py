"""Batches that are decided without looking back: the same answers, to the bit, as with everything looked up."""

import asyncio
import random

import asyncpg
import pytest
from events_made import Wire, as_inbound, exhausted_event, issue_event, redemption_event, uscc

from schemas.codes import Code
from services.ledger.append import Ledger
from services.ledger.batch import Decided, Duplicate, Outcome, Rejected
from services.ledger.database import connect
from services.ledger.trust import LOOK_BACK_BATCHES, Trust
from services.ledger.verify import verify

CHENGDU = "chengdu-2024"
COLUMNS = "position, kind, accepted, code, key, claim, voucher_id, enterprise, amount, granted, voucher_remaining, quota_used, payable"


async def append(ledger: Ledger, *events: Wire) -> list[Outcome]:
    return await ledger.append(CHENGDU, [as_inbound(event) for event in events])


def told(outcomes: list[Outcome]) -> list[str | None]:
    return [one.decision.code if isinstance(one, Decided) else type(one).__name__ for one in outcomes]


def batches_to_go(ledger: Ledger) -> int:
    return ledger._trust[CHENGDU].batches_to_go


def history(seed: int) -> list[Wire]:
    """Return events with all that makes looking back worth it: repeats, numbers used twice, limits passed, the wrong order."""
    draw = random.Random(seed)
    events: list[Wire] = []
    for number in range(240):
        voucher, holder = f"V-{draw.randrange(40)}", uscc(draw.randrange(4))
        match draw.randrange(10):
            case 0 | 1 | 2:
                contract = f"HT-{draw.randrange(60)}"
                events.append(issue_event(voucher, amount=draw.choice(["90000.00", "200000.00", "1000.00"]), enterprise=holder,
                                          contract_number=contract, event_id=f"i-{number}"))  # fmt: skip
            case 3 | 4 | 5 | 6:
                events.append(redemption_event(voucher, amount=draw.choice(["9000.00", "70000.00"]), event_id=f"r-{number}",
                                               redemption_id=f"R-{draw.randrange(40)}"))  # fmt: skip
            case 7 | 8 if events:
                events.append(draw.choice(events))
            case 9 if events and draw.random() < 0.3:
                events.append(draw.choice(events) | {"time": "2024-05-20T10:00:00+08:00"})
            case _ if draw.random() < 0.1:
                events.append(exhausted_event(holder, event_id=f"e-{number}"))
    return events


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_trusts_each_batch_says_what_whoever_trusts_none_says(
    servers, template_database, policies, seed, monkeypatch
):
    monkeypatch.setattr(Trust, "lose", lambda _: None)
    monkeypatch.setattr(Trust, "grow", lambda _: None)
    found = []
    for to_go in (0, 1):
        administrator = await asyncpg.connect(servers.database_url)
        name = f"trust_{seed}_{to_go}"
        await administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
        pool = await connect(servers.database_url.replace("/ledger?", f"/{name}?"))
        ledger = Ledger(pool, policies)
        await ledger.open()
        ledger._trust[CHENGDU].batches_to_go = to_go
        events, outcomes, sizes = history(seed), [], random.Random(seed)
        while events:
            some = sizes.choice([1, 2, 5, 20])
            outcomes += told(await append(ledger, *events[:some]))
            events = events[some:]
        rows = await pool.fetch(f"SELECT {COLUMNS} FROM entry ORDER BY position")
        parked = await pool.fetch("SELECT key FROM parked ORDER BY key")
        assert (await verify(pool, CHENGDU)).ok
        found.append((outcomes, [tuple(row) for row in rows], [tuple(row) for row in parked]))
        await pool.close()
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await administrator.close()
    assert found[0] == found[1]
    assert {"Duplicate", "Rejected", "Waiting", None, Code.CONTRACT_ALREADY_USED, Code.REDEMPTION_EXISTS} <= set(
        found[0][0]
    )


async def test_what_came_before_goes_before_what_a_refusal_would_else_say(ledger):
    """The contract's and the redemption's number come first in the order of the codes, and nothing of them is in the book."""
    await append(
        ledger,
        issue_event("V-1", amount="900000.00", contract_number="HT-1"),
        redemption_event("V-1", amount="500000.00"),
    )
    assert batches_to_go(ledger) == 0
    over_the_cap = issue_event("V-2", amount="900000.00", contract_number="HT-1")
    assert told(await append(ledger, over_the_cap)) == [Code.CONTRACT_ALREADY_USED]
    ledger._trust[CHENGDU].batches_to_go = 0
    over_the_balance = redemption_event("V-1", amount="500000.00", event_id="other", redemption_id="R-V-1-1")
    assert told(await append(ledger, over_the_balance)) == [Code.REDEMPTION_EXISTS]


async def test_trust_is_lost_by_a_repeat_and_comes_back(ledger):
    event = issue_event("V-0", amount="10000.00")
    assert told(await append(ledger, event)) == [None]
    assert batches_to_go(ledger) == 0
    assert isinstance((await append(ledger, event))[0], Duplicate)
    assert batches_to_go(ledger) == LOOK_BACK_BATCHES
    for number in range(LOOK_BACK_BATCHES):
        assert batches_to_go(ledger) == LOOK_BACK_BATCHES - number
        assert told(
            await append(ledger, issue_event(f"V-{number + 1}", amount="10000.00", enterprise=uscc(number)))
        ) == [None]
    assert batches_to_go(ledger) == 0
    (rejected,) = await append(ledger, event | {"time": "2024-05-07T10:00:00+08:00"})
    assert isinstance(rejected, Rejected)


async def test_a_repeat_within_one_batch_that_is_trusted(ledger, pool):
    event = issue_event("V-1", amount="10000.00")
    assert told(await append(ledger, event, event, issue_event("V-2"))) == [None, "Duplicate", None]
    assert await pool.fetchval("SELECT count(*) FROM entry") == 2


async def test_a_large_batch_is_written_in_parts_and_undone_as_a_whole(ledger, pool):
    """The repeat comes last, when PostgreSQL has most of the rows already."""
    events = [issue_event(f"V-{number}", amount="10000.00", enterprise=uscc(number)) for number in range(450)]
    assert told(await append(ledger, events[0])) == [None]
    assert told(await append(ledger, *events[1:], events[0])) == [None] * 449 + ["Duplicate"]
    assert await pool.fetchval("SELECT count(*) FROM block") == 2
    assert (await verify(pool, CHENGDU)).entries == 450


async def test_a_book_whose_commit_failed_is_not_gone_on_with(ledger, pool, monkeypatch):
    """The book is handed on before the commit: to one who waits for the head meanwhile, in this process."""
    await append(ledger, issue_event("V-1", amount="900000.00"))
    keep = ledger._keep

    def keep_and_fail(programme, book):
        keep(programme, book)
        monkeypatch.setattr(ledger, "_keep", keep)
        raise ConnectionError("gone before the commit")

    monkeypatch.setattr(ledger, "_keep", keep_and_fail)
    lost = issue_event("V-2", amount="90000.00")
    failed, stood = await asyncio.gather(
        append(ledger, lost), append(ledger, issue_event("V-3", amount="100000.00")), return_exceptions=True
    )
    assert isinstance(failed, ConnectionError)
    assert told(stood) == [None]
    assert told(await append(ledger, lost)) == [Code.EXCEEDS_ANNUAL_CAP]
    assert (await verify(pool, CHENGDU)).entries == 3


async def test_a_book_beside_which_another_wrote_as_many_entries_is_not_gone_on_with(
    ledger, pool, policies, monkeypatch
):
    """Its position is the head's, and its figures are not."""
    await append(ledger, issue_event("V-1", amount="500000.00"))
    keep = ledger._keep

    def keep_and_fail(programme, book):
        keep(programme, book)
        raise ConnectionError("gone before the commit")

    monkeypatch.setattr(ledger, "_keep", keep_and_fail)
    with pytest.raises(ConnectionError):
        await append(ledger, issue_event("V-2", amount="500000.00"))
    monkeypatch.setattr(ledger, "_keep", keep)
    await append(Ledger(pool, policies), issue_event("V-3", amount="100000.00"))
    assert told(await append(ledger, issue_event("V-4", amount="400000.00"))) == [None]
    assert (await verify(pool, CHENGDU)).entries == 3
