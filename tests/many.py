"""How often a test tries: so many times what the profile says, ``usual`` or ``long``."""

from hypothesis import settings

USUAL = 100


def tries(usual: int) -> int:
    """Return how many to make of what is usually made ``usual`` times."""
    return usual * settings().max_examples // USUAL


def many(usual: int) -> settings:
    """Return what sets a Hypothesis test to that many examples."""
    return settings(max_examples=tries(usual))
