"""Reading a ledger: statements, vouchers and entries, by hand-counted figures."""

import asyncio
from datetime import UTC, datetime

import pytest
from events_made import (
    ENTERPRISE,
    OTHER_ENTERPRISE,
    Wire,
    as_inbound,
    exhausted_event,
    issue_event,
    policy_with,
    providers_of,
    redemption_event,
    uscc,
)

from services.ledger import read
from services.ledger.append import Ledger, ProgrammeUnknownError
from services.ledger.policies import Policies
from services.ledger.read import Of
from services.ledger.verify import verify
from services.readmodel import accounts

CHENGDU, GUIZHOU, BEIJING = "chengdu-2024", "guizhou-2024", "beijing-2023-2025"
FIRST, SECOND = providers_of(CHENGDU)
SUMMER = datetime(2024, 7, 1, tzinfo=UTC)


async def append(ledger: Ledger, *events: Wire, programme: str = CHENGDU) -> None:
    await ledger.append(programme, [as_inbound(event) for event in events])


@pytest.fixture
async def used(ledger: Ledger) -> Ledger:
    """Two enterprises, two providers, four vouchers, and some refusals."""
    await append(
        ledger,
        issue_event("V-1", amount="600000.00"),
        issue_event("V-2", amount="10000.01", provider=SECOND, data__valid_until="2024-06-30"),
        issue_event("V-3", amount="500000.00"),
        redemption_event("V-1", 1, amount="0.01"),
        redemption_event("V-1", 2, amount="599999.99", provider=SECOND),
        redemption_event("V-1", 3, amount="0.01"),
        redemption_event("V-8", amount="1.00"),
    )
    await append(
        ledger,
        issue_event("V-4", amount="20000.00", enterprise=OTHER_ENTERPRISE),
        redemption_event("V-4", amount="5000.50"),
        exhausted_event(OTHER_ENTERPRISE),
        exhausted_event(uscc(3), period="programme"),
    )
    return ledger


async def test_a_statement_is_what_the_contract_says(used, pool, admin):
    found = await read.statement(pool, CHENGDU, now=SUMMER)
    assert found.to_json() == {
        "programme": CHENGDU,
        "position": 10,
        "head_hash": (await admin.fetchval("SELECT hash FROM head WHERE programme = $1", CHENGDU)).hex(),
        "budget": {"total": "10000000.00", "issued": "630000.01", "remaining": "9369999.99"},
        "periods": [{"period": "2024", "total": "10000000.00", "issued": "630000.01", "remaining": "9369999.99"}],
        "quotas": [
            _quota(ENTERPRISE, "2024", "610000.01", closed=False),
            _quota(OTHER_ENTERPRISE, "2024", "20000.00", closed=True),
            _quota(uscc(3), "programme", "0.00", closed=True),
        ],
        "vouchers": [
            _voucher("V-1", ENTERPRISE, "600000.00", "0.00", "used"),
            _voucher("V-2", ENTERPRISE, "10000.01", "10000.01", "expired"),
            _voucher("V-4", OTHER_ENTERPRISE, "20000.00", "14999.50", "active"),
        ],
        "payables": [{"provider": FIRST, "amount": "5000.51"}, {"provider": SECOND, "amount": "599999.99"}],
    }


def _quota(enterprise: str, period: str, used: str, *, closed: bool) -> dict[str, object]:
    return {"enterprise": enterprise, "period": period, "used": used, "limit": "1000000.00", "closed": closed}


def _voucher(voucher_id: str, enterprise: str, granted: str, remaining: str, status: str) -> dict[str, object]:
    return {
        "voucher_id": voucher_id, "enterprise": enterprise, "kind": "cash", "granted": granted, "remaining": remaining,
        "status": status,
    }  # fmt: skip


async def test_a_statement_of_one_has_only_what_is_theirs(used, pool):
    def names(found: read.Statement) -> tuple[list[str], list[str], list[str]]:
        quotas = [one.enterprise for one in found.quotas]
        return quotas, [one.voucher_id for one in found.vouchers], [one.provider for one in found.payables]

    of = {"enterprise": OTHER_ENTERPRISE}, {"enterprise": uscc(3)}, {"provider": SECOND}, {"provider": uscc(4)}
    found = [names(await read.statement(pool, CHENGDU, **one)) for one in of]
    assert found == [
        ([OTHER_ENTERPRISE], ["V-4"], []),
        ([uscc(3)], [], []),
        ([], ["V-1", "V-2"], [SECOND]),
        ([], [], []),
    ]
    both = await read.statement(pool, CHENGDU, enterprise=ENTERPRISE, provider=FIRST)
    assert names(both) == ([ENTERPRISE], ["V-1"], [FIRST])


async def test_a_programme_that_was_opened_and_not_used_has_a_statement(ledger, pool):
    assert (await read.statement(pool, GUIZHOU)).to_json() == {
        "programme": GUIZHOU, "position": 0, "head_hash": "00" * 32,
        "budget": {"total": "100000000.00", "issued": "0.00", "remaining": "100000000.00"},
        "quotas": [], "vouchers": [], "payables": [],
    }  # fmt: skip
    assert (await read.statement(pool, BEIJING)).to_json()["periods"] == [
        {"period": "2023", "total": "100000000.00", "issued": "0.00", "remaining": "100000000.00"}
    ]
    with pytest.raises(ProgrammeUnknownError):
        await read.statement(pool, "nowhere-2024")


async def test_a_budget_by_the_year_is_that_of_the_newest_year_and_each_year_is_listed(ledger, pool):
    for year, amount in ((2024, "300.00"), (2023, "100.00"), (2025, "500.00")):
        moment = f"{year}-12-31T23:59:59+08:00"
        await append(ledger, issue_event(f"V-{year}", programme=BEIJING, amount=amount, time=moment), programme=BEIJING)
    document = (await read.statement(pool, BEIJING)).to_json()
    assert document["budget"] == {"total": "100000000.00", "issued": "500.00", "remaining": "99999500.00"}
    issued = {one["period"]: one["issued"] for one in document["periods"]}
    assert issued == {"2023": "100.00", "2024": "300.00", "2025": "500.00"}
    assert [(one["period"], one["used"]) for one in document["quotas"]] == list(issued.items())


async def test_a_closure_for_all_closes_every_quota_of_the_period(used, pool):
    await append(used, exhausted_event())
    found = await read.statement(pool, CHENGDU)
    assert found.closed_for_all == ("2024",)
    assert found.to_json()["closed_for_all"] == ["2024"]
    assert [one.closed for one in found.quotas] == [True, True, True]


async def test_without_a_cap_there_is_no_limit_and_a_smaller_budget_may_be_passed_already(pool):
    await Ledger(pool, {CHENGDU: (policy := policy_with(caps__0=None, budget__per="programme"))}).open()
    await append(Ledger(pool, {CHENGDU: policy}), issue_event("V-1"))
    found = (await read.statement(pool, CHENGDU)).to_json()
    assert (found["quotas"][0]["limit"], found["quotas"][0]["used"], "periods" in found) == (None, "100000.00", False)
    smaller = policy_with(caps__0=None, budget__per="programme", budget__amount="99999.99", revision=2)
    await Ledger(pool, {CHENGDU: smaller}).open()
    found = (await read.statement(pool, CHENGDU)).to_json()
    assert found["budget"] == {"total": "99999.99", "issued": "100000.00", "remaining": "-0.01"}


async def test_a_voucher_expires_when_its_last_day_ends_where_the_programme_is(used, pool):
    for moment, status in (
        (datetime(2024, 6, 30, 15, 59, 59, tzinfo=UTC), "active"),
        (datetime(2024, 6, 30, 16, 0, 0, tzinfo=UTC), "expired"),
    ):
        found = await accounts.voucher(pool, CHENGDU, "V-2", Policies({}), now=moment)
        assert found.account.status == status
        assert [one.status for one in (await read.statement(pool, CHENGDU, now=moment)).vouchers][1] == status


async def test_a_voucher_has_every_entry_that_names_it(used, pool):
    found = (await accounts.voucher(pool, CHENGDU, "V-1", Policies({}), now=SUMMER)).to_json()
    entries = found.pop("entries")
    assert found == {
        "programme": CHENGDU, **_voucher("V-1", ENTERPRISE, "600000.00", "0.00", "used"), "provider": FIRST,
        "valid_until": None, "waiting": 0,
    }  # fmt: skip
    assert [(one["position"], one["outcome"], one.get("code")) for one in entries] == [
        (1, "accepted", None), (4, "accepted", None), (5, "accepted", None), (6, "refused", "exceeds_voucher_balance"),
    ]  # fmt: skip


async def test_a_voucher_that_was_not_issued_has_what_names_it_and_what_waits_for_it(used, pool):
    waiting, refused = [
        await accounts.voucher(pool, CHENGDU, voucher_id, Policies({})) for voucher_id in ("V-8", "V-3")
    ]
    assert (waiting.account, waiting.waiting, waiting.entries) == (None, 1, ())
    assert waiting.to_json()["status"] == "not_issued"
    assert (refused.account, refused.waiting, [one.code for one in refused.entries]) == (
        None,
        0,
        ["exceeds_annual_cap"],
    )
    assert await accounts.voucher(pool, CHENGDU, "V-99", Policies({})) is None
    with pytest.raises(ProgrammeUnknownError):
        await accounts.voucher(pool, "nowhere-2024", "V-1", Policies({}))


async def test_entries_come_in_order_by_pages_and_by_whom_they_are_of(used, pool):
    async def positions(**which: object) -> list[int]:
        of = Of(**{name: which.pop(name) for name in Of._fields if name in which})
        return [one.position for one in await read.entries(pool, CHENGDU, of, **{"limit": 100, **which})]

    assert await positions() == list(range(1, 11))
    assert await positions(after=3, limit=2) == [4, 5]
    assert await positions(after=3, until=6) == [4, 5, 6]
    assert await positions(enterprise=OTHER_ENTERPRISE) == [7, 8, 9]
    assert await positions(provider=SECOND) == [2, 5]
    assert await positions(voucher_id="V-1", provider=FIRST) == [1, 4, 6]
    assert await read.entries(pool, "nowhere-2024", limit=1) == []


async def test_an_entry_says_what_a_notification_says(used, pool, admin):
    (entry,) = await read.entries(pool, CHENGDU, after=1, limit=1)
    row = await admin.fetchrow("SELECT recorded_at, leaf FROM entry WHERE programme = $1 AND position = 2", CHENGDU)
    assert entry.to_json() == {
        "position": 2, "recorded_at": row["recorded_at"].isoformat(), "kind": "issued", "outcome": "accepted",
        "message": {"zh": "已受理。", "en": "Accepted."},
        "event": {
            "id": "issue-V-2", "source": "urn:uscc:11510100MB0000001Y", "type": "voucher.issued.v1",
            "time": "2024-05-06T10:00:00+08:00",
        },
        "voucher_id": "V-2", "enterprise": ENTERPRISE, "provider": SECOND, "period": "2024", "valid_until": "2024-06-30",
        "amount": "10000.01", "granted": "10000.01", "voucher_remaining": "10000.01", "quota_used": "610000.01",
        "quota_limit": "1000000.00", "budget_remaining": "9389999.99", "hash": row["leaf"].hex(),
    }  # fmt: skip


async def test_a_statement_taken_while_others_append_is_of_one_moment(ledger, pool):
    async def appending() -> None:
        for n in range(40):
            await append(ledger, issue_event(f"V-{n}", amount="20000.00"), redemption_event(f"V-{n}", amount="1.00"))

    task = asyncio.create_task(appending())
    seen = set()
    while not task.done():
        found = await read.statement(pool, CHENGDU)
        issued = sum(one.granted for one in found.vouchers)
        redeemed = sum(one.granted - one.remaining for one in found.vouchers)
        assert found.budgets[-1].issued == issued == sum(one.used for one in found.quotas) == found.position * 10_000_00
        assert redeemed == sum(one.amount for one in found.payables)
        seen.add(found.position)
    await task
    assert len(seen) > 3
    assert (await verify(pool, CHENGDU)).ok


async def test_many_quotas_and_payables_are_each_read_once(pool, policies):
    """More of them than a step of the way through the index could hide a mistake in."""
    ledger = Ledger(pool, policies)
    await ledger.open()
    events = [issue_event(f"V-{n}", enterprise=uscc(n % 25), amount="10000.00") for n in range(75)]
    events += [redemption_event(f"V-{n}", amount="1.00", provider=(FIRST, SECOND)[n % 2]) for n in range(75)]
    await append(ledger, *events)
    found = await read.statement(pool, CHENGDU)
    assert [(one.enterprise, one.used) for one in found.quotas] == sorted((uscc(n), 30_000_00) for n in range(25))
    assert [(one.provider, one.amount) for one in found.payables] == [(FIRST, 38_00), (SECOND, 37_00)]
    assert [one.remaining for one in found.vouchers] == [9_999_00] * 75
