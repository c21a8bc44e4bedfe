"""Days and months as the programmes' rules count them."""

import calendar
from datetime import date, timedelta

from schemas.rules import Validity


def add_months(day: date, months: int) -> date:
    """Return the same day so many months later, or the month's last where it has no such day."""
    month = day.month - 1 + months
    year, month = day.year + month // 12, month % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def months_between(start: date, end: date) -> int:
    """Return how many months a term from one day to another takes, a begun one counted whole; 0 if it ends before it starts.

    A term of twelve months from 1 March may end on the last of February (both days included) or on 1 March.
    """
    months = (end.year - start.year) * 12 + end.month - start.month
    if months < 0:
        return 0
    return months + (end > add_months(start, months))


def add_validity(validity: Validity | None, issued_on: date, stated: date | None) -> date | None:
    """Return the last day on which a voucher may be used: the earliest of what the policy and the voucher say, if any do."""
    days = [stated]
    if validity is not None:
        days.append(validity.until)
        if validity.months is not None:
            days.append(add_months(issued_on, validity.months))
        if validity.days is not None:
            days.append(issued_on + timedelta(days=validity.days))
    return min((day for day in days if day is not None), default=None)
