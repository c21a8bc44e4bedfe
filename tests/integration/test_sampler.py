"""The sampler on a real broker and database, its clock the test's: streams, letters, ledgers, and what happens while a server is away."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from events_made import as_inbound, issue_event, providers_of, redemption_event, uscc
from eventually import eventually
from line import CHENGDU

from services.broker import DEAD_LETTERS, GROUP, connect, ensure_groups, inbound_streams, notification_stream
from services.ledger.append import Ledger
from services.ledger.policies import Policies
from services.ledger.verifications import keep
from services.ledger.verify import verify
from services.monitor.facts import facts
from services.monitor.letterbox import LISTED_MAX, Letterbox
from services.monitor.nearest import KEPT, Nearest
from services.monitor.sampler import Sampler
from services.monitor.verdict import STILL_SECONDS, State, Why
from services.readmodel import tailing

ISSUED = f"voucher.issued:{CHENGDU}"


@pytest.fixture
def chengdu(policies):
    return {CHENGDU: policies[CHENGDU]}


@pytest.fixture
def sampler(redis, pool, chengdu):
    return Sampler(redis, pool, chengdu, read_within_seconds=1.0)


def stream(sampler, key=ISSUED):
    return next(one for one in sampler.latest.streams if one.row.stream == key)


async def sampled(sampler, at):
    await sampler.sample(at)
    return stream(sampler)


async def test_rates_and_verdicts_come_of_what_was_seen(sampler, redis, chengdu):
    await ensure_groups(redis, inbound_streams(chengdu))
    assert (await sampled(sampler, 0.0)).verdict.why is Why.NO_READER
    await redis.xreadgroup(GROUP, "one", {ISSUED: ">"})
    assert (await sampled(sampler, 1.0)).verdict.state is State.IDLE
    ids = [await redis.xadd(ISSUED, {"event": b"{}"}) for _ in range(20)]
    await redis.xreadgroup(GROUP, "one", {ISSUED: ">"})
    await redis.xack(ISSUED, GROUP, *ids)
    seen = await sampled(sampler, 2.0)
    assert (seen.rate_in, seen.rate_out, seen.verdict.state) == (10.0, 10.0, State.KEEPING_UP)
    # All of it waits again, and nothing is done about it for as long as the sampler looks on.
    await redis.xgroup_setid(ISSUED, GROUP, "0")
    await sampled(sampler, 3.0)
    behind = await eventually(lambda: _no_longer_prompt(sampler))
    assert behind.row.lag == 20
    assert behind.verdict.state is State.STUCK


async def _no_longer_prompt(sampler):
    seen = await sampled(sampler, 60.0)
    return seen if seen.row.oldest_waiting_seconds > STILL_SECONDS else None


async def test_an_hour_is_remembered(sampler, redis, chengdu):
    await ensure_groups(redis, inbound_streams(chengdu))
    for at in range(0, 120, 10):
        await redis.xadd(ISSUED, {"event": b"{}"})
        await sampler.sample(float(at))
    seen = await sampled(sampler, 120.0)
    assert seen.hour_in[-3:] == (0.1, 0.1, 0.1)
    assert seen.hour_in[0] is None


async def test_ledgers_notifications_and_verifications(sampler, redis, pool, policies):
    # An hour ahead, for nothing to wait for long however slow this machine is.
    ledger = Ledger(pool, policies, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    await ledger.open()
    await sampler.sample(0.0)
    (head,) = sampler.latest.ledgers
    assert (head.programme, head.position, head.distance, head.verified) == (CHENGDU, 0, 0, None)
    await ledger.append(CHENGDU, [as_inbound(issue_event(f"V{n}", amount="10000.00")) for n in range(4)])
    await redis.xadd(notification_stream(CHENGDU), {"event": b"{}"}, id="1-0")
    found = await verify(pool, CHENGDU)
    await keep(pool, found, await pool.fetchval("SELECT now()"))
    await sampler.sample(10.0)
    (head,) = sampler.latest.ledgers
    assert (head.position, head.distance, head.rate) == (4, 3, 0.4)
    assert (head.verified.ok, head.verified.entries) == (True, 4)
    assert head.notified.state is State.KEEPING_UP  # they do not wait for long yet
    await redis.xadd(notification_stream(CHENGDU), {"event": b"{}"}, id="9-0")
    await sampler.sample(11.0)
    assert sampler.latest.ledgers[0].notified.why is Why.NOTIFIER_AHEAD


async def test_a_redemption_that_waits_is_counted(sampler, ledger):
    await ledger.append(CHENGDU, [as_inbound(redemption_event("NOBODY-S"))])
    await sampler.sample(0.0)
    assert sampler.latest.ledgers[0].parked == 1


async def test_while_a_server_is_away_what_was_seen_stays_and_is_said_to_be_old(sampler, redis, pool, chengdu):
    await redis.xadd(ISSUED, {"event": b"{}"})
    await sampler.sample(0.0)
    assert (sampler.latest.broker_trouble, sampler.latest.database_trouble) == (None, None)
    nowhere = connect("unix:///nowhere.sock")
    blind = Sampler(nowhere, pool, chengdu, 1.0)
    blind.latest = sampler.latest
    await blind.sample(1.0)
    assert blind.latest.broker_trouble is not None
    assert blind.latest.streams == sampler.latest.streams
    assert blind.latest.number == sampler.latest.number + 1
    await nowhere.aclose()
    pool.terminate()
    await sampler.sample(2.0)
    assert sampler.latest.database_trouble is not None
    assert sampler.latest.broker_trouble is None


async def letter(redis, stream=ISSUED):
    return (await redis.xadd(DEAD_LETTERS, {"event": b"x", "stream": stream, "reason": "not_json"})).decode()


async def test_the_letterbox_reads_what_is_new_and_notices_what_is_gone(redis):
    box = Letterbox()
    await box.look(redis)
    assert (box.letters, box.kept) == ((), 0)
    first, second = await letter(redis), await letter(redis, "elsewhere")
    await box.look(redis)
    assert [one.id for one in box.letters] == [first, second]
    assert box.by_stream == {ISSUED: 1, "elsewhere": 1}
    third = await letter(redis)
    await box.look(redis)
    assert [one.id for one in box.letters] == [first, second, third]
    await redis.xdel(DEAD_LETTERS, second)
    fourth = await letter(redis)
    await box.look(redis)
    assert [one.id for one in box.letters] == [first, third, fourth]
    await redis.delete(DEAD_LETTERS)
    another = [await letter(redis) for _ in range(4)]
    await box.look(redis)
    assert [one.id for one in box.letters] == another
    await redis.delete(DEAD_LETTERS)
    await box.look(redis)
    assert (box.letters, box.kept) == ((), 0)


async def test_of_very_many_letters_the_oldest_are_listed(redis):
    async with redis.pipeline(transaction=False) as pipeline:
        for _ in range(LISTED_MAX + 700):
            pipeline.xadd(DEAD_LETTERS, {"event": b"x", "stream": ISSUED, "reason": "not_json"})
        ids = await pipeline.execute()
    box = Letterbox()
    await box.look(redis)
    assert (len(box.letters), box.kept) == (LISTED_MAX, LISTED_MAX + 700)
    assert box.letters[-1].id == ids[LISTED_MAX - 1].decode()
    await redis.xdel(DEAD_LETTERS, *ids[:500])
    await box.look(redis)
    assert (len(box.letters), box.kept) == (LISTED_MAX, LISTED_MAX + 200)
    assert box.letters[0].id == ids[500].decode()


async def fold_all(pool, programme=CHENGDU):
    async with pool.acquire() as connection:
        while await tailing.fold(connection, Policies({}), programme):
            pass


async def test_those_nearest_their_cap_are_found_and_kept_up(pool, ledger, chengdu, admin):
    amounts = {uscc(n): 10_000 * (5 + n) for n in range(KEPT + 8)}
    issues = [issue_event(f"V-{who}", enterprise=who, amount=f"{amount}.00") for who, amount in amounts.items()]
    await ledger.append(CHENGDU, [as_inbound(issue) for issue in issues])
    await fold_all(pool)
    nearest = Nearest(pool, chengdu)
    assert nearest.reading(CHENGDU) == 0
    while await nearest.round():
        pass
    assert nearest.reading(CHENGDU) is None
    expected = sorted(amounts.items(), key=lambda one: -one[1])[:KEPT]
    assert nearest.fullest(CHENGDU) == [(who, "2024", amount * 100) for who, amount in expected]
    # One that was among the last comes to be the first.
    late = uscc(0)
    await ledger.append(CHENGDU, [as_inbound(issue_event("V-late", enterprise=late, amount="900000.00"))])
    await fold_all(pool)
    await nearest.round()
    assert nearest.fullest(CHENGDU)[0] == (late, "2024", 950_000_00)
    assert len(nearest.fullest(CHENGDU)) == KEPT
    stated = await admin.fetchval("SELECT max(quota_used) FROM entry WHERE enterprise = $1", late)
    assert stated == 950_000_00


async def test_without_a_cap_nobody_is_near_it(pool, policies, ledger):
    uncapped = {code: policy for code, policy in policies.items() if policy.cap is None}
    nearest = Nearest(pool, uncapped)
    assert await nearest.round() is False
    assert all(nearest.fullest(code) == [] and nearest.reading(code) is None for code in uncapped)


async def test_the_figures_of_a_programme(pool, ledger, policies):
    provider = providers_of(CHENGDU)[0]
    await ledger.append(CHENGDU, [
        as_inbound(issue_event("V1", amount="100000.00")),
        as_inbound(redemption_event("V1", 1, provider=provider, amount="30000.00")),
        as_inbound(redemption_event("V1", 2, provider=provider, amount="90000.00")),
        as_inbound(redemption_event("LATER", 1, provider=provider)),
    ])  # fmt: skip
    known = Policies(policies)
    before = await facts(pool, CHENGDU, known)
    assert (before.behind, before.hours, before.refused_today) == (3, (), {})
    await fold_all(pool)
    found = await facts(pool, CHENGDU, known, before.last[0].recorded_at)
    assert (found.position, found.redeemed, found.behind, found.parked_count) == (3, 30_000_00, 0, 1)
    assert [(hour.issued, hour.redeemed) for hour in found.hours] == [(100_000_00, 30_000_00)]
    assert found.refused_today == {"exceeds_voucher_balance": 1}
    assert [entry.position for entry in found.last] == [3, 2, 1]
    assert [(one.voucher_id, one.provider) for one in found.parked] == [("LATER", provider)]


async def test_what_cannot_be_noted_down_is_said(pool, ledger, admin):
    await admin.execute("REVOKE INSERT ON verification FROM voucher_ledger_service")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await keep(pool, await verify(pool, CHENGDU), await pool.fetchval("SELECT now()"))
