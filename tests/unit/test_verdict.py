"""The verdict on a stream, from numbers alone."""

from dataclasses import replace

import pytest

from services.monitor.verdict import Standing, State, Why, judge, judge_notifications

READ_WITHIN = 1.0
QUIET = Standing(
    waiting=0, pending=0, oldest_waiting=None, oldest_pending=None, deliveries=0, has_group=True, last_read=0.3,
    rate_in=0.0, rate_out=0.0, still=600.0,
)  # fmt: skip
BUSY = replace(
    QUIET, waiting=40, pending=10, oldest_waiting=0.2, oldest_pending=0.4, rate_in=500.0, rate_out=500.0, still=0.0
)
BACKLOG = replace(BUSY, waiting=9_000, pending=1_000, oldest_waiting=20.0, oldest_pending=21.0)


def judged(standing: Standing, **changes: object) -> tuple[State, Why | None]:
    verdict = judge(replace(standing, **changes), READ_WITHIN)
    return verdict.state, verdict.why


def test_where_nothing_comes_it_is_quiet_and_where_it_goes_as_it_comes_it_keeps_up() -> None:
    assert judged(QUIET) == (State.IDLE, None)
    assert judged(QUIET, rate_in=3.0) == (State.KEEPING_UP, None)
    assert judged(BUSY) == (State.KEEPING_UP, None)


def test_a_backlog_that_shrinks_says_when_it_will_be_empty() -> None:
    verdict = judge(replace(BACKLOG, rate_in=500.0, rate_out=750.0), READ_WITHIN)
    assert (verdict.state, verdict.seconds) == (State.CATCHING_UP, 10_000 / 250)


@pytest.mark.parametrize(("rate_out", "growth"), [(400.0, 100.0), (500.0, 0.0), (504.0, -4.0)])
def test_a_backlog_that_grows_or_stays_says_by_how_much(rate_out: float, growth: float) -> None:
    verdict = judge(replace(BACKLOG, rate_in=500.0, rate_out=rate_out), READ_WITHIN)
    assert (verdict.state, verdict.growth, verdict.seconds) == (State.FALLING_BEHIND, growth, None)


def test_what_is_not_known_yet_is_not_made_up() -> None:
    verdict = judge(replace(BACKLOG, rate_in=None, rate_out=None), READ_WITHIN)
    assert (verdict.state, verdict.growth, verdict.seconds) == (State.FALLING_BEHIND, None, None)
    assert judge(replace(BACKLOG, waiting=None, rate_out=900.0), READ_WITHIN).seconds is None
    # Entries were taken off unread: how many wait is not known, but that one does.
    assert judged(QUIET, waiting=None, oldest_waiting=30.0) == (State.STUCK, Why.NOT_TAKEN)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"has_group": False, "last_read": None, "pending": 0}, Why.NO_GROUP),
        ({"last_read": None, "pending": 0}, Why.NO_READER),
        ({"last_read": 4.0}, Why.READERS_SILENT),
        ({"deliveries": 3}, Why.HELD),
        ({"deliveries": 1}, Why.UNACKNOWLEDGED),
        ({"pending": 0, "oldest_pending": None}, Why.NOT_TAKEN),
    ],
)
def test_where_something_waits_and_nothing_is_done_it_is_stuck_and_why(changes: dict[str, object], why: Why) -> None:
    assert judged(BACKLOG, still=5.0, rate_out=0.0, **changes) == (State.STUCK, why)


def test_a_consumer_that_stops_is_known_within_four_seconds_of_its_last_read() -> None:
    """Sampled once a second and shown half a second later, it is on the page within five."""
    stopped = replace(QUIET, waiting=1, oldest_waiting=3.9, last_read=3.9, rate_in=0.2, still=3.9)
    assert judged(stopped) == (State.STUCK, Why.READERS_SILENT)
    # Also while the rate of the last ten seconds still says that it worked.
    assert judged(stopped, rate_out=800.0) == (State.STUCK, Why.READERS_SILENT)


def test_a_stream_that_nobody_reads_says_so_before_anything_waits() -> None:
    assert judged(QUIET, last_read=60.0) == (State.UNREAD, Why.READERS_SILENT)
    assert judged(QUIET, last_read=None) == (State.UNREAD, Why.NO_READER)
    assert judged(QUIET, has_group=False, last_read=None) == (State.UNREAD, Why.NO_GROUP)


def test_a_consumer_that_works_too_hard_to_read_is_not_silent() -> None:
    assert judged(BACKLOG, last_read=4.0, still=0.5, rate_out=900.0) == (State.CATCHING_UP, None)


def test_a_monitor_that_has_just_begun_to_look_waits_before_it_says_stuck() -> None:
    assert judged(BACKLOG, still=0.0, rate_in=None, rate_out=None) == (State.FALLING_BEHIND, None)


def test_only_what_needs_someone_is_trouble() -> None:
    assert judge(replace(QUIET, last_read=60.0), READ_WITHIN).is_trouble
    assert judge(replace(BACKLOG, still=5.0), READ_WITHIN).is_trouble
    assert not judge(BACKLOG, READ_WITHIN).is_trouble


def test_notifications() -> None:
    def told(distance: int, oldest: float | None = None, still: float = 0.0, rates: tuple[float, float] = (0.0, 0.0)):
        verdict = judge_notifications(distance, oldest, still, rates)
        return verdict.state, verdict.why, verdict.seconds

    assert told(0, still=900.0) == (State.IDLE, None, None)
    assert told(0, rates=(5.0, 5.0)) == (State.KEEPING_UP, None, None)
    assert told(30, 0.1, rates=(50.0, 50.0)) == (State.KEEPING_UP, None, None)
    assert told(30, 9.0, still=9.0) == (State.STUCK, Why.NOTIFIER_STILL, 9.0)
    assert told(1_000, 9.0, rates=(100.0, 300.0)) == (State.CATCHING_UP, None, 5.0)
    assert told(-1) == (State.STUCK, Why.NOTIFIER_AHEAD, None)
