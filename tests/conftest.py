"""How Hypothesis tries things in this project: ``--hypothesis-profile=long`` tries each fifty times as often as usual."""

from hypothesis import HealthCheck, settings

# A machine that is busy is no failure.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("usual", **PATIENT)
settings.register_profile("long", max_examples=5_000, **PATIENT)
settings.load_profile("usual")
