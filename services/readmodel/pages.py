"""A programme's statement by pages, however large its ledger is.

Each answer is of one moment. The figures are the ledger's; the read model only helps to find them.
"""

from datetime import datetime
from typing import Final, NamedTuple

from services.ledger import queries, read
from services.ledger.database import Connection
from services.ledger.policies import Policies
from services.ledger.read import Closures, Pool, Stand, snapshot
from services.ledger.statements import QuotaAccount, Statement, VoucherAccount
from services.readmodel import entries, finding
from services.readmodel.finding import Range

_ACCEPTED: Final = "AND accepted"
_ROUNDS_MAX: Final = 5
"""Times that a page of vouchers goes on where it found issues, but none that stand."""


class VoucherPage(NamedTuple):
    """Vouchers in the order of their issues; ``next`` is the position to go on after, None when there are no more."""

    vouchers: tuple[VoucherAccount, ...]
    next: int | None


class QuotaPage(NamedTuple):
    """Quotas by enterprise and period; ``next`` is the last one's (enterprise, period), None when there are no more."""

    quotas: tuple[QuotaAccount, ...]
    next: tuple[str, str] | None


class StatementPage(NamedTuple):
    """A statement with so many quotas and vouchers as were asked for, and where there are more, what to go on after."""

    statement: Statement
    quotas_next: tuple[str, str] | None
    vouchers_next: int | None


async def statement(
    pool: Pool, programme: str, policies: Policies, *, limit: int, now: datetime | None = None
) -> StatementPage:
    """Return what the programme stands at, with the first of its quotas and vouchers. Raises ProgrammeUnknownError."""
    async with snapshot(pool) as connection:
        stands = await read.stand(connection, programme, policies)
        closed = await read.closures(connection, programme)
        quotas = await _quotas(connection, stands, closed, ("", ""), limit)
        vouchers = await _vouchers(connection, stands, 0, limit, now)
        payables = await read.payable_accounts(connection, programme)
    found = stands.statement(closed, quotas.quotas, vouchers.vouchers, payables)
    return StatementPage(found, quotas.next, vouchers.next)


async def quotas(pool: Pool, programme: str, policies: Policies, *, after: tuple[str, str], limit: int) -> QuotaPage:
    """Return the quotas after one of them, by enterprise and period. Raises ProgrammeUnknownError."""
    async with snapshot(pool) as connection:
        stands = await read.stand(connection, programme, policies)
        return await _quotas(connection, stands, await read.closures(connection, programme), after, limit)


async def vouchers(
    pool: Pool, programme: str, policies: Policies, *, after: int, limit: int, now: datetime | None = None
) -> VoucherPage:
    """Return the vouchers that were issued after a position, in the order of their issues. Raises ProgrammeUnknownError."""
    async with snapshot(pool) as connection:
        stands = await read.stand(connection, programme, policies)
        return await _vouchers(connection, stands, after, limit, now)


async def _quotas(
    connection: Connection, stands: Stand, closed: Closures, after: tuple[str, str], limit: int
) -> QuotaPage:
    rows = await connection.fetch(queries.QUOTAS_AFTER, stands.programme, *after, limit + 1)
    used = {(row["enterprise"], row["period"]): row["quota_used"] for row in rows}
    # Closed ones that nothing was used of come between them; after the last one read there may be others that were used.
    last = max(used) if len(rows) > limit else None
    for who, period in closed:
        if who is not None and (who, period) > after and (last is None or (who, period) < last):
            used.setdefault((who, period), 0)
    names = sorted(used)
    accounts = tuple(read.quota_account(stands.policy, closed, *name, used[name]) for name in names[:limit])
    return QuotaPage(accounts, names[limit - 1] if len(names) > limit else None)


async def _vouchers(connection: Connection, stands: Stand, after: int, limit: int, now: datetime | None) -> VoucherPage:
    """Go from one chunk that has issues to the next, and after the read model's cursor from entry to entry."""
    head, cursor = await entries.stand(connection, stands.programme)
    positions: list[int] = []
    seen = after
    for _ in range(_ROUNDS_MAX):
        if seen >= cursor or len(positions) > limit:
            break
        within = Range(seen, cursor, limit + 1 - len(positions))
        found = await finding.present(connection, stands.programme, "kind", "issued", within, _ACCEPTED)
        positions += found.positions
        seen = found.until
    if len(positions) <= limit and seen < cursor:
        return VoucherPage(await vouchers_at(connection, stands, positions, now), seen)
    if len(positions) <= limit:
        left = limit + 1 - len(positions)
        rows = await connection.fetch(queries.ISSUED_AFTER, stands.programme, seen, head, left)
        positions += [row["position"] for row in rows]
    shown = await vouchers_at(connection, stands, positions[:limit], now)
    return VoucherPage(shown, positions[limit - 1] if len(positions) > limit else None)


async def vouchers_at(
    connection: Connection, stands: Stand, positions: list[int], now: datetime | None
) -> tuple[VoucherAccount, ...]:
    """Return the vouchers that were issued at these positions, in their order."""
    rows = await connection.fetch(queries.VOUCHERS_AT, stands.programme, positions)
    return read.voucher_accounts(rows, stands.policy, now)
