"""How Hypothesis tries things in this project: ``--hypothesis-profile=long`` tries each fifty times as often as usual."""

import gc
import warnings

from hypothesis import HealthCheck, settings

# A machine that is busy is no failure.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("usual", **PATIENT)
settings.register_profile("long", max_examples=5_000, **PATIENT)
settings.load_profile("usual")


def pytest_sessionfinish() -> None:
    """Collect what the last tests left. What a test leaves open fails the test that runs when it is collected; here there is none.

    A client of the broker that was cancelled in the midst of connecting may stay open until then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(3):
            gc.collect()
