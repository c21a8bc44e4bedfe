"""Reading a ledger: what a programme, an enterprise, a provider or a voucher stands at, and the entries that say why.

Each answer is of one moment: it is read in one transaction, from one snapshot.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Final, TypeAlias

import asyncpg

from schemas.decoding import decode
from schemas.events import ISSUED, VoucherIssued
from schemas.policy import Policy
from services.ledger import queries
from services.ledger.book import Book
from services.ledger.database import Connection
from services.ledger.heads import ProgrammeUnknownError
from services.ledger.policies import Policies
from services.ledger.statements import (
    BudgetAccount,
    EntryRow,
    PayableAccount,
    QuotaAccount,
    Statement,
    Status,
    VoucherAccount,
    VoucherHistory,
)

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_NO_END: Final = 2**63 - 1


async def statement(
    pool: Pool, programme: str, enterprise: str | None = None, provider: str | None = None, now: datetime | None = None
) -> Statement:
    """Return what the programme stands at, by the policy in force.

    With an enterprise or a provider, only what is theirs: an enterprise has quotas and vouchers; a provider a payable, and the
    vouchers whose contract names it or that it redeemed. Raises ProgrammeUnknownError.
    """
    all_ = enterprise is None and provider is None
    async with _snapshot(pool) as connection:
        head = await _head(connection, programme)
        policy = await Policies({}).in_force(connection, programme, head["policy"])
        closures = {(row["enterprise"], row["period"]) for row in await connection.fetch(queries.CLOSURES, programme)}
        quotas = await _quotas(connection, programme, policy, closures, enterprise) if all_ or enterprise else ()
        vouchers = await _vouchers(connection, programme, enterprise, provider)
        payables = await connection.fetch(queries.PAYABLES, programme, provider) if all_ or provider else ()
    return Statement(
        programme=programme,
        policy=policy,
        position=head["position"],
        head_hash=head["hash"],
        budgets=_budgets(policy, json.loads(head["issued"] or "{}")),
        closed_for_all=tuple(sorted(period for who, period in closures if who is None)),
        quotas=quotas,
        vouchers=_voucher_accounts(vouchers, policy, now),
        payables=tuple(PayableAccount(row["provider"], row["payable"]) for row in payables),
    )


async def voucher(pool: Pool, programme: str, voucher_id: str, now: datetime | None = None) -> VoucherHistory | None:
    """Return the voucher with every entry that names it, None where there is none. Raises ProgrammeUnknownError."""
    async with _snapshot(pool) as connection:
        head = await _head(connection, programme)
        policy = await Policies({}).in_force(connection, programme, head["policy"])
        rows = await connection.fetch(queries.VOUCHERS.format(which=queries.OF_VOUCHER), programme, voucher_id)
        waiting = await connection.fetchval(queries.WAITING, programme, voucher_id)
        named = await connection.fetch(queries.ENTRIES, programme, 0, _NO_END, None, None, voucher_id, None)
    if not named and not waiting:
        return None
    account = next(iter(_voucher_accounts(rows, policy, now)), None)
    return VoucherHistory(programme, voucher_id, account, waiting, tuple(EntryRow(*row) for row in named))


async def entries(
    pool: Pool,
    programme: str,
    *,
    after: int = 0,
    until: int = _NO_END,
    limit: int,
    enterprise: str | None = None,
    provider: str | None = None,
    voucher_id: str | None = None,
) -> list[EntryRow]:
    """Return the first entries after a position, up to another, that are of the enterprise, provider or voucher.

    Entries stay, so those up to the position of a statement go with it, whatever was appended since.
    """
    rows = await pool.fetch(queries.ENTRIES, programme, after, until, enterprise, provider, voucher_id, limit)
    return [EntryRow(*row) for row in rows]


async def programmes(source: "Pool | Connection") -> list[str]:
    """Return every programme that an entry, a block, a policy or a head is of, in order."""
    return [row["programme"] for row in await source.fetch(queries.PROGRAMMES)]


@asynccontextmanager
async def _snapshot(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        yield connection


async def _head(connection: Connection, programme: str) -> asyncpg.Record:
    head = await connection.fetchrow(queries.HEAD, programme)
    if head is None:
        raise ProgrammeUnknownError(f"the database has no ledger of {programme!r}: was it opened?")
    return head


async def _quotas(
    connection: Connection,
    programme: str,
    policy: Policy,
    closures: set[tuple[str | None, str]],
    enterprise: str | None,
) -> tuple[QuotaAccount, ...]:
    used = {(who, period): 0 for who, period in closures if who is not None and enterprise in {None, who}}
    which, names = (queries.OF_ENTERPRISE, [enterprise]) if enterprise is not None else ("", [])
    rows = await connection.fetch(queries.QUOTAS.format(which=which), programme, *names)
    used.update(((row["enterprise"], row["period"]), row["quota_used"]) for row in rows)
    book = Book(closures=closures)
    limit = None if policy.cap is None else policy.cap.amount
    return tuple(
        QuotaAccount(who, period, fen, limit, book.is_closed(who, period))
        for (who, period), fen in sorted(used.items())
    )


async def _vouchers(
    connection: Connection, programme: str, enterprise: str | None, provider: str | None
) -> list[asyncpg.Record]:
    names = [name for name in (enterprise, provider) if name is not None]
    which = queries.OF_ENTERPRISE if enterprise is not None else ""
    if provider is not None:
        which += " " + queries.OF_PROVIDER.format(provider=f"${len(names) + 1}")
    return await connection.fetch(queries.VOUCHERS.format(which=which), programme, *names)


def _voucher_accounts(rows: list[asyncpg.Record], policy: Policy, now: datetime | None) -> tuple[VoucherAccount, ...]:
    today = (now or datetime.now(UTC)).astimezone(policy.period.zone).date()
    return tuple(
        VoucherAccount(
            row["voucher_id"], row["enterprise"], row["provider"], _issue(row["event"]).data.kind, row["granted"],
            row["remaining"], row["valid_until"], _status(row["remaining"], row["valid_until"], today),
        )
        for row in rows
    )  # fmt: skip


def _issue(event: bytes) -> VoucherIssued:
    issue = decode(event, ISSUED)
    if not isinstance(issue, VoucherIssued):
        raise AssertionError("an entry of the kind 'issued' keeps an issue")  # noqa: TRY004  not a caller's mistake
    return issue


def _status(remaining: int, valid_until: date | None, today: date) -> Status:
    if remaining == 0:
        return "used"
    return "expired" if valid_until is not None and valid_until < today else "active"


def _budgets(policy: Policy, issued: Mapping[str, int]) -> tuple[BudgetAccount, ...]:
    """Return an account for each period that has entries; where none has, for the one that the programme begins with."""
    total = policy.budget.amount
    if policy.budget.per == "programme":
        return (BudgetAccount("programme", total, issued.get("programme", 0)),)
    years = sorted(issued.keys() - {"programme"}) or [policy.period_of(policy.period.opens_on)]
    return tuple(BudgetAccount(year, total, issued.get(year, 0)) for year in years)
