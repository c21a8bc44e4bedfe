"""What one voucher, one enterprise or one provider stands at, and a programme's statement by pages, however large its ledger is.

Each answer is of one moment. The figures are the ledger's; the read model only helps to find them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from schemas.money import format_yuan
from services.ledger import queries, read
from services.ledger.database import Connection
from services.ledger.policies import Policies
from services.ledger.read import Closures, Of, Pool, Stand, snapshot
from services.ledger.statements import (
    EntryRow,
    Json,
    PayableAccount,
    QuotaAccount,
    Statement,
    VoucherAccount,
    VoucherHistory,
)
from services.readmodel import entries, finding
from services.readmodel.entries import LIMIT_MAX, Page, page_of
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


@dataclass(frozen=True, slots=True)
class EnterpriseAccount:
    """What an enterprise stands at: its quotas, with what may still be granted in each; its vouchers; its newest refusals."""

    programme: str
    position: int
    enterprise: str
    quotas: tuple[QuotaAccount, ...]
    vouchers: VoucherPage
    refusals: tuple[EntryRow, ...]

    def to_json(self) -> Json:
        """Return the account as JSON has it; ``headroom`` is null without a cap."""
        return {
            "programme": self.programme,
            "position": self.position,
            "enterprise": self.enterprise,
            "quotas": [{**quota.to_json(), "headroom": _headroom(quota)} for quota in self.quotas],
            "vouchers": [voucher.to_json() for voucher in self.vouchers.vouchers],
            "vouchers_next": self.vouchers.next,
            "refusals": [entry.to_json() for entry in self.refusals],
        }


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """What a provider stands at: whether it is accredited, what it redeemed in all (in fen), and a page of its entries."""

    programme: str
    provider: str
    accredited: bool
    payable: int
    page: Page

    def to_json(self) -> Json:
        """Return the account as JSON has it."""
        return {
            "programme": self.programme,
            "position": self.page.position,
            "provider": self.provider,
            "accredited": self.accredited,
            "payable": format_yuan(self.payable),
            "entries": [entry.to_json() for entry in self.page.entries],
            "next": self.page.next,
        }


async def voucher(
    pool: Pool,
    programme: str,
    voucher_id: str,
    policies: Policies,
    *,
    provider: str | None = None,
    limit: int | None = None,
    now: datetime | None = None,
) -> VoucherHistory | None:
    """Return the voucher with the entries that name it, all or so many of the first; None where there is nothing of it.

    With a provider only the entries of that one. Raises ProgrammeUnknownError.
    """
    async with snapshot(pool) as connection:
        stands = await read.stand(connection, programme, policies)
        rows = await connection.fetch(queries.VOUCHERS.format(which=queries.OF_VOUCHER), programme, voucher_id)
        waiting = await connection.fetchval(queries.WAITING, programme, voucher_id)
        of, named = Of(voucher_id=voucher_id, provider=provider), list[EntryRow]()
        after: int | None = 0
        while after is not None and (limit is None or len(named) < limit):
            wanted = LIMIT_MAX if limit is None else limit - len(named)
            page = await page_of(connection, programme, of, after=after, limit=wanted)
            named += page.entries
            after = page.next
    if not named and not waiting:
        return None
    account = next(iter(read.voucher_accounts(rows, stands.policy, now)), None)
    return VoucherHistory(programme, voucher_id, account, waiting, tuple(named), after)


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


async def enterprise(
    pool: Pool,
    programme: str,
    uscc: str,
    policies: Policies,
    *,
    after: int = 0,
    limit: int,
    now: datetime | None = None,
) -> EnterpriseAccount:
    """Return what an enterprise stands at, with its vouchers issued after a position. Raises ProgrammeUnknownError.

    While the programme is open there is a quota of the present period, also where nothing of it was used.
    """
    moment = now or datetime.now(UTC)
    async with snapshot(pool) as connection:
        stands = await read.stand(connection, programme, policies)
        closed = await read.closures(connection, programme)
        found = await read.quota_accounts(connection, stands, closed, uscc)
        issued = await connection.fetch(queries.ISSUED_TO, programme, uscc, after, limit + 1)
        positions = [row["position"] for row in issued]
        theirs = await _at(connection, stands, positions[:limit], now)
        _, cursor = await entries.stand(connection, programme)
        newest = await finding.newest_refusals(connection, programme, uscc, cursor, limit)
        refused = await connection.fetch(queries.ENTRIES_AT, programme, newest, *Of(), limit)
    policy, today = stands.policy, moment.astimezone(stands.policy.period.zone).date()
    present = policy.period_of(today)
    if policy.period.opens_on <= today <= policy.period.closes_on and present not in {one.period for one in found}:
        found = (*found, read.quota_account(policy, closed, uscc, present, 0))
    page = VoucherPage(theirs, positions[limit - 1] if len(positions) > limit else None)
    return EnterpriseAccount(
        programme, stands.position, uscc, found, page, tuple(EntryRow(*row) for row in reversed(refused))
    )


async def provider(
    pool: Pool, programme: str, uscc: str, policies: Policies, *, after: int = 0, limit: int
) -> ProviderAccount:
    """Return what a provider stands at, with its entries after a position. Raises ProgrammeUnknownError."""
    async with snapshot(pool) as connection:
        stands = await read.stand(connection, programme, policies)
        payables: tuple[PayableAccount, ...] = await read.payable_accounts(connection, programme, uscc)
        page = await page_of(connection, programme, Of(provider=uscc), after=after, limit=limit)
    amount = payables[0].amount if payables else 0
    return ProviderAccount(programme, uscc, uscc in stands.policy.providers.codes, amount, page)


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
        return VoucherPage(await _at(connection, stands, positions, now), seen)
    if len(positions) <= limit:
        left = limit + 1 - len(positions)
        rows = await connection.fetch(queries.ISSUED_AFTER, stands.programme, seen, head, left)
        positions += [row["position"] for row in rows]
    shown = await _at(connection, stands, positions[:limit], now)
    return VoucherPage(shown, positions[limit - 1] if len(positions) > limit else None)


async def _at(
    connection: Connection, stands: Stand, positions: list[int], now: datetime | None
) -> tuple[VoucherAccount, ...]:
    rows = await connection.fetch(queries.VOUCHERS_AT, stands.programme, positions)
    return read.voucher_accounts(rows, stands.policy, now)


def _headroom(quota: QuotaAccount) -> str | None:
    if quota.closed:
        return format_yuan(0)
    return None if quota.limit is None else format_yuan(max(quota.limit - quota.used, 0))
