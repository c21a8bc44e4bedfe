"""The order of a run: A B A B …, so that what the machine does meanwhile meets all contenders alike."""

from collections.abc import Iterator, Sequence

from benchmarks.registry import Contender


def interleaved(contenders: Sequence[Contender], repeats: int) -> Iterator[tuple[int, Contender]]:
    """Yield (round, contender): every contender once a round, and after the rounds those that run once."""
    for number in range(repeats):
        for contender in contenders:
            if not contender.once:
                yield number, contender
    for contender in contenders:
        if contender.once:
            yield 0, contender
