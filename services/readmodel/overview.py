"""All programmes at a glance: the rules in force in short, where each ledger stands, and what is left of its budget."""

from dataclasses import dataclass
from typing import Final

from schemas.policy import Policy
from services.ledger.policies import Policies
from services.ledger.read import Pool, Stand, snapshot, stand
from services.ledger.statements import BudgetAccount, Json

_HEADS: Final = "SELECT programme FROM head ORDER BY programme"


@dataclass(frozen=True, slots=True)
class Overview:
    """A programme at a glance; ``budget`` is of the newest period."""

    policy: Policy
    position: int
    budget: BudgetAccount

    @classmethod
    def of(cls, stands: Stand) -> "Overview":
        """Return it of where a programme stands."""
        return cls(stands.policy, stands.position, stands.budgets[-1])

    def to_json(self) -> Json:
        """Return it as JSON has it."""
        period = self.policy.period
        return {
            "programme": self.policy.code,
            "names": self.policy.names.model_dump(),
            "revision": self.policy.revision,
            "digest": self.policy.digest.hex(),
            "opens_on": period.opens_on.isoformat(),
            "closes_on": period.closes_on.isoformat(),
            "position": self.position,
            "budget": {"per": self.policy.budget.per, **self.budget.to_json()},
        }


async def programmes(pool: Pool, policies: Policies) -> list[Overview]:
    """Return every programme that has a ledger, by code."""
    async with snapshot(pool) as connection:
        codes = [row["programme"] for row in await connection.fetch(_HEADS)]
        return [Overview.of(await stand(connection, code, policies)) for code in codes]
