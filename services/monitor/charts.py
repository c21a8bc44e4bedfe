"""Charts as SVG, drawn on the server: lines of what was measured, in the colours of the page. Pure: numbers in, markup out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from services.monitor.history import Measured

_WIDTH: Final = 120
_HEIGHT: Final = 24

Placing = Callable[[Any], float]


def sparkline(coming: Measured, going: Measured, told: str) -> Markup:
    """Return an hour of what came (an area) and what went (a line), scaled to its own highest; ``told`` says it to who cannot see it.

    What was not measured is left open, so that a line is never drawn through it.
    """
    highest = max((value for value in (*coming, *going) if value is not None), default=0.0)
    drawn = Markup("").join(
        [*(_area(run, highest) for run in _runs(coming)), *(_line(run, highest) for run in _runs(going))]
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{told}">'
        '<title>{told}</title><line class="base" x1="0" x2="{w}" y1="{b}" y2="{b}"/>{drawn}</svg>'
    ).format(w=_WIDTH, h=_HEIGHT, b=_HEIGHT - 0.5, told=told, drawn=drawn)


def _runs(values: Measured) -> list[list[tuple[int, float]]]:
    """Return what was measured without a gap, each with its place."""
    runs: list[list[tuple[int, float]]] = []
    before: float | None = None
    for place, value in enumerate(values):
        if value is not None:
            if before is None:
                runs.append([])
            runs[-1].append((place, value))
        before = value
    return runs


def _points(run: Sequence[tuple[int, float]], highest: float) -> str:
    """Return a level for each half minute, from its beginning to its end: a single one is seen too."""
    top = _HEIGHT - 2
    levels = [(place, _HEIGHT - (value / highest * top if highest else 0)) for place, value in run]
    return " ".join(f"{place},{level:.1f} {place + 1},{level:.1f}" for place, level in levels)


def _area(run: Sequence[tuple[int, float]], highest: float) -> Markup:
    first, last = run[0][0], run[-1][0]
    points = f"{first},{_HEIGHT} {_points(run, highest)} {last + 1},{_HEIGHT}"
    return Markup('<polygon class="in" points="{}"/>').format(points)


def _line(run: Sequence[tuple[int, float]], highest: float) -> Markup:
    return Markup('<polyline class="out" points="{}"/>').format(_points(run, highest))


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart over time: figures at moments (seconds), which hold until the next."""

    name: str
    label: str
    points: Sequence[tuple[float, int]]


_CHART_WIDTH: Final = 800
_CHART_HEIGHT: Final = 200


def steps(series: Sequence[Series], ceiling: int, until: float, told: str) -> Markup:
    """Return figures that grow in steps towards a ceiling, from the first moment of any to ``until``."""
    begins = min((line.points[0][0] for line in series if line.points), default=until)
    span = max(until - begins, 1.0)
    highest = max([ceiling, *(value for line in series for _, value in line.points)]) or 1

    def across(at: float) -> float:
        return (at - begins) / span * _CHART_WIDTH

    def up(value: int) -> float:
        return _CHART_HEIGHT - value / highest * (_CHART_HEIGHT - 4)

    drawn = Markup("").join(
        Markup('<polyline class="{name}" points="{points}"><title>{label}</title></polyline>').format(
            name=line.name, label=line.label, points=_steps(line.points, across, up)
        )
        for line in series
        if line.points
    )
    return Markup(
        '<svg class="steps" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{told}"><title>{told}</title>'
        '<line class="ceiling" x1="0" x2="{w}" y1="{c:.1f}" y2="{c:.1f}"/>'
        '<line class="base" x1="0" x2="{w}" y1="{h}" y2="{h}"/>{drawn}</svg>'
    ).format(w=_CHART_WIDTH, h=_CHART_HEIGHT, c=up(ceiling), told=told, drawn=drawn)


def _steps(points: Sequence[tuple[float, int]], across: Placing, up: Placing) -> str:
    corners, level = [f"{across(points[0][0]):.1f},{_CHART_HEIGHT}"], float(_CHART_HEIGHT)
    for at, value in points:
        corners += [f"{across(at):.1f},{level:.1f}", f"{across(at):.1f},{up(value):.1f}"]
        level = up(value)
    return " ".join([*corners, f"{_CHART_WIDTH},{level:.1f}"])


def bar(parts: Sequence[tuple[str, int]], whole: int, told: str) -> Markup:
    """Return parts of a whole next to each other, each with its class; what is left stays empty."""
    drawn = Markup("").join(
        Markup('<i class="{}" style="width:{:.2f}%"></i>').format(name, max(0.0, min(100.0, part * 100 / whole)))
        for name, part in parts
        if whole > 0
    )
    return Markup('<span class="bar" role="img" aria-label="{}">{}</span>').format(told, drawn)
