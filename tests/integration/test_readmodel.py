"""The read model: whatever it has taken in, the answers are those that going through the whole ledger gives."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from events_made import as_inbound, exhausted_event, issue_event, policy_with, providers_of, redemption_event, uscc
from tampered import take_protection_away

from services.ledger import read
from services.ledger.append import Ledger, ProgrammeUnknownError
from services.ledger.policies import Policies
from services.ledger.read import ANY, Of
from services.readmodel import accounts, activity, finding, overview, pages, tailing
from services.readmodel.entries import LIMIT_MAX, page
from services.readmodel.tailing import Tailer, fold, rebuild

CHENGDU, GUIZHOU = "chengdu-2024", "guizhou-2024"
FIRST, SECOND = providers_of(CHENGDU)
ENTERPRISES = [uscc(number) for number in range(1, 8)]
SUMMER = datetime(2024, 7, 1, tzinfo=UTC)
TABLES = ("coded_entry", "presence", "activity")


@pytest.fixture
async def grown(pool, policies) -> Ledger:
    """More than three chunks of entries: a rare provider, clamped issues, closures, refusals by everyone, and another programme."""
    clamping = policy_with(caps__0__on_cap="clamp")
    ledger = Ledger(pool, {**policies, CHENGDU: clamping})
    await ledger.open()
    issues = [
        issue_event(f"V-{n}", amount="90000.00", enterprise=ENTERPRISES[n % 7], provider=SECOND if n == 3 else FIRST)
        for n in range(90)
    ]
    uses = [
        redemption_event(f"V-{n % 90}", n, amount="800.00", provider=SECOND if n % 271 == 5 else FIRST)
        for n in range(700)
    ]
    again = [
        issue_event(f"V-{n}", event_id=f"again-{n}", amount="10000.00", enterprise=ENTERPRISES[n % 7]) for n in range(9)
    ]
    closures = [exhausted_event(ENTERPRISES[2]), exhausted_event(uscc(40)), exhausted_event(period="2025")]
    late = [redemption_event(f"V-{n}", 9_000 + n, amount="90000.00") for n in range(60)]
    for batch in (issues[:40], uses[:300], closures, issues[40:], again, uses[300:], late):
        await ledger.append(CHENGDU, [as_inbound(event) for event in batch])
    await ledger.append(GUIZHOU, [as_inbound(issue_event("V-1", programme=GUIZHOU, enterprise=ENTERPRISES[0]))])
    return ledger


async def take_in(pool, monkeypatch, entries: int | None) -> None:
    """Let the read model have so many entries of each programme; all when None."""
    tailer = Tailer(pool, poll_seconds=1, retry_seconds_max=1)
    if entries is not None:
        monkeypatch.setattr(tailing, "AT_ONCE", entries)
        await tailer.round()
        return
    while await tailer.round():
        pass


async def paged(pool, of: Of, limit: int) -> list[int]:
    """Return the positions that going from page to page gives."""
    found: list[int] = []
    after = 0
    while True:
        one = await page(pool, CHENGDU, of, after=after, limit=limit)
        assert len(one.entries) <= limit
        found += [entry.position for entry in one.entries]
        if one.next is None:
            return found
        assert one.next > after
        after = one.next


NAMES = {
    "enterprise": (None, ENTERPRISES[0], ENTERPRISES[2], uscc(40)),
    "provider": (None, FIRST, SECOND),
    "voucher_id": (None, "V-3", "V-700"),
    "code": (None, "exceeds_voucher_balance", "clamped_to_cap"),
    "refused": (False, True),
}


@pytest.mark.parametrize("taken_in", [0, 300, None], ids=["nothing", "a part", "all"])
async def test_pages_have_what_going_through_all_entries_finds(grown, pool, monkeypatch, taken_in):
    if taken_in != 0:
        await take_in(pool, monkeypatch, taken_in)
    found = {}
    for names in itertools.product(*NAMES.values()):
        of = Of(*names)
        expected = [entry.position for entry in await read.entries(pool, CHENGDU, of, limit=10_000)]
        assert await paged(pool, of, LIMIT_MAX) == expected, of
        found[of] = len(expected)
    alone = [found[Of(**{name: value})] for name, values in NAMES.items() for value in values[1:] if value != "V-700"]
    assert min(alone) > 0, "each name is one that there are entries of"


@pytest.mark.parametrize("of", [ANY, Of(provider=FIRST), Of(provider=SECOND), Of(enterprise=ENTERPRISES[1]), Of(voucher_id="V-8"),
                                Of(refused=True), Of(ENTERPRISES[1], FIRST, refused=True)])  # fmt: skip
@pytest.mark.parametrize("limit", [1, 7])
async def test_small_pages_leave_nothing_out_and_have_nothing_twice(grown, pool, monkeypatch, of, limit):
    await take_in(pool, monkeypatch, 500)
    monkeypatch.setattr(finding, "CHUNKS_MAX", 1)
    expected = [entry.position for entry in await read.entries(pool, CHENGDU, of, limit=10_000)]
    assert await paged(pool, of, limit) == expected


@pytest.mark.parametrize("limit", [1, 5, 40, LIMIT_MAX])
async def test_an_enterprise_that_uses_one_voucher_after_another_has_all_its_uses(pool, policies, monkeypatch, limit):
    """Only the first uses of each voucher are looked at for a page: the page ends where one has more of them."""
    ledger = Ledger(pool, policies)
    await ledger.open()
    issues = [issue_event(f"V-{n}", amount="90000.00", enterprise=ENTERPRISES[n % 2]) for n in range(6)]
    uses = [redemption_event(f"V-{n // 30}", n, amount="100.00") for n in range(180)]
    await ledger.append(CHENGDU, [as_inbound(event) for event in (*issues, *uses)])
    await take_in(pool, monkeypatch, None)
    of = Of(enterprise=ENTERPRISES[1])
    expected = [entry.position for entry in await read.entries(pool, CHENGDU, of, limit=10_000)]
    assert await paged(pool, of, limit) == expected
    assert len(expected) == 3 + 90


async def test_an_entry_on_a_page_is_the_ledgers(grown, pool, monkeypatch):
    await take_in(pool, monkeypatch, None)
    found = await page(pool, CHENGDU, Of(voucher_id="V-3"), limit=5)
    (whole,) = await read.entries(pool, CHENGDU, after=found.entries[0].position - 1, limit=1)
    assert found.entries[0] == whole
    assert found.position == (await read.statement(pool, CHENGDU)).position


async def test_what_is_kept_is_the_same_however_it_was_taken_in(grown, pool, monkeypatch):
    async def kept() -> list[list[tuple]]:
        return [sorted(map(tuple, await pool.fetch(f"SELECT * FROM readmodel.{table}")), key=repr) for table in TABLES]

    await take_in(pool, monkeypatch, None)
    at_once = await kept()
    coded = await pool.fetchval("SELECT count(*) FROM entry WHERE code IS NOT NULL")
    assert len(at_once[0]) == coded > 60
    monkeypatch.setattr(tailing, "AT_ONCE", 97)
    position = (await read.statement(pool, CHENGDU)).position
    told = []
    assert await rebuild(pool, CHENGDU, lambda done, of: told.append((done, of))) == position
    assert told[0] == (97, position)
    assert told[-1] == (position, position)
    assert await kept() == at_once
    # Two who tail at once, and a third who computes all of it again meanwhile.
    tailer = Tailer(pool, poll_seconds=1, retry_seconds_max=1)
    await asyncio.gather(rebuild(pool, CHENGDU), *(tailer.round() for _ in range(6)))
    while await tailer.round():
        pass
    assert await kept() == at_once


async def test_a_read_model_ahead_of_its_ledger_is_computed_again(grown, pool, monkeypatch):
    await take_in(pool, monkeypatch, None)
    await pool.execute("UPDATE readmodel.cursor SET position = position + 1")
    wrong = await page(pool, CHENGDU, Of(refused=True), limit=1_000)
    async with pool.acquire() as connection:
        assert await fold(connection, Policies({}), CHENGDU) == 0
    assert await pool.fetchval("SELECT count(*) FROM readmodel.coded_entry WHERE programme = $1", CHENGDU) == 0
    await take_in(pool, monkeypatch, None)
    assert await page(pool, CHENGDU, Of(refused=True), limit=1_000) == wrong


async def test_pages_of_a_statement_are_the_statement(grown, pool, monkeypatch):
    whole = await read.statement(pool, CHENGDU, now=SUMMER)
    for taken_in in (0, 300, None):
        if taken_in != 0:
            await take_in(pool, monkeypatch, taken_in)
        for limit in (2, 1_000):
            first = await pages.statement(pool, CHENGDU, Policies({}), limit=limit, now=SUMMER)
            quotas, vouchers = list(first.statement.quotas), list(first.statement.vouchers)
            after, position = first.quotas_next, first.vouchers_next
            while after is not None:
                more = await pages.quotas(pool, CHENGDU, Policies({}), after=after, limit=limit)
                quotas, after = quotas + list(more.quotas), more.next
            while position is not None:
                some = await pages.vouchers(pool, CHENGDU, Policies({}), after=position, limit=limit, now=SUMMER)
                vouchers, position = vouchers + list(some.vouchers), some.next
            assert tuple(quotas) == whole.quotas
            assert tuple(vouchers) == whole.vouchers
            assert first.statement.payables == whole.payables
            assert first.statement.budgets == whole.budgets
            assert first.statement.closed_for_all == whole.closed_for_all == ("2025",)


async def test_an_enterprise_has_its_quotas_with_headroom_its_vouchers_and_its_newest_refusals(
    grown, pool, monkeypatch
):
    for taken_in in (None, 0):
        if taken_in is None:
            await take_in(pool, monkeypatch, None)
        else:
            await pool.execute("DELETE FROM readmodel.cursor")
        whole = await read.statement(pool, CHENGDU, enterprise=ENTERPRISES[0], now=SUMMER)
        found = await accounts.enterprise(pool, CHENGDU, ENTERPRISES[0], Policies({}), limit=4, now=SUMMER)
        assert found.quotas == whole.quotas
        assert found.to_json()["quotas"][0]["headroom"] == "0.00"
        assert found.vouchers.vouchers == whole.vouchers[:4]
        refused = await read.entries(pool, CHENGDU, Of(ENTERPRISES[0], refused=True), limit=10_000)
        assert found.refusals == tuple(reversed(refused[-4:]))
        rest = await accounts.enterprise(
            pool, CHENGDU, ENTERPRISES[0], Policies({}), after=found.vouchers.next, limit=1_000, now=SUMMER
        )
        assert rest.vouchers == (whole.vouchers[4:], None)


async def test_headroom_is_what_may_still_be_granted(grown, pool):
    async def quotas(enterprise: str, now: datetime = SUMMER) -> dict[str, tuple[object, object]]:
        found = await accounts.enterprise(pool, CHENGDU, enterprise, Policies({}), limit=1, now=now)
        return {one["period"]: (one["used"], one["headroom"]) for one in found.to_json()["quotas"]}

    assert await quotas(uscc(77)) == {"2024": ("0.00", "1000000.00")}
    assert (await quotas(ENTERPRISES[2]))["2024"][1] == "0.00"  # closed
    assert await quotas(uscc(77), datetime(2025, 1, 1, tzinfo=UTC)) == {}  # the programme is over
    uncapped = policy_with(GUIZHOU, caps=None, revision=9)
    await Ledger(pool, {GUIZHOU: uncapped}).open()
    found = await accounts.enterprise(pool, GUIZHOU, uscc(77), Policies({}), limit=1, now=SUMMER)
    assert [one["headroom"] for one in found.to_json()["quotas"]] == [None]


async def test_a_provider_has_its_payable_and_its_entries(grown, pool, monkeypatch):
    await take_in(pool, monkeypatch, 400)
    for name in (FIRST, SECOND, uscc(98)):
        whole = await read.statement(pool, CHENGDU, provider=name)
        found = await accounts.provider(pool, CHENGDU, name, Policies({}), limit=1_000)
        assert found.payable == sum(one.amount for one in whole.payables)
        assert found.accredited == (name != uscc(98))
        assert found.page.entries == tuple(await read.entries(pool, CHENGDU, Of(provider=name), limit=1_000))


async def test_activity_is_what_the_entries_sum_up_to(grown, pool, monkeypatch):
    await take_in(pool, monkeypatch, 111)
    await take_in(pool, monkeypatch, None)
    now = datetime.now(UTC)
    hours = await activity.hours(pool, CHENGDU, now - timedelta(hours=3), now + timedelta(hours=1))
    whole = await read.statement(pool, CHENGDU)
    granted = sum(one.granted for one in hours if one.kind == "issued" and one.code in {None, "clamped_to_cap"})
    redeemed = sum(one.amount for one in hours if one.kind == "redeemed" and one.code is None)
    assert granted == sum(one.issued for one in whole.budgets)
    assert redeemed == sum(one.amount for one in whole.payables)
    assert sum(one.entries for one in hours) == whole.position
    rows = await read.entries(pool, CHENGDU, Of(refused=True), limit=10_000)
    counted = await activity.refusals(pool, CHENGDU, now - timedelta(hours=3))
    assert counted == {code: sum(row.code == code for row in rows) for code in {row.code for row in rows}}
    assert list(counted.values()) == sorted(counted.values(), reverse=True)
    assert hours[0].to_json()["hour"] == hours[0].hour.isoformat()


@pytest.mark.parametrize("at_once", [7, 40, 20_000])
async def test_an_entry_counts_in_the_hour_that_it_was_recorded_in(pool, policies, monkeypatch, at_once):
    clock = iter(datetime(2024, 7, 1, 8, 40, tzinfo=UTC) + timedelta(minutes=25) * n for n in itertools.count())
    ledger = Ledger(pool, policies, clock=lambda: next(clock))
    await ledger.open()
    await ledger.append(CHENGDU, [as_inbound(issue_event("V-0", amount="90000.00"))])
    for batch in range(9):
        uses = [redemption_event("V-0", 100 * batch + n, amount="1.00") for n in range(5 * batch + 1)]
        await ledger.append(CHENGDU, [as_inbound(event) for event in uses])
    # All that is late is taken in without a rest between two hours.
    monkeypatch.setattr(tailing, "AT_ONCE", at_once)
    await take_in(pool, monkeypatch, None)
    expected = await pool.fetch("""
        SELECT date_trunc('hour', recorded_at) AS hour, kind, count(*) AS entries, sum(amount) AS amount FROM entry
        GROUP BY 1, 2 ORDER BY 1, 2""")
    found = await activity.hours(pool, CHENGDU, SUMMER, SUMMER + timedelta(days=1))
    assert [(one.hour, one.kind, one.entries, one.amount) for one in found] == [tuple(row) for row in expected]
    assert len({one.hour for one in found}) > 3


@pytest.mark.tampers
async def test_where_entries_were_taken_away_it_goes_on_with_the_others(grown, pool, admin, monkeypatch):
    await take_protection_away(admin)
    await admin.execute(
        "DELETE FROM entry WHERE programme = $1 AND (position = 1 OR position BETWEEN 40 AND 120)", CHENGDU
    )
    await take_in(pool, monkeypatch, 20)
    await take_in(pool, monkeypatch, None)
    found = await activity.hours(pool, CHENGDU, SUMMER, datetime.now(UTC) + timedelta(hours=1))
    left = await pool.fetchval("SELECT count(*) FROM entry WHERE programme = $1", CHENGDU)
    assert sum(one.entries for one in found) == left > 500


async def test_the_day_of_a_refusal_is_that_of_the_programmes_time_zone(pool, policies):
    moment = datetime(2024, 5, 6, 16, 30, tzinfo=UTC)
    ledger = Ledger(pool, policies, clock=lambda: moment)
    await ledger.open()
    await ledger.append(CHENGDU, [as_inbound(issue_event("V-1", amount="9000000.00"))])
    await rebuild(pool, CHENGDU)
    assert str(await pool.fetchval("SELECT day FROM readmodel.coded_entry")) == "2024-05-07"


async def test_all_programmes_at_a_glance(grown, pool):
    found = {one.policy.code: one.to_json() for one in await overview.programmes(pool, Policies({}))}
    assert list(found) == sorted(found)
    assert len(found) == 5
    assert found[GUIZHOU]["position"] == 1
    assert found[CHENGDU]["budget"]["issued"] == (await read.statement(pool, CHENGDU)).to_json()["budget"]["issued"]


async def test_a_programme_without_a_ledger_is_unknown(grown, pool):
    for ask in (
        page(pool, "nowhere-2024", limit=1),
        accounts.voucher(pool, "nowhere-2024", "V-1", Policies({})),
        pages.statement(pool, "nowhere-2024", Policies({}), limit=1),
        accounts.enterprise(pool, "nowhere-2024", uscc(1), Policies({}), limit=1),
        accounts.provider(pool, "nowhere-2024", uscc(1), Policies({}), limit=1),
    ):
        with pytest.raises(ProgrammeUnknownError):
            await ask


async def test_the_services_may_write_the_read_model_and_no_schema(grown, pool):
    await rebuild(pool, CHENGDU)
    for table in ("cursor", *TABLES):
        await pool.execute(f"DELETE FROM readmodel.{table}")
        with pytest.raises(Exception, match="must be owner"):
            await pool.execute(f"DROP TABLE readmodel.{table}")
