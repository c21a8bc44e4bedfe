"""The programmes that are measured: Chengdu's rules under other codes, with a budget and a cap that no bench uses up."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from stdnum.cn import uscc

from services.programmes import SHIPPED, load_policies

MODEL: Final = "chengdu-2024"
BUDGET_YUAN: Final = "9000000000000.00"
CAP_YUAN: Final = "9000000000.00"
_PROVIDER: Final = "91510100MA0000001L"
"""The model's provider; it is the one that all programmes share where they share one."""


@dataclass(frozen=True, slots=True)
class Programme:
    """A programme to be measured, and the two who write to its streams."""

    code: str
    authority: str
    provider: str


@lru_cache(maxsize=65_536)
def enterprise(number: int) -> str:
    """Return the USCC, valid, of the enterprise of this number (0 to 9,999,999)."""
    body = f"91440300MA{number:07d}"
    return body + str(uscc.calc_check_digit(body))


def derive(folder: Path, count: int, *, shared_provider: bool = False) -> list[Programme]:
    """Write policy files ``bench-1.toml`` … to the folder, and return their programmes.

    Each has a provider of its own, hence a stream of its own, unless they share one. Raises ValueError when the model is not as
    it was.
    """
    model = (SHIPPED / f"{MODEL}.toml").read_text(encoding="utf-8")
    programmes = []
    for number in range(1, count + 1):
        body = f"91510100MA{number + 100:07d}"
        provider = _PROVIDER if shared_provider else body + str(uscc.calc_check_digit(body))
        text = _replaced(model, r'^code = "[^"]*"', f'code = "bench-{number}"')
        text = _replaced(text, r'^(\[budget\].*?^amount = )"[^"]*"', rf'\g<1>"{BUDGET_YUAN}"')
        text = _replaced(text, r'^(\[\[caps\]\].*?^amount = )"[^"]*"', rf'\g<1>"{CAP_YUAN}"')
        text = _replaced(text, _PROVIDER, provider)
        (folder / f"bench-{number}.toml").write_text(text, encoding="utf-8")
    for code, policy in load_policies(folder).items():
        (provider,) = [
            one.uscc for one in policy.providers.accredited if one.names.en.endswith("Intelligent Computing Centre")
        ]
        programmes.append(Programme(code, policy.authority.uscc, provider))
    return programmes


def _replaced(text: str, pattern: str, by: str) -> str:
    text, count = re.subn(pattern, by, text, count=1, flags=re.MULTILINE | re.DOTALL)
    if count != 1:
        raise ValueError(f"{MODEL}.toml has no {pattern}")
    return text
