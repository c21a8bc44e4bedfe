"""What reading a ledger gives: accounts and entries, amounts in fen, and the JSON documents that the contract makes of them, in yuan."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from msgspec.structs import asdict

from schemas.codes import ACCEPTED, MESSAGES, Code
from schemas.events import Kind
from schemas.money import format_yuan
from schemas.policy import Policy
from services.ledger.kept import origin

Json = dict[str, object]
Status = Literal["active", "used", "expired"]


@dataclass(frozen=True, slots=True)
class BudgetAccount:
    """A budget in a period of it: what there is in all and what was issued. What remains is negative where it was cut later."""

    period: str
    total: int
    issued: int

    def to_json(self) -> Json:
        """Return the account as JSON has it."""
        remaining = self.total - self.issued
        return {
            "total": format_yuan(self.total), "issued": format_yuan(self.issued), "remaining": format_yuan(remaining)
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class QuotaAccount:
    """What an enterprise was granted in a period, of how much, and whether that is closed. ``limit`` is None without a cap."""

    enterprise: str
    period: str
    used: int
    limit: int | None
    closed: bool

    def to_json(self) -> Json:
        """Return the account as JSON has it."""
        return {
            "enterprise": self.enterprise, "period": self.period, "used": format_yuan(self.used),
            "limit": None if self.limit is None else format_yuan(self.limit), "closed": self.closed,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class VoucherAccount:
    """An issued voucher. ``provider`` is that of its contract; ``expired`` goes by the day in the programme's time zone."""

    voucher_id: str
    enterprise: str
    provider: str
    kind: Kind
    granted: int
    remaining: int
    valid_until: date | None
    status: Status

    def to_json(self) -> Json:
        """Return the account as JSON has it."""
        return {
            "voucher_id": self.voucher_id, "enterprise": self.enterprise, "kind": self.kind,
            "granted": format_yuan(self.granted), "remaining": format_yuan(self.remaining), "status": self.status,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PayableAccount:
    """What a provider redeemed in all."""

    provider: str
    amount: int

    def to_json(self) -> Json:
        """Return the account as JSON has it."""
        return {"provider": self.provider, "amount": format_yuan(self.amount)}


@dataclass(frozen=True, slots=True)
class Statement:
    """What a programme stands at, as of a position. ``policy`` is the one in force; ``budgets`` has the newest period last."""

    programme: str
    policy: Policy
    position: int
    head_hash: bytes
    budgets: tuple[BudgetAccount, ...]
    closed_for_all: tuple[str, ...]
    quotas: tuple[QuotaAccount, ...]
    vouchers: tuple[VoucherAccount, ...]
    payables: tuple[PayableAccount, ...]

    def to_json(self) -> Json:
        """Return the statement as JSON has it; ``periods`` only with a budget per year, ``closed_for_all`` only where there is one."""
        periods = [{"period": budget.period, **budget.to_json()} for budget in self.budgets]
        return {
            "programme": self.programme,
            "position": self.position,
            "head_hash": self.head_hash.hex(),
            "budget": self.budgets[-1].to_json(),
            **({"periods": periods} if self.policy.budget.per == "year" else {}),
            **({"closed_for_all": list(self.closed_for_all)} if self.closed_for_all else {}),
            "quotas": [quota.to_json() for quota in self.quotas],
            "vouchers": [voucher.to_json() for voucher in self.vouchers],
            "payables": [payable.to_json() for payable in self.payables],
        }


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry as it is stored, but for its keys."""

    position: int
    recorded_at: datetime
    kind: str
    accepted: bool
    code: str | None
    voucher_id: str | None
    enterprise: str | None
    provider: str | None
    period: str
    amount: int | None
    granted: int | None
    valid_until: date | None
    voucher_remaining: int | None
    quota_used: int | None
    quota_limit: int | None
    budget_remaining: int | None
    payable: int | None
    event: bytes
    leaf: bytes

    def to_json(self) -> Json:
        """Return the entry as JSON has it, by the names of the notifications; what does not apply is left out."""
        message = ACCEPTED if self.code is None else MESSAGES[Code(self.code)]
        names = {"voucher_id": self.voucher_id, "enterprise": self.enterprise, "provider": self.provider}
        money = {
            "amount": self.amount, "granted": self.granted, "voucher_remaining": self.voucher_remaining,
            "quota_used": self.quota_used, "quota_limit": self.quota_limit, "budget_remaining": self.budget_remaining,
            "payable": self.payable,
        }  # fmt: skip
        return {
            "position": self.position,
            "recorded_at": self.recorded_at.isoformat(),
            "kind": self.kind,
            "outcome": "accepted" if self.accepted else "refused",
            **({} if self.code is None else {"code": self.code}),
            "message": message._asdict(),
            "event": asdict(origin(self.event)),
            **{name: value for name, value in names.items() if value is not None},
            "period": self.period,
            **({} if self.valid_until is None else {"valid_until": self.valid_until.isoformat()}),
            **{name: format_yuan(fen) for name, fen in money.items() if fen is not None},
            "hash": self.leaf.hex(),
        }


@dataclass(frozen=True, slots=True)
class VoucherHistory:
    """A voucher with the entries that name it. ``account`` is None where it was not issued; ``waiting`` counts what waits for it.

    ``next`` is the position after which there are more of them, None when these are all.
    """

    programme: str
    voucher_id: str
    account: VoucherAccount | None
    waiting: int
    entries: tuple[EntryRow, ...]
    next: int | None = None

    def to_json(self) -> Json:
        """Return the history as JSON has it; the status of a voucher that was not issued is ``not_issued``."""
        account = self.account
        if account is None:
            state: Json = {"voucher_id": self.voucher_id, "status": "not_issued"}
        else:
            until = None if account.valid_until is None else account.valid_until.isoformat()
            state = {**account.to_json(), "provider": account.provider, "valid_until": until}
        entries = [entry.to_json() for entry in self.entries]
        return {"programme": self.programme, **state, "waiting": self.waiting, "entries": entries}
