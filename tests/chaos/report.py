"""What a campaign came to: what was published and what became of it, and how long each kind of fault kept everything waiting."""

import statistics
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.evidence import Evidence
from chaos.faults import Fault

QUIET = "(nothing fails)"


@dataclass(slots=True)
class Stretch:
    """The time from a fault's beginning until the next period's, by the monotonic clock."""

    kind: str
    began: float
    ended: float


@dataclass(slots=True)
class Course:
    """What was done in a campaign, and when."""

    seed: int
    seconds: float
    digest: str
    stretches: list[Stretch] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
    published_at: float = float("inf")
    """When the last message was published."""
    lost_by_broker: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    settled_seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def add_period(self, faults: Sequence[tuple[Fault, float]], began: float, ended: float) -> None:
        """Take in a period, with when each of its faults began."""
        self.stretches += [Stretch(fault.kind, at, ended) for fault, at in faults] or [Stretch(QUIET, began, ended)]

    def longest_wait(self, stretch: Stretch) -> float:
        """Return the longest time, in seconds, for which no head moved in a stretch."""
        moved = self.moved[bisect_left(self.moved, stretch.began) : bisect_right(self.moved, stretch.ended)]
        moments = [stretch.began, *moved, stretch.ended]
        return max(later - earlier for earlier, later in pairwise(moments))


def report(course: Course, found: Evidence) -> str:
    """Return the report as lines of text."""
    entries = [row for rows in found.entries.values() for row in rows]
    arrived = sum(len(sent.ids) for sent in found.sent)
    published = sum(message.reason is None for message in found.messages)
    refused = Counter(row["code"] for row in entries if not row["accepted"])
    reasons = Counter(letter.reason for letter in found.letters)
    closures = sum(row["kind"] == "exhausted" for row in entries)
    unanswered, turned_away = (sum(getattr(sent, name) for sent in found.sent) for name in ("unanswered", "refused"))
    lines = [
        ("published", f"{len(found.messages)} entries, {published} of them events"),
        ("answered", f"{arrived} times; {unanswered} times not, {turned_away} times with a refusal"),
        ("lost", f"{course.lost_by_broker} that a killed broker had answered, and that were sent again"),
        ("entries", f"{len(entries)}, {sum(row['accepted'] for row in entries)} accepted, {closures} closures"),
        ("refused", _counts(refused)),
        ("duplicates", f"{duplicates(found)} absorbed"),
        ("dead letters", _counts(reasons)),
        ("died", f"{_counts(course.deaths) or 'none'}: services that ended by themselves, and were started again"),
        ("settled", f"{course.settled_seconds:.1f} s after the last fault and the last event"),
    ]
    return "\n".join((
        f"seed {course.seed}, {course.seconds:.0f} s, history {course.digest[:16]}",
        *(f"{name:<13}{told}" for name, told in lines),
        f"{'no entry for so many seconds, after a fault and until the next':<64}{'times':>6}{'median':>8}{'max':>8}{'at':>8}",
        *_waits(course),
    ))  # fmt: skip


def duplicates(found: Evidence) -> int:
    """Return how many answered events made neither an entry nor a dead letter, since they had come before."""
    answered = {id_ for sent in found.sent for id_ in sent.ids}
    letters = sum(letter.entry_id in answered for letter in found.letters)
    by_producers = sum(b'"urn:uscc:' in row["event"] for rows in found.entries.values() for row in rows)
    return sum(len(sent.ids) for sent in found.sent) - letters - by_producers


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counted.most_common())


def _waits(course: Course) -> list[str]:
    by_kind: dict[str, list[tuple[float, float]]] = {}
    for stretch in course.stretches:
        if stretch.ended > course.published_at:
            continue  # there was nothing left to enter
        by_kind.setdefault(stretch.kind, []).append((course.longest_wait(stretch), stretch.began - course.began))
    return [
        f"  {kind:<62}{len(waits):>6}{statistics.median(wait for wait, _ in waits):>8.1f}{max(waits)[0]:>8.1f}{max(waits)[1]:>8.0f}"
        for kind, waits in sorted(by_kind.items())
    ]
