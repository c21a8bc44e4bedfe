"""The tables, as the migrations make them. Entries, blocks, payables and policies are append-only; heads are the rows that move.

Every key and index has the programme in it: programmes share nothing, and can be spread over servers. It stands behind what is
asked for, so that no other index can serve the question, whatever the planner knows of the table.
"""

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    text,
)
from sqlmodel import Field, SQLModel

# Compared byte by byte: a server's language changes neither an index nor its order.
Plain = Text(collation="C")


def _column(kind: Any, *, null: bool = False) -> Any:
    return Field(sa_column=Column(kind, nullable=null))


def _moment() -> Any:
    return Field(sa_column=Column(DateTime(timezone=True), nullable=False))


ISSUE_STANDS = "kind = 'issued' AND accepted"
REDEMPTION_STANDS = "kind = 'redeemed' AND accepted"
CLOSURE_STANDS = "kind = 'exhausted' AND accepted"


class Entry(SQLModel, table=True):
    """One decided event. Amounts and running figures in fen; the order of columns is that of ``chain.COLUMNS``."""

    __tablename__: ClassVar[Any] = "entry"
    __table_args__ = (
        PrimaryKeyConstraint("programme", "position", name="entry_pkey"),
        # An event counts once, for ever; a contract or a redemption number is used up once.
        Index("entry_key", "key", "programme", unique=True),
        Index("entry_claim", "claim", "programme", unique=True, postgresql_where=text("claim IS NOT NULL")),
        Index("entry_issue", "voucher_id", "programme", unique=True, postgresql_where=text(ISSUE_STANDS)),
        # The newest running figures, a voucher's and an enterprise's in a period. Uses of a voucher are all over their index: by a
        # hash of the voucher's number it is half as large.
        Index(
            "entry_use", text("hashtextextended(voucher_id, 0)"), "position", postgresql_where=text(REDEMPTION_STANDS)
        ),
        Index("entry_quota", "enterprise", "programme", "period", "position", postgresql_where=text(ISSUE_STANDS)),
        Index("entry_closure", "programme", "position", postgresql_where=text(CLOSURE_STANDS)),
        CheckConstraint("position >= 1", name="entry_position"),
        CheckConstraint("kind IN ('issued', 'redeemed', 'exhausted')", name="entry_kind"),
        CheckConstraint("accepted OR (code IS NOT NULL AND granted IS NULL AND claim IS NULL)", name="entry_outcome"),
        CheckConstraint("amount > 0 AND granted > 0 AND granted <= amount", name="entry_amount"),
        CheckConstraint("voucher_remaining >= 0 AND payable >= 0 AND quota_used >= 0", name="entry_figures"),
        # What was granted before a rule was tightened stays; nothing is granted past it.
        CheckConstraint("granted IS NULL OR quota_limit IS NULL OR quota_used <= quota_limit", name="entry_cap"),
        CheckConstraint("granted IS NULL OR budget_remaining >= 0", name="entry_budget"),
    )

    programme: str = _column(Plain)
    position: int = _column(BigInteger)
    recorded_at: datetime = _moment()
    kind: str = _column(Plain)
    accepted: bool = _column(Boolean)
    code: str | None = _column(Plain, null=True)
    key: bytes = _column(LargeBinary)
    claim: bytes | None = _column(LargeBinary, null=True)
    voucher_id: str | None = _column(Plain, null=True)
    enterprise: str | None = _column(Plain, null=True)
    provider: str | None = _column(Plain, null=True)
    period: str = _column(Plain)
    amount: int | None = _column(BigInteger, null=True)
    granted: int | None = _column(BigInteger, null=True)
    valid_until: date | None = _column(Date, null=True)
    voucher_remaining: int | None = _column(BigInteger, null=True)
    quota_used: int | None = _column(BigInteger, null=True)
    quota_limit: int | None = _column(BigInteger, null=True)
    budget_remaining: int | None = _column(BigInteger, null=True)
    payable: int | None = _column(BigInteger, null=True)
    event: bytes = _column(LargeBinary)
    leaf: bytes = _column(LargeBinary)


class Block(SQLModel, table=True):
    """One committed batch: a range of positions, the policy it was decided by, and its place in the hash chain."""

    __tablename__: ClassVar[Any] = "block"
    __table_args__ = (PrimaryKeyConstraint("programme", "last", name="block_pkey"),)

    programme: str = _column(Plain)
    first: int = _column(BigInteger)
    last: int = _column(BigInteger)
    recorded_at: datetime = _moment()
    policy: bytes = _column(LargeBinary)
    issued: str = _column(Plain)
    """What was issued of the budget after this block, in fen by period: JSON with sorted keys."""
    root: bytes = _column(LargeBinary)
    previous: bytes = _column(LargeBinary)
    hash: bytes = _column(LargeBinary)


class PayableRow(SQLModel, table=True):
    """What a provider had redeemed in all, in fen, after a block in which it redeemed: its newest figure without a look at the entries."""

    __tablename__: ClassVar[Any] = "payable"
    __table_args__ = (
        PrimaryKeyConstraint("programme", "last", "provider", name="payable_pkey"),
        Index("payable_newest", "provider", "programme", "last"),
    )

    programme: str = _column(Plain)
    last: int = _column(BigInteger)
    """The position that the block ends at."""
    provider: str = _column(Plain)
    payable: int = _column(BigInteger)


class PolicyRow(SQLModel, table=True):
    """A policy that entries were decided by, word for word."""

    __tablename__: ClassVar[Any] = "policy"
    __table_args__ = (PrimaryKeyConstraint("programme", "digest", name="policy_pkey"),)

    programme: str = _column(Plain)
    digest: bytes = _column(LargeBinary)
    revision: int = _column(Integer)
    content: str = _column(Plain)


class Head(SQLModel, table=True):
    """A programme's newest position: whoever holds this row decides next."""

    __tablename__: ClassVar[Any] = "head"
    __table_args__ = (
        PrimaryKeyConstraint("programme", name="head_pkey"),
        # Room on the page: the row is updated with every batch, in place.
        {"postgresql_with": {"fillfactor": "50"}},
    )

    programme: str = _column(Plain)
    position: int = _column(BigInteger)
    hash: bytes = _column(LargeBinary)
    recorded_at: datetime = _moment()
    policy: bytes = _column(LargeBinary)
    revision: int = _column(Integer)
    parked: int = _column(BigInteger)
    """How many redemptions wait: who holds the head knows without a look whether any do."""


class ParkedRow(SQLModel, table=True):
    """A redemption that waits for its voucher, beside the ledger."""

    __tablename__: ClassVar[Any] = "parked"
    __table_args__ = (
        PrimaryKeyConstraint("key", "programme", name="parked_pkey"),
        Index("parked_voucher", "voucher_id", "programme"),
        Index("parked_since", "programme", "parked_at"),
        # How many of a provider wait.
        Index("parked_provider", "provider", "programme"),
    )

    programme: str = _column(Plain)
    key: bytes = _column(LargeBinary)
    voucher_id: str = _column(Plain)
    provider: str = _column(Plain)
    event: bytes = _column(LargeBinary)
    parked_at: datetime = _moment()
    place: int = _column(Integer)
    """Its place among those parked at the same moment: they are decided in the order in which they came."""
