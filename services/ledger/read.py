"""Reading a ledger: what a programme, an enterprise, a provider or a voucher stands at, and the entries that say why.

Each answer is of one moment: it is read in one transaction, from one snapshot.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Final, NamedTuple, TypeAlias

import asyncpg

from schemas.policy import Policy
from services.ledger import queries
from services.ledger.book import Book
from services.ledger.database import Connection
from services.ledger.heads import ProgrammeUnknownError
from services.ledger.kept import kind_of_voucher
from services.ledger.policies import Policies
from services.ledger.statements import (
    BudgetAccount,
    EntryRow,
    PayableAccount,
    QuotaAccount,
    Statement,
    Status,
    VoucherAccount,
)

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Closures: TypeAlias = set[tuple[str | None, str]]

_NO_END: Final = 2**63 - 1


async def statement(
    pool: Pool, programme: str, enterprise: str | None = None, provider: str | None = None, now: datetime | None = None
) -> Statement:
    """Return what the programme stands at, by the policy in force.

    With an enterprise or a provider, only what is theirs: an enterprise has quotas and vouchers; a provider a payable, and the
    vouchers whose contract names it or that it redeemed. Raises ProgrammeUnknownError.
    """
    all_ = enterprise is None and provider is None
    async with snapshot(pool) as connection:
        stands = await stand(connection, programme, Policies({}))
        closed = await closures(connection, programme)
        quotas = await quota_accounts(connection, stands, closed, enterprise) if all_ or enterprise else ()
        vouchers = await _vouchers(connection, programme, enterprise, provider)
        payables = await payable_accounts(connection, programme, provider) if all_ or provider else ()
    return stands.statement(closed, quotas, voucher_accounts(vouchers, stands.policy, now), payables)


class Stand(NamedTuple):
    """Where a programme stands at a position, whatever number of entries is before it. ``budgets`` has the newest period last."""

    programme: str
    policy: Policy
    position: int
    head_hash: bytes
    budgets: tuple[BudgetAccount, ...]

    def statement(
        self,
        closed: Closures,
        quotas: tuple[QuotaAccount, ...],
        vouchers: tuple[VoucherAccount, ...],
        payables: tuple[PayableAccount, ...],
    ) -> Statement:
        """Return the statement that this is the beginning of."""
        for_all = tuple(sorted(period for who, period in closed if who is None))
        return Statement(
            self.programme,
            self.policy,
            self.position,
            self.head_hash,
            self.budgets,
            for_all,
            quotas,
            vouchers,
            payables,
        )


async def stand(connection: Connection, programme: str, policies: Policies) -> Stand:
    """Return where the programme stands; ``policies`` remembers the rules it has read. Raises ProgrammeUnknownError."""
    head = await connection.fetchrow(queries.HEAD, programme)
    if head is None:
        raise ProgrammeUnknownError(f"the database has no ledger of {programme!r}: was it opened?")
    policy = await policies.in_force(connection, programme, head["policy"])
    return Stand(
        programme, policy, head["position"], head["hash"], _budgets(policy, json.loads(head["issued"] or "{}"))
    )


async def closures(connection: Connection, programme: str) -> Closures:
    """Return every closed quota as (enterprise, period); None stands for all enterprises."""
    return {(row["enterprise"], row["period"]) for row in await connection.fetch(queries.CLOSURES, programme)}


async def quota_accounts(
    connection: Connection, stands: Stand, closed: Closures, enterprise: str | None = None
) -> tuple[QuotaAccount, ...]:
    """Return every quota that was used or closed, or those of one enterprise, by enterprise and period."""
    used = {(who, period): 0 for who, period in closed if who is not None and enterprise in {None, who}}
    which, names = (queries.OF_ENTERPRISE, [enterprise]) if enterprise is not None else ("", [])
    rows = await connection.fetch(queries.QUOTAS.format(which=which), stands.programme, *names)
    used.update(((row["enterprise"], row["period"]), row["quota_used"]) for row in rows)
    return tuple(quota_account(stands.policy, closed, who, period, fen) for (who, period), fen in sorted(used.items()))


def quota_account(policy: Policy, closed: Closures, enterprise: str, period: str, used: int) -> QuotaAccount:
    """Return the account of a quota of which so many fen were used."""
    limit = None if policy.cap is None else policy.cap.amount
    return QuotaAccount(enterprise, period, used, limit, Book(closures=closed).is_closed(enterprise, period))


async def payable_accounts(
    connection: Connection, programme: str, provider: str | None = None
) -> tuple[PayableAccount, ...]:
    """Return what each provider, or one, redeemed in all."""
    rows = await connection.fetch(queries.PAYABLES, programme, provider)
    return tuple(PayableAccount(row["provider"], row["payable"]) for row in rows)


class Of(NamedTuple):
    """Whose entries, and which: those that everything given here fits."""

    enterprise: str | None = None
    provider: str | None = None
    voucher_id: str | None = None
    code: str | None = None
    refused: bool = False


ANY: Final = Of()
"""All entries."""


async def entries(
    source: "Pool | Connection",
    programme: str,
    of: Of = ANY,
    *,
    after: int = 0,
    until: int = _NO_END,
    limit: int,
) -> list[EntryRow]:
    """Return the first entries after a position, up to another, that are of these names.

    It goes through all entries between the two: ``services.readmodel`` finds those of one without.
    """
    return [EntryRow(*row) for row in await source.fetch(queries.ENTRIES, programme, after, until, *of, limit)]


async def programmes(source: "Pool | Connection") -> list[str]:
    """Return every programme that an entry, a block, a policy or a head is of, in order."""
    return [row["programme"] for row in await source.fetch(queries.PROGRAMMES)]


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Connection]:
    """Give a connection that sees the database as it is at this moment, until the context ends."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        yield connection


async def _vouchers(
    connection: Connection, programme: str, enterprise: str | None, provider: str | None
) -> list[asyncpg.Record]:
    names = [name for name in (enterprise, provider) if name is not None]
    which = queries.OF_ENTERPRISE if enterprise is not None else ""
    if provider is not None:
        which += " " + queries.OF_PROVIDER.format(provider=f"${len(names) + 1}")
    return await connection.fetch(queries.VOUCHERS.format(which=which), programme, *names)


def voucher_accounts(rows: list[asyncpg.Record], policy: Policy, now: datetime | None) -> tuple[VoucherAccount, ...]:
    """Return the accounts of rows of ``queries.VOUCHERS``, as of the day in the programme's time zone."""
    today = (now or datetime.now(UTC)).astimezone(policy.period.zone).date()
    return tuple(
        VoucherAccount(
            row["voucher_id"], row["enterprise"], row["provider"], kind_of_voucher(row["event"]), row["granted"],
            row["remaining"], row["valid_until"], _status(row["remaining"], row["valid_until"], today),
        )
        for row in rows
    )  # fmt: skip


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
