"""The benches and their contenders by name; a module that has some registers them when it is imported."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.scale import Scale
    from benchmarks.stage import Stage

EVENTS_PER_SECOND = "events/s"


class SkippedError(Exception):
    """A contender cannot run here, and that is no failure; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one contender, in its unit; ``of`` tells a contender's figures apart where it has several."""

    value: float
    unit: str
    details: dict[str, Any]
    of: str = ""


Run = Callable[["Stage", "Scale", int], Awaitable[Sequence[Sample]]]
"""From the stage, the sizes and a seed to the figures of one round."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of doing a bench's work. ``once``: it takes minutes, and runs after the rounds, a single time."""

    bench: str
    name: str
    enforces: str
    run: Run
    quick: bool
    once: bool

    @property
    def label(self) -> str:
        """The name that tells it from all others."""
        return f"{self.bench}/{self.name}"


CONTENDERS: list[Contender] = []
"""All contenders, in the order of their registration."""


def contends(bench: str, name: str, enforces: str, *, quick: bool = True, once: bool = False) -> Callable[[Run], Run]:
    """Register a function as a contender; ``enforces`` is a sentence on what it does and does not enforce."""

    def register(run: Run) -> Run:
        CONTENDERS.append(Contender(bench, name, enforces, run, quick, once))
        return run

    return register


def chosen(contenders: Iterable[Contender], names: Sequence[str], *, quick: bool) -> list[Contender]:
    """Return the contenders whose bench or label one of the names matches (``apply``, ``end_to_end/*notifier*``); all without names.

    Raises ValueError for a name that matches nothing.
    """
    all_of_them = list(contenders)
    for name in names:
        if not any(_is(contender, name) for contender in all_of_them):
            benches = ", ".join(dict.fromkeys(contender.bench for contender in all_of_them))
            raise ValueError(f"no bench {name!r}; there is {benches}")
    named = [contender for contender in all_of_them if not names or any(_is(contender, name) for name in names)]
    return [contender for contender in named if contender.quick or not quick]


def _is(contender: Contender, name: str) -> bool:
    return contender.bench == name or fnmatch(contender.label, name)
