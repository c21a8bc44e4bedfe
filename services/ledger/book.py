"""The book: what the decisions need to know of one programme, as of a position. It is the fold of the entries.

It holds the programme's own figures whole, and of vouchers, quotas and payables only what was asked for lately. Bringing in
what it does not hold is the loader's work, not its own: a question about something not loaded is a mistake, and raises.
"""

from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from sys import intern
from typing import TypeVar

from msgspec import Struct

from schemas.events import Kind, VoucherIssued
from schemas.policy import Policy
from services.ledger.entry import Decision, Inbound

Value = TypeVar("Value")


class Voucher(Struct, gc=False):
    """An issued voucher; ``remaining`` in fen."""

    kind: Kind
    enterprise: str
    provider: str
    valid_until: date | None
    remaining: int


@dataclass(slots=True)
class Book:
    """A programme's figures after ``position``, in fen, the hash of whose block is ``hash``.

    A voucher held as None is known not to exist.
    """

    position: int = 0
    hash: bytes = b""
    issued_by_period: dict[str, int] = field(default_factory=dict)
    closures: set[tuple[str | None, str]] = field(default_factory=set)
    vouchers: dict[str, Voucher | None] = field(default_factory=dict)
    quotas: dict[tuple[str, str], int] = field(default_factory=dict)
    payables: dict[str, int] = field(default_factory=dict)
    claims: set[bytes] = field(default_factory=set)

    def voucher(self, voucher_id: str) -> Voucher | None:
        """Return the voucher, None if none was issued by this id. Raises KeyError when it was not loaded."""
        return self.vouchers[voucher_id]

    def is_issued(self, voucher_id: str) -> bool:
        """Whether a voucher of this id was issued; of those that were loaded."""
        return self.vouchers.get(voucher_id) is not None

    def quota_used(self, enterprise: str, period: str) -> int:
        """Return what was issued to the enterprise in the period, in fen. Raises KeyError when it was not loaded."""
        return self.quotas[enterprise, period]

    def payable(self, provider: str) -> int:
        """Return what the provider redeemed in all, in fen. Raises KeyError when it was not loaded."""
        return self.payables[provider]

    def issued(self, budget_period: str) -> int:
        """Return what was issued of the budget in all, in fen."""
        return self.issued_by_period.get(budget_period, 0)

    def is_claimed(self, claim: bytes) -> bool:
        """Whether an accepted entry used the contract or the redemption number up; of those that were loaded."""
        return claim in self.claims

    def is_closed(self, enterprise: str, year: str) -> bool:
        """Whether the quota was closed: for the enterprise or for all, in the year or for the whole programme."""
        if not self.closures:
            return False
        return any((who, when) in self.closures for who in (enterprise, None) for when in (year, "programme"))

    def apply(self, decision: Decision, policy: Policy, inbound: Inbound | None = None) -> None:
        """Take an accepted entry in; without the event of an issue its voucher is loaded when it is asked for."""
        match decision.kind:
            case "redeemed":
                known = self.vouchers.get(_there(decision.voucher_id))
                if known is not None:
                    known.remaining = _there(decision.voucher_remaining)
                self.payables[_there(decision.provider)] = _there(decision.payable)
            case "issued":
                voucher_id = _there(decision.voucher_id)
                if inbound is None:
                    self.vouchers.pop(voucher_id, None)
                else:
                    self.vouchers[voucher_id] = _voucher_of(inbound, decision)
                self.quotas[_there(decision.enterprise), decision.period] = _there(decision.quota_used)
                period = policy.budget_period_of(decision.period)
                self.issued_by_period[period] = self.issued(period) + _there(decision.granted)
            case _:
                self.closures.add((decision.enterprise, decision.period))
        if decision.claim is not None:
            self.claims.add(decision.claim)

    def forget(self, vouchers_max: int, quotas_max: int) -> None:
        """Let go of what was brought in first, once there is more than the limits; claims serve one batch only."""
        self.claims.clear()
        _trim(self.vouchers, vouchers_max)
        _trim(self.quotas, quotas_max)


def _voucher_of(inbound: Inbound, decision: Decision) -> Voucher:
    event = inbound.event
    if not isinstance(event, VoucherIssued):
        raise AssertionError("an issue makes a voucher")  # noqa: TRY004  not a caller's mistake
    return Voucher(
        kind=event.data.kind,
        # One string for the many vouchers of an enterprise and of a provider.
        enterprise=intern(event.data.enterprise.uscc),
        provider=intern(event.data.contract.provider),
        valid_until=decision.valid_until,
        remaining=_there(decision.granted),
    )


def _trim(held: dict[str, Voucher | None] | dict[tuple[str, str], int], limit: int) -> None:
    if len(held) <= limit:
        return
    # Some at once, so that a full book is not trimmed again with every batch.
    for key in list(islice(held, len(held) - limit + limit // 10)):
        del held[key]  # type: ignore[arg-type]  # keys of this very dict


def _there(value: Value | None) -> Value:
    if value is None:
        raise AssertionError("an accepted entry names what it is about, and carries its running figures")
    return value
