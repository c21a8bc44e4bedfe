"""The tables beside the ledger, append-only like it: who acted on dead letters, and when a ledger was last verified."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from services.ledger.tables import Plain


def _column(kind: Any, *, null: bool = False) -> Any:
    return Field(sa_column=Column(kind, nullable=null))


def _number() -> Any:
    return Field(sa_column=Column(BigInteger, Identity(always=True), nullable=False))


def _now() -> Any:
    return Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")))


class ActRow(SQLModel, table=True):
    """What someone was going to do with a dead letter."""

    __tablename__: ClassVar[Any] = "act"
    __table_args__ = (
        PrimaryKeyConstraint("number", name="act_pkey"),
        CheckConstraint("through IN ('monitor', 'command line')", name="act_through"),
        CheckConstraint("action IN ('replay', 'discard')", name="act_action"),
    )

    number: int = _number()
    at: datetime = _now()
    who: str = _column(Plain)
    through: str = _column(Plain)
    action: str = _column(Plain)
    letter_id: str = _column(Plain)
    stream: str = _column(Plain)
    entry_id: str = _column(Plain)
    reason: str = _column(Plain)
    event_sha256: bytes = _column(LargeBinary)


class ActOutcomeRow(SQLModel, table=True):
    """What became of an act: done, or the letter was gone already. An act without one was cut short."""

    __tablename__: ClassVar[Any] = "act_outcome"
    __table_args__ = (
        PrimaryKeyConstraint("number", name="act_outcome_pkey"),
        ForeignKeyConstraint(["number"], ["act.number"], name="act_outcome_of"),
    )

    number: int = Field(sa_column=Column(BigInteger, autoincrement=False, nullable=False))
    at: datetime = _now()
    done: bool = _column(Boolean)


class VerificationRow(SQLModel, table=True):
    """What the verification of a programme's ledger came to."""

    __tablename__: ClassVar[Any] = "verification"
    __table_args__ = (
        PrimaryKeyConstraint("number", name="verification_pkey"),
        Index("verification_newest", "programme", "number"),
    )

    number: int = _number()
    programme: str = _column(Plain)
    began_at: datetime = _column(DateTime(timezone=True))
    ended_at: datetime = _now()
    entries: int = _column(BigInteger)
    ok: bool = _column(Boolean)
    first_bad_position: int | None = _column(BigInteger, null=True)
    reason: str | None = _column(Plain, null=True)
