"""The notifier on the real servers: every entry is told once, in order and without a gap, whatever happens to it meanwhile."""

import asyncio
import contextlib
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from events_made import (
    OTHER_ENTERPRISE,
    Wire,
    as_inbound,
    exhausted_event,
    issue_event,
    raw,
    redemption_event,
    uscc,
)
from eventually import eventually
from jsonschema import Draft202012Validator
from line import CHENGDU, entered, entries_of, notifications, notifying, quick_settings, running, send, settled

import schemas
from schemas.money import format_yuan
from schemas.notifications import Notification
from services.broker import FIELD, notification_stream
from services.notifier import Notifier
from services.served import served_policies
from services.tasks import end

STREAM = notification_stream(CHENGDU)
EXHAUSTED = f"quota.exhausted:{CHENGDU}"
PUBLISHED = Path(schemas.__file__).parent / "published" / "notification.v1.json"


@pytest.fixture
def settings(database_url, redis_url):
    return quick_settings(database_url, redis_url, notify_batch_size=7)


def issues(first: int, count: int, amount: str = "10000.00") -> list[Wire]:
    return [issue_event(f"V{n}", enterprise=uscc(n), amount=amount) for n in range(first, first + count)]


async def append(ledger, events: Sequence[Wire]) -> None:
    await ledger.append(CHENGDU, [as_inbound(event) for event in events])


async def told_all(redis, admin) -> list[Wire]:
    """Wait until as much is told as there are entries; check ids and order, and that each is the entry's; return what is told."""
    rows = await entries_of(admin)
    await eventually(lambda: has_length(redis, len(rows)), told=f"{len(rows)} notifications")
    told = await notifications(redis)
    assert [id_ for id_, _ in told] == [f"{position}-0".encode() for position in range(1, len(rows) + 1)]
    for (_, notification), row in zip(told, rows, strict=True):
        assert notification["id"] == f"{CHENGDU}:{row['position']}"
        assert notification["data"]["hash"] == row["leaf"].hex()
        assert notification["data"]["event"]["id"] == json.loads(row["event"])["id"]
    return [notification for _, notification in told]


async def has_length(redis, length: int) -> bool:
    return await redis.xlen(STREAM) >= length


async def test_every_notification_is_of_the_contract_and_says_what_the_entry_says(settings, ledger, redis, admin):
    await append(ledger, [
        issue_event("V0"),
        issue_event("V1", amount="9999.99"),
        redemption_event("V0", amount="40000.00"),
        redemption_event("V0", 2, amount="60000.01"),
        exhausted_event(OTHER_ENTERPRISE),
        issue_event("V2", enterprise=OTHER_ENTERPRISE),
        exhausted_event(),
    ])  # fmt: skip
    async with notifying(settings) as notifier:
        told = await told_all(redis, admin)
        assert notifier.ready() == (True, "0 entries behind")
    validator = Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    for notification, row in zip(told, await entries_of(admin), strict=True):
        Notification.model_validate(notification)
        validator.validate(notification)
        data = notification["data"]
        assert data["outcome"] == ("accepted" if row["accepted"] else "refused")
        assert data.get("code") == row["code"]
        for figure in (
            "amount",
            "granted",
            "voucher_remaining",
            "quota_used",
            "quota_limit",
            "budget_remaining",
            "payable",
        ):
            assert data.get(figure) == (None if row[figure] is None else format_yuan(row[figure]))
        assert data["policy"]["digest"] == ledger.policies.files[CHENGDU].digest.hex()
    assert [one["type"].split(".")[1] + "." + one["type"].split(".")[2] for one in told] == [
        "issued.accepted", "issued.refused", "redeemed.accepted", "redeemed.refused",
        "exhausted.accepted", "issued.refused", "exhausted.accepted",
    ]  # fmt: skip


async def test_a_quota_is_warned_of_at_80_and_95_percent_by_the_entry_that_crosses(settings, ledger, redis, admin):
    amounts = ["790000.00", "10000.00", "100000.00", "49999.99", "10000.00"]
    await append(ledger, [issue_event(f"V{n}", amount=amount) for n, amount in enumerate(amounts)])
    async with notifying(settings):
        told = await told_all(redis, admin)
    assert [one["data"].get("quota_warning") for one in told] == [None, 80, None, None, 95]


async def test_a_quota_that_is_used_up_closes_itself_once(settings, redis, admin):
    """The full circle: issues, the notifier's one event, its consumer's closure, and a later issue refused by it."""
    issued = f"voucher.issued:{CHENGDU}"
    async with running("issued", settings), running("exhausted", settings), notifying(settings):
        await send(redis, issue_event("V0", amount="960000.00"), issue_event("V1", amount="40000.00"))
        await entered(admin, 3)
        await send(redis, issue_event("V2", amount="10000.00"), issue_event("V3", enterprise=OTHER_ENTERPRISE))
        rows = await entered(admin, 5)
        await settled(redis, [issued, EXHAUSTED])
        await told_all(redis, admin)
        # A lost stream is told again, and nothing is closed again.
        await redis.delete(STREAM)
        await told_all(redis, admin)
    assert [(row["kind"], row["code"]) for row in rows] == [
        ("issued", None), ("issued", None), ("exhausted", None), ("issued", "quota_closed"), ("issued", None),
    ]  # fmt: skip
    assert await redis.xlen(EXHAUSTED) == 1
    assert len(await entries_of(admin)) == 5
    assert not await redis.exists("dead-letter")


async def test_two_notifiers_at_once_tell_everything_once(settings, ledger, redis, admin):
    async with notifying(settings) as first, notifying(settings) as second:
        for batch in range(20):
            await append(ledger, issues(batch * 10, 10))
        await told_all(redis, admin)
        await eventually(lambda: first.ready().ok and second.ready().ok)


async def test_a_notifier_takes_over_from_one_that_ended(settings, ledger, redis, admin):
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(notifying(settings))
        await append(ledger, issues(0, 10))
        await told_all(redis, admin)
        async with notifying(settings) as standby:
            await eventually(lambda: standby.ready().ok)
            await stack.aclose()
            await append(ledger, issues(10, 10))
            await told_all(redis, admin)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_notifier_that_is_killed_again_and_again_leaves_no_gap_and_no_double(
    settings, ledger, redis, admin, seed
):
    chance = random.Random(seed)
    policies = served_policies(settings)
    feeding = asyncio.create_task(feed(ledger, 40, 10))
    while not feeding.done() or await redis.xlen(STREAM) < 400:
        task = asyncio.create_task(Notifier(settings, policies).run())
        for _ in range(chance.randint(1, 4)):
            await asyncio.sleep(chance.uniform(0, 0.06))
            if chance.random() < 0.5:
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                )
        await end(task)
        assert task.cancelled()
    await feeding
    async with notifying(settings):
        await told_all(redis, admin)
    assert len(await entries_of(admin)) == 400


async def feed(ledger, batches: int, size: int) -> None:
    for batch in range(batches):
        await append(ledger, issues(batch * size, size))
        await asyncio.sleep(0.01)


async def test_a_stream_that_is_deleted_is_told_again_from_the_first_entry(settings, ledger, redis, admin):
    async with notifying(settings):
        await append(ledger, issues(0, 50))
        await told_all(redis, admin)
        await redis.delete(STREAM)
        await told_all(redis, admin)
        # And while it is busy: deleted again and again between the batches.
        for batch in range(10):
            await append(ledger, issues(50 + batch * 20, 20))
            await redis.delete(STREAM)
        await told_all(redis, admin)


async def test_a_shortened_stream_is_continued_and_not_begun_again(settings, ledger, redis, admin):
    async with notifying(settings):
        await append(ledger, issues(0, 10))
        await told_all(redis, admin)
        await redis.xtrim(STREAM, maxlen=0, approximate=False)
        await append(ledger, issues(10, 1))
        await eventually(lambda: redis.xlen(STREAM))
        assert [id_ for id_, _ in await notifications(redis)] == [b"11-0"]


async def test_a_stream_ahead_of_the_ledger_is_left_alone_and_said(settings, ledger, redis, admin):
    """A backup was restored: what platforms were told stands, and nobody is told otherwise under the same id."""
    await append(ledger, issues(0, 3))
    for position in range(1, 6):
        await redis.xadd(STREAM, {FIELD: raw(issue_event("told before"))}, id=f"{position}-0")
    async with notifying(settings) as notifier:
        await eventually(lambda: "restored from a backup" in notifier.ready().because)
        assert not notifier.ready().ok
        assert CHENGDU in notifier.ready().because
        await append(ledger, issues(3, 1))
        await eventually(lambda: notifier._distance[CHENGDU] == -1)
        assert await redis.xlen(STREAM) == 5
        # Once the ledger has caught up with it, it goes on after what was told.
        await append(ledger, issues(4, 3))
        await eventually(lambda: has_length(redis, 7))
        await eventually(lambda: notifier.ready().ok)
    told = await notifications(redis)
    assert [id_ for id_, _ in told] == [f"{position}-0".encode() for position in range(1, 8)]
    assert {one["subject"] for _, one in told[:5]} == {"told before"}


async def test_a_programme_whose_ledger_opens_later_is_notified_of_too(settings, ledger, redis, admin):
    async with notifying(settings) as notifier:
        await eventually(lambda: notifier.ready().ok)
        await append(ledger, issues(0, 2))
        await told_all(redis, admin)


async def test_a_full_broker_is_waited_for_and_said(settings, ledger, redis, admin):
    async with notifying(settings) as notifier:
        await eventually(lambda: notifier.ready().ok)
        await redis.config_set("maxmemory", 1)
        try:
            await append(ledger, issues(0, 2))
            await eventually(lambda: notifier.ready().because.startswith("OutOfMemoryError"))
            assert not notifier.ready().ok
        finally:
            await redis.config_set("maxmemory", 0)
        await told_all(redis, admin)
        assert notifier.ready().ok
