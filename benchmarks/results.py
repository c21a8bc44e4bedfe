"""What a run found: figures by contender and round, and what follows from them: medians, spread, ratios, aims. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.registry import Contender, Sample


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some figures and how far they lie apart, in their unit; ``iqr`` is None for fewer than four."""

    count: int
    median: float
    lowest: float
    highest: float
    iqr: float | None


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of one or more figures."""
    iqr = None
    if len(values) >= 4:
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        iqr = third - first
    return Spread(len(values), statistics.median(values), min(values), max(values), iqr)


@dataclass(slots=True)
class Row:
    """One contender's figure over the rounds."""

    contender: Contender
    of: str
    samples: dict[int, Sample] = field(default_factory=dict)
    trouble: str | None = None
    skipped: bool = False

    @property
    def label(self) -> str:
        """The name that ratios and aims know it by: ``bench/contender``, with ``: figure`` where it has several."""
        return f"{self.contender.label}: {self.of}" if self.of else self.contender.label

    @property
    def values(self) -> dict[int, float]:
        """The figures by round."""
        return {number: sample.value for number, sample in self.samples.items()}


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure as a multiple of another's, taken round by round: the two were measured one soon after the other."""

    name: str
    numerator: str
    denominator: str


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure, or a ratio, is to reach: at least, or under."""

    of: str
    at_least: float | None = None
    under: float | None = None

    def reached(self, value: float) -> bool:
        """Whether the figure is there."""
        return (self.at_least is None or value >= self.at_least) and (self.under is None or value < self.under)


class Results:
    """All rows of a run, in the order of their first figure."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def take(self, contender: Contender, number: int, samples: Sequence[Sample]) -> None:
        """Take in what a contender measured in a round."""
        for sample in samples:
            row = self.rows.setdefault((contender.label, sample.of), Row(contender, sample.of))
            row.samples[number] = sample

    def trouble(self, contender: Contender, because: str, *, skipped: bool = False) -> None:
        """Take in that a contender failed, or that it was skipped."""
        row = self.rows.setdefault((contender.label, ""), Row(contender, ""))
        row.trouble, row.skipped = because, skipped

    @property
    def failed(self) -> bool:
        """Whether a contender failed."""
        return any(row.trouble is not None and not row.skipped for row in self.rows.values())

    def values(self, label: str) -> dict[int, float]:
        """Return a figure by round; nothing when it was not measured."""
        return next((row.values for row in self.rows.values() if row.label == label), {})

    def ratio(self, ratio: Ratio) -> Spread | None:
        """Return a ratio over the rounds that have both figures, None when there is none."""
        above, below = self.values(ratio.numerator), self.values(ratio.denominator)
        pairs = [above[number] / below[number] for number in sorted(above.keys() & below.keys()) if below[number]]
        return spread(pairs) if pairs else None

    def aimed(self, aim: Aim, ratios: Sequence[Ratio]) -> float | None:
        """Return the median that an aim is about, None when it was not measured."""
        for ratio in ratios:
            if ratio.name == aim.of:
                found = self.ratio(ratio)
                return None if found is None else found.median
        values = self.values(aim.of)
        return statistics.median(values.values()) if values else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest figure that at least this share of the (sorted, one or more) figures do not exceed."""
    return ordered[max(math.ceil(len(ordered) * share), 1) - 1]


def as_json(spread_found: Spread | None) -> dict[str, Any]:
    """Return a spread as a JSON object."""
    if spread_found is None:
        return {}
    return {name: getattr(spread_found, name) for name in ("count", "median", "lowest", "highest", "iqr")}
