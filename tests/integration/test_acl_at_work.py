"""Each user of a deployment does all of its work, and no more than that."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from unittest import mock

import wire_events
from deployed import (
    AUTHORITY_USER,
    DEAD_LETTERS,
    EXHAUSTED,
    FOR_NOBODY,
    ISSUED,
    NOTIFICATIONS,
    OTHER_EXHAUSTED,
    OTHER_ISSUED,
    OTHER_REDEEMED,
    PROGRAMME,
    PROVIDER_USER,
    REDEEMED,
    Deployed,
    clean_up,
    commands_on,
    let_through,
    writable,
)
from eventually import eventually
from redis.asyncio import Redis

from services import letters, logs
from services.backlog import Backlog
from services.broker import inbound_streams, issued_streams
from services.consumers import exhausted, issued, redeemed
from services.consumers.claims import Claimer
from services.consumers.service import Consumer
from services.consumers.trims import Trimmer
from services.doctor import examine
from services.notifier import Notifier
from services.programmes import load_policies
from services.publishing import publish
from services.queues import queues
from services.tasks import end
from services.trimming import trim


async def test_the_services_do_all_their_work_as_their_own_user(migrated):
    await clean_up(migrated)
    async with (
        migrated.as_user("ledger") as ledger,
        migrated.as_user(AUTHORITY_USER) as authority,
        migrated.as_user(PROVIDER_USER) as provider,
        migrated.as_user("platform") as platform,
        migrated.as_user("operator") as operator,
    ):
        # What an earlier consumer took and never acknowledged is there to be taken over.
        await authority.xadd(ISSUED, {"event": wire_events.on_wire(wire_events.ISSUED)})
        await ledger.xgroup_create(ISSUED, "ledger", id="0", mkstream=True)
        assert await ledger.xreadgroup("ledger", "killed", {ISSUED: ">"})
        async with services_of(migrated):
            await eventually(lambda: count(platform, NOTIFICATIONS, 1))
            await provider.xadd(REDEEMED, {"event": wire_events.on_wire(wire_events.REDEEMED)})
            await eventually(lambda: count(platform, NOTIFICATIONS, 2))
            await authority.xadd(EXHAUSTED, {"event": wire_events.on_wire(wire_events.EXHAUSTED)})
            await eventually(lambda: count(platform, NOTIFICATIONS, 3))
            told = {
                entry_id: json.loads(fields[b"event"])["type"]
                for entry_id, fields in await platform.xrange(NOTIFICATIONS)
            }
            assert told == {
                b"1-0": "voucher.issued.accepted.v1",
                b"2-0": "voucher.redeemed.accepted.v1",
                b"3-0": "quota.exhausted.accepted.v1",
            }
            for producer, stream in ((authority, ISSUED), (provider, REDEEMED), (authority, EXHAUSTED)):
                await producer.xadd(stream, {"event": b"not an event"})
            await eventually(lambda: count(operator, DEAD_LETTERS, 3))
            # The notifier closes a quota that an issue has used up.
            await use_up_a_quota(authority)
            await eventually(lambda: count(operator, EXHAUSTED, 3))
            await eventually(lambda: count(platform, NOTIFICATIONS, 5))
            await eventually(lambda: nothing_pending(operator))
        # A consumer that is gone is taken off its group: hours later, so it is not waited for.
        (stream,) = issued_streams({PROGRAMME: load_policies()[PROGRAMME]})
        assert await Trimmer(ledger, [stream], timedelta(), 1, {}).trim(stream) == 0
        assert await trim(ledger, NOTIFICATIONS, "4-0") == 0
        assert await Claimer(ledger, None, "me", 1, 1, 1).forget_gone(stream, after_ms=0)
        # What the metrics are made of.
        backlog = Backlog(ledger, inbound_streams({PROGRAMME: load_policies()[PROGRAMME]}))
        await backlog.at_streams()
        await backlog.at_broker()
        # Whatever was refused is in the server's log of refusals, also where a client thought nothing of it.
        refusals = await operator.execute_command("ACL LOG")
        assert [entry for entry in refusals if entry["username"] == "ledger"] == []


async def use_up_a_quota(authority: Redis) -> None:
    whole = wire_events.ISSUED
    for where, value in (
        ("id", "issue-2"), ("subject", "CD-2"), ("data.voucher_id", "CD-2"), ("data.amount", "1000000.00"),
        ("data.contract.fee", "2000000.00"), ("data.contract.number", "HT-2"), ("data.enterprise.uscc", "91510100MA0000002P"),
    ):  # fmt: skip
        whole = wire_events.changed(whole, where, value)
    await authority.xadd(ISSUED, {"event": wire_events.on_wire(whole)})


async def test_an_operator_sees_the_queues_and_looks_after_dead_letters(migrated):
    await clean_up(migrated)
    policies = load_policies()
    async with migrated.as_user("ledger") as ledger, migrated.as_user("operator") as operator:
        for stream in (ISSUED, REDEEMED, EXHAUSTED, REDEEMED):
            await ledger.xadd(DEAD_LETTERS, {"event": "{}", "stream": stream, "entry_id": "1-0", "reason": "not_json"})
        *to_replay, to_discard = [letter async for letter in letters.letters(operator)]
        for letter in to_replay:
            assert await letters.replay(operator, letter)
        assert await letters.discard(operator, to_discard)
        await ledger.xgroup_create(REDEEMED, "ledger", id="0")
        assert await ledger.xreadgroup("ledger", "me", {REDEEMED: ">"})
        rows = {row.stream: row for row in await queues(operator, policies)}
        assert rows[REDEEMED].pending == 1
        assert rows[DEAD_LETTERS].length == 0
        assert await writable(operator) == [ISSUED, OTHER_ISSUED, REDEEMED, OTHER_REDEEMED, EXHAUSTED, OTHER_EXHAUSTED]
        inbound = (ISSUED, REDEEMED, EXHAUSTED, NOTIFICATIONS)
        assert await let_through(operator, *commands_on(inbound, "XDEL {key} 1-1", "XACK {key} ledger 1-1")) == []
        assert await let_through(operator, *commands_on(inbound, "XREADGROUP GROUP ledger me STREAMS {key} >")) == []
    findings = {finding.what: finding for finding in await examine(migrated.settings("operator"), {})}
    for what in ("database", "append-only", "broker", "broker keeps events", "broker evicts nothing"):
        assert findings[what].ok, findings[what]


async def test_the_monitor_shows_the_queues_and_sends_what_came_in_over_http(migrated):
    await clean_up(migrated)
    async with migrated.as_user("ledger") as ledger, migrated.as_user("monitor") as monitor:
        sent = await publish(monitor, [(ISSUED, b"{}"), (REDEEMED, b"{}"), (EXHAUSTED, b"{}")], wait_seconds=20)
        assert (len(sent.entry_ids), sent.durable) == (3, True)
        for stream in (ISSUED, REDEEMED):
            await ledger.xadd(DEAD_LETTERS, {"event": "{}", "stream": stream, "entry_id": "1-0", "reason": "not_json"})
        to_replay, to_discard = await letters.letters_after(monitor, "0", 10)
        assert [head.id for head in await letters.heads(monitor, None, 10)] == [to_replay.id, to_discard.id]
        assert await letters.replay(monitor, to_replay)
        assert await letters.discard(monitor, to_discard)
        rows = {row.stream: row for row in await queues(monitor, load_policies())}
        assert (rows[ISSUED].length, rows[DEAD_LETTERS].length) == (2, 0)
        assert await writable(monitor) == [ISSUED, OTHER_ISSUED, REDEEMED, OTHER_REDEEMED, EXHAUSTED, OTHER_EXHAUSTED]
        inbound = (ISSUED, REDEEMED, EXHAUSTED, NOTIFICATIONS)
        assert await let_through(monitor, *commands_on(inbound, "XDEL {key} 1-1", "XACK {key} ledger 1-1")) == []
        assert await let_through(monitor, "ACL LOAD", "ACL LOG", "INFO", "XGROUP DESTROY x y", *FOR_NOBODY) == []


@contextlib.asynccontextmanager
async def services_of(deployed: Deployed) -> AsyncIterator[None]:
    """All four services, in this process, as the deployment's user and login."""
    settings = deployed.settings("ledger")
    consumers: list[Consumer] = [module.build(settings) for module in (issued, redeemed, exhausted)]
    notifier = Notifier(settings, consumers[0].policies)
    with mock.patch.object(logs, "set_up"):  # the logs are the test's
        tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
        notifying = asyncio.create_task(notifier.run())
        try:
            await eventually(
                lambda: asyncio.sleep(0, all(consumer.ready().ok for consumer in consumers) and notifier.ready().ok)
            )
            yield
            assert all(consumer.ready().ok for consumer in consumers), [consumer.ready() for consumer in consumers]
            assert notifier.ready().ok, notifier.ready()
        finally:
            for consumer in consumers:
                consumer.app.exit()
            await end(notifying)
            await asyncio.gather(*tasks, return_exceptions=True)


async def count(client: Redis, stream: str, wanted: int) -> bool:
    return await client.xlen(stream) >= wanted


async def nothing_pending(client: Redis) -> bool:
    waiting = [(await client.xpending(stream, "ledger"))["pending"] for stream in (ISSUED, REDEEMED, EXHAUSTED)]
    return waiting == [0, 0, 0]
