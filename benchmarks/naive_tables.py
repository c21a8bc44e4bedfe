"""What one would otherwise write, its half in the database: balances in tables, a row lock each, one SQLModel transaction an event.

The rules are the ledger's own ``decide``, so that nothing but the way to store is compared. What the ledger has beside is left
out: the order of entries, the hash chain, the payable of each provider, parking, dead letters.
"""

from datetime import UTC, date, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Index, LargeBinary
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from schemas.events import Kind, VoucherIssued, VoucherRedeemed
from schemas.policy import Policy
from services.ledger.book import Book
from services.ledger.book import Voucher as HeldVoucher
from services.ledger.decide import decide, issue_period
from services.ledger.entry import Decision, Inbound


class _Table(SQLModel, registry=registry()):
    """Apart from the ledger's own tables."""


class Processed(_Table, table=True):
    """An event that was taken in: it counts once."""

    source: str = Field(primary_key=True)
    id: str = Field(primary_key=True)


class Spent(_Table, table=True):
    """What was issued of a programme's budget in a period, in fen."""

    programme: str = Field(primary_key=True)
    period: str = Field(primary_key=True)
    issued: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))


class Quota(_Table, table=True):
    """What was issued to an enterprise in a period, in fen."""

    programme: str = Field(primary_key=True)
    enterprise: str = Field(primary_key=True)
    period: str = Field(primary_key=True)
    used: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))


class Balance(_Table, table=True):
    """A voucher and what is left of it, in fen."""

    programme: str = Field(primary_key=True)
    voucher_id: str = Field(primary_key=True)
    kind: str
    enterprise: str
    provider: str
    valid_until: date | None = None
    remaining: int = Field(sa_column=Column(BigInteger, nullable=False))


class Movement(_Table, table=True):
    """What was decided, one row an event; a contract and a redemption number are used up once."""

    __table_args__: ClassVar[Any] = (Index("movement_claim", "programme", "claim", unique=True),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    programme: str
    kind: str
    accepted: bool
    code: str | None = None
    claim: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    voucher_id: str | None = None
    amount: int | None = Field(default=None, sa_column=Column(BigInteger))
    event: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


METADATA = _Table.metadata


async def process(session: AsyncSession, policy: Policy, inbound: Inbound) -> Decision | None:
    """Decide one event and keep the balances, in the transaction that the session has begun; None when it was known.

    Raises LookupError for a redemption whose voucher is not known: the naive way would try it again.
    """
    event, now = inbound.event, datetime.now(UTC)
    once = insert(Processed).values(source=event.source, id=event.id).on_conflict_do_nothing()
    if not (await session.execute(once)).rowcount:  # type: ignore[attr-defined]  # a statement that changes rows has it
        return None
    programme = event.data.programme
    book = Book()
    quota: Quota | None = None
    spent: Spent | None = None
    balance: Balance | None = None
    if isinstance(event, VoucherIssued):
        enterprise, period = event.data.enterprise.uscc, issue_period(policy, event, now)
        spent = await _locked(session, Spent(programme=programme, period=policy.budget_period_of(period)))
        quota = await _locked(session, Quota(programme=programme, enterprise=enterprise, period=period))
        book.issued_by_period[spent.period] = spent.issued
        book.quotas[enterprise, period] = quota.used
        known = await session.get(Balance, (programme, event.data.voucher_id))
        book.vouchers[event.data.voucher_id] = None if known is None else _held(known)
    elif isinstance(event, VoucherRedeemed):
        balance = await session.get(Balance, (programme, event.data.voucher_id), with_for_update=True)
        book.vouchers[event.data.voucher_id] = None if balance is None else _held(balance)
        book.payables[event.data.provider] = 0
    if inbound.claim is not None:
        claimed = select(Movement.id).where(Movement.programme == programme, Movement.claim == inbound.claim)
        if (await session.exec(claimed)).first() is not None:
            book.claims.add(inbound.claim)
    decision = decide(book, policy, inbound, now)
    if not isinstance(decision, Decision):
        raise LookupError(f"voucher {decision.voucher_id} is not known")  # noqa: TRY004  no type is wrong
    if decision.accepted and balance is not None:
        balance.remaining = decision.voucher_remaining or 0
    if decision.accepted and quota is not None and spent is not None and isinstance(event, VoucherIssued):
        quota.used = decision.quota_used or 0
        spent.issued += decision.granted or 0
        session.add(_balance(event, decision))
    session.add(
        Movement(
            programme=programme, kind=decision.kind, accepted=decision.accepted, code=decision.code, claim=decision.claim,
            voucher_id=decision.voucher_id, amount=decision.amount, event=inbound.raw,
        )
    )  # fmt: skip
    return decision


async def _locked(session: AsyncSession, row: Any) -> Any:
    """Return the row of this key, made where there is none, and locked."""
    table = type(row)
    await session.execute(insert(table).values(row.model_dump()).on_conflict_do_nothing())
    key = tuple(getattr(row, column.name) for column in table.__table__.primary_key.columns)
    return await session.get(table, key, with_for_update=True)


def _held(balance: Balance) -> HeldVoucher:
    kind: Kind = "in_kind" if balance.kind == "in_kind" else "cash"
    return HeldVoucher(kind, balance.enterprise, balance.provider, balance.valid_until, balance.remaining)


def _balance(event: VoucherIssued, decision: Decision) -> Balance:
    return Balance(
        programme=event.data.programme, voucher_id=event.data.voucher_id, kind=event.data.kind,
        enterprise=event.data.enterprise.uscc, provider=event.data.contract.provider, valid_until=decision.valid_until,
        remaining=decision.granted or 0,
    )  # fmt: skip
