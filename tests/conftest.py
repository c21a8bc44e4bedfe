"""What every test has: how Hypothesis tries things in this project, and logs that stay as they were.

``--hypothesis-profile=long`` tries each fifty times as often as usual.
"""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from services import logs

# A machine that is busy is no failure.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("usual", **PATIENT)
settings.register_profile("long", max_examples=5_000, **PATIENT)
settings.load_profile("usual")


@pytest.fixture(autouse=True)
def _logs_left_alone() -> Iterator[None]:
    """Fail a test that sets this process's logs up as a service does: it takes them, and Python's warnings, from all after it."""
    yield
    assert sys.excepthook.__module__ != logs.__name__, (
        "the logs are a service's now: patch services.logs.set_up in the test"
    )
