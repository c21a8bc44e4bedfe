"""The verifier on a real database: what it found is told by its metrics and its readiness, again and again."""

import asyncio
import contextlib
import time

import pytest
from events_made import as_inbound, issue_event, uscc
from eventually import eventually
from line import CHENGDU, quick_settings
from scraped import Scrape

from services import metrics
from services.ledger import read
from services.ledger.append import Ledger
from services.tasks import end
from services.verifier import Verifier


@contextlib.asynccontextmanager
async def verifying(settings):
    verifier = Verifier(settings)
    task = asyncio.create_task(verifier.run())
    try:
        yield verifier
    finally:
        await end(task)


async def found() -> Scrape:
    return Scrape((await metrics.metrics_response()).body.decode())


@pytest.fixture
def settings(database_url):
    metrics.VERIFIED.clear()
    metrics.VERIFIED_POSITION.clear()
    return quick_settings(database_url, "unix:///nowhere", verify_every_hours=0.1 / 3600)


async def verified(position: int, programme: str = CHENGDU) -> bool:
    return (await found()).value("verified_position", programme=programme) == position


async def test_a_ledger_that_is_right_is_found_so_and_looked_at_again(settings, ledger):
    before = time.time()
    await ledger.append(CHENGDU, [as_inbound(issue_event("V0", amount="10000.00"))])
    async with verifying(settings) as verifier:
        await eventually(lambda: verified(1))
        await ledger.append(CHENGDU, [as_inbound(issue_event("V1", amount="10000.00", enterprise=uscc(2)))])
        await eventually(lambda: verified(2))
        assert verifier.ready().ok
    seen = await found()
    assert seen.value("verified", programme=CHENGDU) == 1
    assert before <= seen.value("verified_timestamp_seconds", programme=CHENGDU) <= time.time()


@pytest.mark.tampers
async def test_a_ledger_that_was_changed_is_found_and_said(settings, ledger, admin):
    await ledger.append(
        CHENGDU, [as_inbound(issue_event(f"V{n}", amount="10000.00", enterprise=uscc(n))) for n in range(3)]
    )
    async with verifying(settings) as verifier:
        await eventually(lambda: verified(3))
        await admin.execute("ALTER TABLE entry DISABLE TRIGGER ALL")
        await admin.execute("UPDATE entry SET amount = amount + 1 WHERE position = 2")
        await eventually(lambda: not verifier.ready().ok)
        assert f"{CHENGDU}: wrong at position 2" in verifier.ready().because
        seen = await found()
        assert seen.value("verified", programme=CHENGDU) == 0
        assert seen.value("verified_position", programme=CHENGDU) == 1
        await admin.execute("UPDATE entry SET amount = amount - 1 WHERE position = 2")
        await eventually(lambda: verifier.ready().ok)
        assert (await found()).value("verified", programme=CHENGDU) == 1


async def test_ledgers_that_are_opened_after_it_started_are_not_left_for_tomorrow(
    settings, policies, pool, monkeypatch
):
    answers, programmes = [], read.programmes

    async def overheard(source):
        answers.append(await programmes(source))
        return answers[-1]

    monkeypatch.setattr(read, "programmes", overheard)
    monkeypatch.setattr("services.verifier._LOOKS_EVERY_SECONDS", 0.1)
    async with verifying(settings.model_copy(update={"verify_every_hours": 24.0})):
        await eventually(lambda: answers)
        assert (await found()).labels("verified") == []
        first, *others = policies
        for some in ([first], others):  # a consumer opens one after another: the verifier may look in between
            await Ledger(pool, {programme: policies[programme] for programme in some}).open()
            for programme in some:
                await eventually(lambda: verified(0, programme))  # noqa: B023  awaited within


async def test_a_database_that_is_away_is_waited_for_and_said(settings):
    away = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    async with verifying(away) as verifier:
        await eventually(lambda: not verifier.ready().ok)
        assert "Error" in verifier.ready().because
