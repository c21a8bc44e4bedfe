"""What one voucher, one enterprise or one provider stands at, however large its ledger is.

Each answer is of one moment. The figures are the ledger's; the read model only helps to find them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.money import format_yuan
from services.ledger import queries, read
from services.ledger.policies import Policies
from services.ledger.read import Of, Pool, snapshot
from services.ledger.statements import EntryRow, Json, PayableAccount, QuotaAccount, VoucherHistory
from services.readmodel import entries, finding
from services.readmodel.entries import LIMIT_MAX, Page, page_of
from services.readmodel.pages import VoucherPage, vouchers_at


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
        theirs = await vouchers_at(connection, stands, positions[:limit], now)
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


def _headroom(quota: QuotaAccount) -> str | None:
    if quota.closed:
        return format_yuan(0)
    return None if quota.limit is None else format_yuan(max(quota.limit - quota.used, 0))
