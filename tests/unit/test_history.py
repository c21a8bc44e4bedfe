"""Counters seen at moments: rates, stillness, and an hour in half minutes."""

import pytest

from services.monitor.history import BUCKET_SECONDS, BUCKETS, LATELY_SECONDS, Counter


def seen(*counts: tuple[float, int | None]) -> Counter:
    counter = Counter()
    for at, count in counts:
        counter.see(at, count)
    return counter


def test_a_rate_needs_two_looks_and_is_of_the_last_seconds_only() -> None:
    assert seen().per_second() is None
    assert seen((0, 5)).per_second() is None
    assert seen((0, 5), (2, 11)).per_second() == 3
    long_ago = [(at, at * 1_000) for at in range(100)]
    lately = [(99 + at, 99_000 + at * 7) for at in range(int(LATELY_SECONDS) + 1)]
    assert seen(*long_ago, *lately).per_second() == pytest.approx(7)


def test_it_stands_still_since_it_last_moved() -> None:
    counter = seen((0, 5), (1, 6), (2, 6), (9, 6))
    assert counter.still_seconds() == 8
    counter.see(10, 7)
    assert counter.still_seconds() == 0
    assert seen((0, 5), (30, 5)).still_seconds() == 30


def test_a_count_that_fell_begins_anew() -> None:
    counter = seen((0, 500), (1, 510), (2, 3), (3, 5))
    assert counter.per_second() == 2
    assert all(value is None or value >= 0 for value in counter.hour(60))


def test_what_is_not_known_is_passed_over() -> None:
    assert seen((0, 5), (1, None), (2, 9)).per_second() == 2


def test_the_hour_is_of_whole_half_minutes_with_gaps_where_nobody_looked() -> None:
    counter = Counter()
    for at in range(91):
        counter.see(at, at * 2)
    counter.see(300, 200)
    hour = counter.hour(301)
    assert len(hour) == BUCKETS
    first = BUCKETS - int(301 // BUCKET_SECONDS)
    assert hour[:first] == [None] * first
    assert hour[first : first + 3] == [pytest.approx(58 / 30), 2, 2]
    assert hour[first + 3] == pytest.approx(2 / 30)
    assert hour[first + 4 :] == [None] * 6


def test_a_day_of_looking_is_kept_small() -> None:
    counter = seen(*((at, at) for at in range(0, 24 * 3_600, 5)))
    assert len(counter._seen) <= LATELY_SECONDS
    assert len(counter._hour) == BUCKETS
    assert counter.hour(24 * 3_600)[1:] == [1.0] * (BUCKETS - 1)
