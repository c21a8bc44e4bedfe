"""The bench `end_to_end`: events waiting in the streams → decided, committed, acknowledged, by the services as they are shipped."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks import race
from benchmarks.race import Race
from benchmarks.registry import Sample, contends
from benchmarks.scale import Scale
from benchmarks.stage import Stage

ENFORCES: Final = (
    "Every rule of the programme, budget, cap, voucher balance and payable in order, no event twice, parking, dead letters, "
    "append-only entries with running figures and CHECKs, hash chain; synchronous commit before the ack. Nothing is left out."
)
HEADLINE: Final = "redemptions, 1 process"

_ONE: Final = {"redeemed": 1}
_TWO: Final = {"redeemed": 2}
_ISSUES: Final = {"issued": 1.0}

RACES: Final[dict[str, tuple[Race, bool]]] = {
    HEADLINE: (Race(_ONE), True),
    "redemptions, 2 processes": (Race(_TWO), True),
    "redemptions, 1 process, notifier on": (Race(_ONE, notifier=True), True),
    "redemptions, 1 process, Zipf-hot vouchers": (Race(_ONE, hot=True), False),
    "redemptions, 2 processes, Zipf-hot vouchers": (Race(_TWO, hot=True), False),
    "redemptions, 1 process, random ids (UUIDv4)": (Race(_ONE, ids="uuid4"), False),
    "redemptions, 1 process, 8 programmes": (Race(_ONE, programmes=8), False),
    "redemptions, 2 processes, 8 programmes": (Race(_TWO, programmes=8), True),
    "redemptions, 1 process, 8 programmes on one provider's stream": (
        Race(_ONE, programmes=8, shared_provider=True), False,
    ),
    "issues, 1 process": (Race({"issued": 1}, _ISSUES), True),
    "issues, 2 processes": (Race({"issued": 2}, _ISSUES), False),
    "mix of three kinds, 3 processes": (Race.of_a_mix(), True),
    "mix of three kinds, 3 processes, notifier on": (Race.of_a_mix(notifier=True), False),
}  # fmt: skip
"""The races by name, and whether a quick run has them. Ids are UUIDv7, vouchers uniform, one programme, no notifier, unless said."""


async def _run(competed: Race, stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    return await race.run(stage, competed, events=scale.events, vouchers=scale.vouchers, seed=seed)


for _name, (_race, _quick) in RACES.items():
    contends("end_to_end", _name, ENFORCES, quick=_quick)(partial(_run, _race))
