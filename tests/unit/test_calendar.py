from datetime import date, timedelta

import pytest
from events_made import assumed, policy_with
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.calendar import add_months, add_validity, months_between

DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))


def day(text):
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2024-03-15", 0, "2024-03-15"),
        ("2024-03-15", 1, "2024-04-15"),
        ("2024-12-01", 1, "2025-01-01"),
        ("2024-11-30", 1, "2024-12-30"),
        ("2024-11-30", 13, "2025-12-30"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2023-01-31", 1, "2023-02-28"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2024-02-29", 48, "2028-02-29"),
        ("2024-05-31", 1, "2024-06-30"),
        ("2024-12-31", 120, "2034-12-31"),
    ],
)
def test_some_months_later(start, months, end):
    assert add_months(day(start), months) == day(end)


@given(DAYS, st.integers(0, 120))
def test_a_month_later_is_in_that_month_and_on_that_day_or_its_last(start, months):
    end = add_months(start, months)
    assert (end.year - start.year) * 12 + end.month - start.month == months
    assert end.day == start.day or (end.day < start.day and (end + timedelta(days=1)).day == 1)


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        ("2024-03-01", "2025-02-28", 12),  # a year, both days included
        ("2024-03-01", "2025-03-01", 12),
        ("2024-03-01", "2025-03-02", 13),
        ("2024-03-15", "2024-03-15", 0),
        ("2024-03-15", "2024-03-16", 1),
        ("2024-03-15", "2024-04-15", 1),
        ("2024-03-15", "2024-04-16", 2),
        ("2024-03-15", "2024-04-14", 1),
        ("2024-01-31", "2024-02-29", 1),
        ("2024-01-31", "2024-03-01", 2),
        ("2023-11-30", "2024-02-29", 3),
        ("2024-12-31", "2025-01-01", 1),
        ("2024-03-15", "2024-03-14", 0),  # ends before it starts
        ("2024-03-15", "2023-12-31", 0),
    ],
)
def test_the_months_of_a_term(start, end, months):
    assert months_between(day(start), day(end)) == months


@given(DAYS, st.integers(-400, 4000))
def test_a_term_takes_the_fewest_months_that_reach_its_end(start, days):
    end = start + timedelta(days=days)
    fewest = next(months for months in range(200) if add_months(start, months) >= end)
    assert months_between(start, end) == fewest


@pytest.mark.parametrize(
    ("rule", "stated", "last"),
    [
        (None, None, None),
        (None, "2024-08-01", "2024-08-01"),
        ({"months": 12}, None, "2025-01-31"),
        ({"months": 1}, None, "2024-02-29"),
        ({"days": 30}, None, "2024-03-01"),
        ({"until": "2024-06-30"}, None, "2024-06-30"),
        ({"months": 12, "until": "2024-06-30"}, None, "2024-06-30"),
        ({"months": 3, "until": "2024-06-30"}, None, "2024-04-30"),
        ({"months": 2, "days": 10, "until": "2024-06-30"}, None, "2024-02-10"),
        ({"months": 12}, "2024-08-01", "2024-08-01"),
        ({"months": 12}, "2025-02-01", "2025-01-31"),  # a voucher says no more than its programme
        ({"until": "2024-06-30"}, "2024-07-01", "2024-06-30"),
    ],
)
def test_a_voucher_is_valid_until_the_earliest_of_the_days_that_are_said(rule, stated, last):
    policy = policy_with(validity=None if rule is None else assumed(**rule))
    issued_on, stated = date(2024, 1, 31), stated and day(stated)
    assert add_validity(policy.validity, issued_on, stated) == (last and day(last))
