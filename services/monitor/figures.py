"""Figures as people read them: the same digits on every page, in the reader's language. Pure."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from schemas.money import format_yuan
from services.monitor.preferences import Language

NOTHING: Final = "–"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_UNITS: Final[dict[Language, tuple[str, str, str, str]]] = {
    "en": ("s", "min", "h", "d"), "zh": ("秒", "分钟", "小时", "天"),
}  # fmt: skip


def count(number: int | None) -> str:
    """Return a count with its thousands apart."""
    return NOTHING if number is None else f"{number:,}"


def yuan(fen: int | None) -> str:
    """Return an amount of fen in yuan, all of its digits, with its thousands apart."""
    if fen is None:
        return NOTHING
    whole, decimals = format_yuan(fen).split(".")
    return f"{int(whole):,}.{decimals}" if fen >= 0 else f"−{int(whole.removeprefix('-')):,}.{decimals}"


def rate(per_second: float | None) -> str:
    """Return how many a second, to three digits at the most."""
    if per_second is None:
        return NOTHING
    if 0 < per_second < 10:
        return f"{per_second:.1f}"
    return f"{per_second:,.0f}"


def age(seconds: float | None, language: Language) -> str:
    """Return how long ago or for how long, in the unit in which it is a small number."""
    if seconds is None:
        return NOTHING
    second, minute, hour, day = _UNITS[language]
    if seconds < 10:
        return f"{seconds:.1f} {second}"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} {second}"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} {minute}"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} {hour}"
    return f"{seconds / _DAY:.0f} {day}"


def share(part: int, whole: int) -> str:
    """Return a part in percent of a whole, to a tenth, never rounded up to what it is not."""
    return NOTHING if whole <= 0 else f"{part * 1000 // whole / 10:.1f} %"


def size(number_of_bytes: int) -> str:
    """Return a size in bytes or KiB."""
    return f"{number_of_bytes} B" if number_of_bytes < 1024 else f"{number_of_bytes / 1024:,.0f} KiB"


def moment(at: datetime | None, zone: ZoneInfo) -> str:
    """Return a moment on the zone's clock, to the second."""
    return NOTHING if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: datetime, zone: ZoneInfo) -> str:
    """Return the time of day."""
    return at.astimezone(zone).strftime("%H:%M:%S")
