"""The programmes of a campaign: three of the shipped ones, with limits that this campaign's history comes up against."""

import re
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
_CAPS_AND_BUDGET = {"beijing-2023-2025": (0.18, 0.12), "chengdu-2024": (0.9, 0.47), "guizhou-2024": (0.95, 0.5)}
_CLAMPS = frozenset({"beijing-2023-2025"})


class Rules:
    """The policy files of a campaign that issues so many vouchers in each programme, and every revision of them that there was.

    Caps are reached when an enterprise asked for a share of what it will ask for, budgets likewise: late in the campaign.
    """

    def __init__(self, folder: Path, vouchers: int) -> None:
        self.folder = folder
        self.policies: dict[bytes, Policy] = {}
        """By digest, which is how the ledger names them."""
        self._wanted = vouchers * AMOUNT_MEAN_FEN
        self._revision = 0
        folder.mkdir(parents=True)
        self.change()

    def change(self) -> None:
        """Put other rules into the files: each time a tenth of the first caps and budgets more."""
        self._revision += 1
        for code in PROGRAMMES:
            path = self.folder / f"{code}.toml"
            new = path.with_suffix(".new")
            new.write_text(self._rules(code), encoding="utf-8")
            new.replace(path)  # at once: a service may start at this moment
        self.policies |= {policy.digest: policy for policy in load_policies(self.folder).values()}

    def _rules(self, code: str) -> str:
        more = 9 + self._revision
        caps, budget = (int(share * self._wanted) * more // 10 for share in _CAPS_AND_BUDGET[code])
        text = (SHIPPED / f"{code}.toml").read_text(encoding="utf-8")
        text = re.sub(r"^revision = 1\b", f"revision = {self._revision}", text, count=1, flags=re.MULTILINE)
        text = _set(text, "[budget]", "amount", format_yuan(budget))
        text = _set(text, "[[caps]]", "amount", format_yuan(caps // ENTERPRISES))
        return _set(text, "[[caps]]", "on_cap", "clamp") if code in _CLAMPS else text


def _set(text: str, table: str, name: str, value: str) -> str:
    before, found, after = text.partition(f"\n{table}\n")
    changed, count = re.subn(rf'^{name} = "[^"]*"', f'{name} = "{value}"', after, count=1, flags=re.MULTILINE)
    if not found or not count:
        raise LookupError(f"no {name} in {table}")
    return before + found + changed
