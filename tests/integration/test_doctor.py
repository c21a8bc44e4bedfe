"""The doctor on the real servers: what is well, and what to do about what is not."""

import contextlib
from unittest.mock import ANY

import pytest
from events_made import issue_event, providers_of, redemption_event
from eventually import eventually
from line import CHENGDU, entered, quick_settings, running, send, settled

from services import doctor
from services.doctor import Finding, examine
from services.served import served_policies


@pytest.fixture
def settings(database_url, redis_url):
    return quick_settings(database_url, redis_url)


async def found(settings) -> dict[str, Finding]:
    return {finding.what: finding for finding in await examine(settings, served_policies(settings))}


async def test_before_the_first_start_the_ledger_is_not_open_and_what_was_sent_is_not_read(settings, redis):
    await send(redis, issue_event("V0"))
    findings = await found(settings)
    assert {what for what, finding in findings.items() if not finding.ok} == {f"ledger {CHENGDU}", "streams read"}
    assert f"voucher.issued:{CHENGDU}" in findings["streams read"].advice


async def test_a_stream_whose_consumers_are_gone_is_not_read_though_the_group_still_names_them(
    settings, redis, monkeypatch
):
    monkeypatch.setattr(doctor, "READ_WITHIN_SECONDS", 0.5)
    async with contextlib.AsyncExitStack() as stack:
        for name in ("redeemed", "exhausted"):
            await stack.enter_async_context(running(name, settings))
        async with running("issued", settings):
            assert all(finding.ok for finding in (await found(settings)).values())
        await eventually(lambda: is_unread(settings))
        advice = (await found(settings))["streams read"].advice
    assert advice == f"run the consumers: nobody reads voucher.issued:{CHENGDU}"


async def test_a_broker_that_never_had_what_the_ledger_has_is_found_until_the_producers_have_sent_again(
    settings, redis, admin
):
    issued, redeemed = f"voucher.issued:{CHENGDU}", f"voucher.redeemed:{providers_of(CHENGDU)[0]}"
    events = [issue_event("V0"), redemption_event("V0")]
    async with contextlib.AsyncExitStack() as stack:
        for name in ("issued", "redeemed", "exhausted"):
            await stack.enter_async_context(running(name, settings))
        for number, event in enumerate(events):
            await send(redis, event)
            await entered(admin, number + 1)
        await settled(redis, [issued, redeemed])
        assert (await found(settings))["streams kept"] == Finding("streams kept", ok=True, found="yes", advice=ANY)
        await redis.xtrim(issued, maxlen=0)
        assert (await found(settings))["streams kept"].ok, "what was trimmed was there"
    await redis.flushall()
    lost = (await found(settings))["streams kept"]
    assert (lost.ok, lost.found) == (False, "2 streams that the ledger has events from never had an entry here")
    assert f"({issued}, {redeemed})" in lost.advice
    assert "voucher-ledger producers" in lost.advice
    async with running("issued", settings), running("redeemed", settings):
        await send(redis, events[0])
        await settled(redis, [issued, redeemed])
        lost = (await found(settings))["streams kept"]
        assert f"({redeemed})" in lost.advice
        await send(redis, events[1])
        assert (await found(settings))["streams kept"].ok


async def is_unread(settings) -> bool:
    return not (await found(settings))["streams read"].ok


@pytest.mark.parametrize("table", ["entry", "block", "payable", "policy", "act", "act_outcome", "verification"])
async def test_a_guard_that_was_switched_off_is_found(settings, admin, table):
    assert (await found(settings))["append-only"].ok
    await admin.execute(f"ALTER TABLE {table} DISABLE TRIGGER no_change")
    findings = await found(settings)
    assert findings["append-only"].found == "13 of 14 triggers always on"
    assert not findings["append-only"].ok


async def test_tables_that_are_missing_are_found(settings, admin):
    await admin.execute("UPDATE alembic_version SET version_num = '0000'")
    findings = await found(settings)
    assert findings["database migrated"].advice == "voucher-ledger migrate"


@pytest.mark.tampers
async def test_a_policy_file_that_differs_from_the_one_in_force_is_found(settings, ledger, admin):
    assert (await found(settings))[f"ledger {CHENGDU}"].ok
    await admin.execute("UPDATE head SET policy = 'another' WHERE programme = $1", CHENGDU)
    finding = (await found(settings))[f"ledger {CHENGDU}"]
    assert not finding.ok
    assert "raise its revision to 2" in finding.advice
    await admin.execute("UPDATE head SET revision = 0 WHERE programme = $1", CHENGDU)
    assert "restart the consumers" in (await found(settings))[f"ledger {CHENGDU}"].advice
