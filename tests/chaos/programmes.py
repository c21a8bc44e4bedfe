"""The programmes of a campaign: three of the shipped ones, with limits that this campaign's history comes up against."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.money import format_yuan
from schemas.policy import Policy
from services.programmes import SHIPPED, load_policies

PROGRAMMES: Final = ("beijing-2023-2025", "chengdu-2024", "guizhou-2024")
"""Years apart, a smallest voucher, two kinds of voucher: between them they have every rule that depends on earlier entries."""
ENTERPRISES: Final = 12
AMOUNT_MEAN_FEN: Final = 35_000_00

# Of all that will be asked for: what the enterprises' caps come to, and the budget. Beijing's are by the year, of which it has three.
_CAPS_AND_BUDGET = {"beijing-2023-2025": (0.12, 0.10), "chengdu-2024": (0.7, 0.45), "guizhou-2024": (0.7, 0.45)}
_CLAMPS = frozenset({"beijing-2023-2025"})


def write_policies(folder: Path, vouchers: int) -> Mapping[str, Policy]:
    """Write the policy files for so many vouchers a programme, and return the policies, by code.

    Caps are reached when an enterprise asked for a share of what it will ask for, budgets likewise: late in the campaign.
    """
    wanted = vouchers * AMOUNT_MEAN_FEN
    folder.mkdir(parents=True, exist_ok=True)
    for code in PROGRAMMES:
        caps, budget = (int(share * wanted) for share in _CAPS_AND_BUDGET[code])
        cap = caps // ENTERPRISES
        text = (SHIPPED / f"{code}.toml").read_text(encoding="utf-8")
        text = _set(text, "[budget]", "amount", format_yuan(budget))
        text = _set(text, "[[caps]]", "amount", format_yuan(cap))
        if code in _CLAMPS:
            text = _set(text, "[[caps]]", "on_cap", "clamp")
        (folder / f"{code}.toml").write_text(text, encoding="utf-8")
    return load_policies(folder)


def _set(text: str, table: str, name: str, value: str) -> str:
    before, found, after = text.partition(f"\n{table}\n")
    changed, count = re.subn(rf'^{name} = "[^"]*"', f'{name} = "{value}"', after, count=1, flags=re.MULTILINE)
    if not found or not count:
        raise LookupError(f"no {name} in {table}")
    return before + found + changed
