"""Redemptions that wait for their vouchers: no more of them than the limits say; one more is decided at once, for good."""

import asyncpg
import pytest
from events_made import as_inbound, issue_event, providers_of, redemption_event, uscc
from line import CHENGDU, entered, quick_settings, running, send, settled

from schemas.codes import Code
from services.consumers.service import served_policies
from services.doctor import examine
from services.ledger.append import Ledger, Limits
from services.ledger.batch import Decided, Outcome
from services.ledger.room import Room
from services.ledger.verify import verify

PROVIDER, OTHER_PROVIDER = providers_of(CHENGDU)


@pytest.fixture
async def opened(pool, policies):
    """Return a way to open a ledger with limits; each has a book of its own, as processes have."""

    async def open_(**limits: int) -> Ledger:
        ledger = Ledger(pool, policies, Limits(**limits))
        await ledger.open()
        return ledger

    return open_


def told(outcomes: list[Outcome]) -> list[str | None]:
    return [one.decision.code if isinstance(one, Decided) else type(one).__name__ for one in outcomes]


def redemptions(numbers: range, provider: str = PROVIDER, voucher: str = "V{}") -> list[dict]:
    return [
        redemption_event(voucher.format(number), 1 if provider == PROVIDER else 2, provider=provider, amount="1.00")
        for number in numbers
    ]


async def append(ledger: Ledger, *events: dict) -> list[str | None]:
    return told(await ledger.append(CHENGDU, [as_inbound(event) for event in events]))


async def parked(admin: asyncpg.Connection) -> int:
    count = await admin.fetchval("SELECT count(*) FROM parked")
    assert await admin.fetchval("SELECT parked FROM head WHERE programme = $1", CHENGDU) == count
    return count


async def test_one_more_than_may_wait_in_a_programme_is_refused_and_stays_so(opened, admin):
    ledger = await opened(parked_max=5)
    assert await append(ledger, *redemptions(range(3))) == ["Waiting"] * 3
    assert await append(ledger, *redemptions(range(3, 7))) == ["Waiting"] * 2 + [Code.VOUCHER_UNKNOWN] * 2
    assert ledger.crowded_out == {CHENGDU: 2}
    assert await parked(admin) == 5
    # Sent again they are the same events: what was decided stays, what waits goes on waiting.
    assert await append(ledger, *redemptions(range(7))) == ["Duplicate"] * 7
    assert await append(ledger, issue_event("V6"), redemption_event("V6", 9, amount="1.00")) == [None, None]
    assert (await verify(admin, CHENGDU)).ok


async def test_a_provider_has_its_share_and_another_does_not_pay_for_it(opened, admin):
    ledger = await opened(parked_per_provider_max=4)
    assert await append(ledger, *redemptions(range(6))) == ["Waiting"] * 4 + [Code.VOUCHER_UNKNOWN] * 2
    both = [*redemptions(range(10, 12)), *redemptions(range(10, 15), OTHER_PROVIDER)]
    assert await append(ledger, *both) == [Code.VOUCHER_UNKNOWN] * 2 + ["Waiting"] * 4 + [Code.VOUCHER_UNKNOWN]
    assert await parked(admin) == 8
    assert (await verify(admin, CHENGDU)).ok


async def test_a_place_is_free_again_when_its_voucher_comes_or_its_wait_is_over(opened, admin):
    ledger = await opened(parked_max=2, parked_per_provider_max=2)
    assert await append(ledger, *redemptions(range(2))) == ["Waiting"] * 2
    voucher_and_two_more = [issue_event("V0"), *redemptions(range(2, 4))]
    assert await append(ledger, *voucher_and_two_more) == [None, "Waiting", Code.VOUCHER_UNKNOWN]
    # Within one batch too: parked and issued, the place goes to the next.
    freed = [issue_event("V2", enterprise=uscc(3)), *redemptions(range(5, 6)), issue_event("V5", enterprise=uscc(4))]
    assert await append(ledger, *freed, *redemptions(range(6, 8))) == [
        None,
        "Waiting",
        None,
        "Waiting",
        Code.VOUCHER_UNKNOWN,
    ]
    assert await parked(admin) == 2
    impatient = await opened(parked_max=2, wait=ledger.limits.wait * 0)
    assert await impatient.expire_parked(CHENGDU) == 2
    assert await append(ledger, *redemptions(range(20, 22))) == ["Waiting"] * 2
    assert (await verify(admin, CHENGDU)).ok


async def test_with_no_room_at_all_everything_is_decided_at_once(opened, admin):
    ledger = await opened(parked_max=0)
    assert await append(ledger, *redemptions(range(2)), issue_event("V0")) == [Code.VOUCHER_UNKNOWN] * 2 + [None]
    assert await parked(admin) == 0


async def test_a_limit_that_was_lowered_lets_nobody_more_in_and_turns_nobody_out(opened, admin):
    assert await append(await opened(), *redemptions(range(5))) == ["Waiting"] * 5
    lower = await opened(parked_max=3, parked_per_provider_max=3)
    assert await append(lower, *redemptions(range(5, 7))) == [Code.VOUCHER_UNKNOWN] * 2
    assert await append(lower, issue_event("V0"), *redemptions(range(7, 8))) == [None, Code.VOUCHER_UNKNOWN]
    assert await parked(admin) == 4


async def test_a_quote_says_what_there_is_no_room_for(opened, admin):
    ledger = await opened(parked_max=1)
    events = [as_inbound(event) for event in redemptions(range(2))]
    quoted = await ledger.quote(CHENGDU, events)
    assert told(quoted) == ["Waiting", Code.VOUCHER_UNKNOWN]
    assert await ledger.append(CHENGDU, events) == quoted


async def test_the_settings_limit_it_and_the_doctor_says_so(database_url, redis_url, redis, admin):
    settings = quick_settings(database_url, redis_url, parked_max=3, parked_per_provider_max=2)
    stream = f"voucher.redeemed:{PROVIDER}"
    async with running("redeemed", settings):
        await send(redis, *redemptions(range(4)))
        rows = await entered(admin, 2)
        await settled(redis, [stream])
    assert [(row["accepted"], row["code"]) for row in rows] == [(False, "voucher_unknown")] * 2
    assert await parked(admin) == 2
    (finding,) = [
        one for one in await examine(settings, served_policies(settings)) if one.what == "redemptions waiting"
    ]
    assert (finding.ok, finding.found) == (True, f"{CHENGDU} 2 of at most 3 each")
    lower = settings.model_copy(update={"parked_max": 2})
    (finding,) = [one for one in await examine(lower, served_policies(lower)) if one.what == "redemptions waiting"]
    assert not finding.ok


def test_room_is_in_all_and_for_each():
    room = Room(left=3, each_max=2)
    assert [room.take("a"), room.take("a"), room.take("a"), room.take("b"), room.take("b")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    room.give_back("a")
    assert [room.take("a"), room.take("b")] == [True, False]
