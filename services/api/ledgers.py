"""Reading ledgers: programmes, statements, quotas, vouchers, enterprises, providers, entries."""

from dataclasses import replace

from fastapi import APIRouter

from services.api import access, told, told_of_ledgers
from services.api.access import Known
from services.api.answers import Document
from services.api.parameters import (
    LIMIT,
    After,
    Enterprise,
    Limit,
    OfCode,
    Programme,
    Provider,
    QuotaAfter,
    Refused,
    UsccPath,
    Voucher,
    VoucherPath,
)
from services.api.problems import ProblemError
from services.api.resources import Resources, Shared
from services.ledger.read import Of
from services.ledger.statements import VoucherHistory
from services.readmodel import accounts, overview, pages
from services.readmodel.entries import LIMIT_MAX, page

router = APIRouter(prefix="/v1/programmes", tags=["ledgers"], default_response_class=Document)


@router.get("", responses=told.answers(told_of_ledgers.Programmes))
async def programmes(caller: Known, shared: Shared) -> Document:
    """List the programmes that the caller may read, or that accredit them as a provider: their rules in short, and where they stand."""
    found = await overview.programmes(shared.pool, shared.known)
    own = caller.providers()
    return Document({
        "programmes": [
            one.to_json() for one in found
            if caller.reads(one.policy.code) or not own.isdisjoint(one.policy.providers.codes)
        ]
    })  # fmt: skip


@router.get("/{code}/statement", responses=told.answers(told_of_ledgers.Statement, 404))
async def statement(code: Programme, caller: Known, shared: Shared, limit: Limit = LIMIT) -> Document:
    """Tell a programme's budget, closures and payables, and the first of its quotas and vouchers; `next` says what to go on after."""
    access.require_reader(caller, code)
    found = await pages.statement(shared.pool, code, shared.known, limit=limit)
    more = {"quotas": _quota_cursor(found.quotas_next), "vouchers": found.vouchers_next}
    return Document({**found.statement.to_json(), "next": more})


@router.get("/{code}/quotas", responses=told.answers(told_of_ledgers.Quotas, 404))
async def quotas(
    code: Programme, caller: Known, shared: Shared, after: QuotaAfter = "", limit: Limit = LIMIT
) -> Document:
    """List a programme's quotas, by enterprise and period."""
    access.require_reader(caller, code)
    enterprise, _, period = after.rpartition("/")
    found = await pages.quotas(shared.pool, code, shared.known, after=(enterprise, period), limit=limit)
    return Document({"quotas": [quota.to_json() for quota in found.quotas], "next": _quota_cursor(found.next)})


@router.get("/{code}/vouchers", responses=told.answers(told_of_ledgers.Vouchers, 404))
async def vouchers(code: Programme, caller: Known, shared: Shared, after: After = 0, limit: Limit = LIMIT) -> Document:
    """List a programme's vouchers in the order in which they were issued; `after` and `next` are positions."""
    access.require_reader(caller, code)
    found = await pages.vouchers(shared.pool, code, shared.known, after=after, limit=limit)
    return Document({"vouchers": [voucher.to_json() for voucher in found.vouchers], "next": found.next})


@router.get("/{code}/vouchers/{voucher_id}", responses=told.answers(told_of_ledgers.VoucherState, 404))
async def voucher(
    code: Programme, voucher_id: VoucherPath, caller: Known, shared: Shared, limit: Limit = LIMIT
) -> Document:
    """Tell a voucher's state, and the first of the entries that name it.

    A provider sees those of its contracts and those that it redeemed, with its own entries.
    """
    found = None
    if caller.reads(code):
        found = await accounts.voucher(shared.pool, code, voucher_id, shared.known, limit=limit)
    elif own := caller.providers():
        found = await _of_providers(code, voucher_id, shared, limit, own)
    else:
        access.require_reader(caller, code)
    if found is None:
        raise ProblemError(404, "voucher_unknown", f"{code} has no voucher {voucher_id!r}, and no entry that names it.")
    return Document({**found.to_json(), "next": found.next})


async def _of_providers(
    code: str, voucher_id: str, shared: Resources, limit: int, own: frozenset[str]
) -> VoucherHistory | None:
    """Return what one of these providers may see: nothing, unless the contract is theirs or they redeemed some of it."""
    for uscc in sorted(own):
        found = await accounts.voucher(shared.pool, code, voucher_id, shared.known, provider=uscc, limit=LIMIT_MAX)
        if found is not None and found.account is not None:
            uses = (entry.accepted and entry.kind == "redeemed" for entry in found.entries)
            if found.account.provider == uscc or any(uses):
                shown = found.entries[:limit]
                return replace(
                    found, entries=shown, next=shown[-1].position if len(shown) < len(found.entries) else found.next
                )
    return None


@router.get("/{code}/enterprises/{uscc}", responses=told.answers(told_of_ledgers.Enterprise, 404))
async def enterprise(
    code: Programme, uscc: UsccPath, caller: Known, shared: Shared, after: After = 0, limit: Limit = LIMIT
) -> Document:
    """Tell an enterprise's quotas with their headroom, its vouchers (after a position), and what was last refused to it."""
    access.require_reader(caller, code)
    found = await accounts.enterprise(shared.pool, code, uscc, shared.known, after=after, limit=limit)
    return Document(found.to_json())


@router.get("/{code}/providers/{uscc}", responses=told.answers(told_of_ledgers.Provider, 404))
async def provider(
    code: Programme, uscc: UsccPath, caller: Known, shared: Shared, after: After = 0, limit: Limit = LIMIT
) -> Document:
    """Tell what a provider redeemed in all, and its entries after a position: its redemptions, and the issues whose contract names it."""
    access.require_provider(caller, code, uscc)
    found = await accounts.provider(shared.pool, code, uscc, shared.known, after=after, limit=limit)
    return Document(found.to_json())


@router.get("/{code}/entries", responses=told.answers(told_of_ledgers.Entries, 404))
async def entries(
    code: Programme, caller: Known, shared: Shared, after: After = 0, limit: Limit = LIMIT,
    enterprise: Enterprise = None, provider: Provider = None, voucher: Voucher = None, of_code: OfCode = None,
    refused: Refused = False,
) -> Document:  # fmt: skip
    """List entries in the order of their positions. A page may be short, or empty, and still have a `next`. A provider sees its own."""
    provider = access.only_provider(caller, code, provider)
    of = Of(enterprise, provider, voucher, of_code, refused)
    found = await page(shared.pool, code, of, after=after, limit=limit)
    rows = [entry.to_json() for entry in found.entries]
    return Document({"programme": code, "position": found.position, "entries": rows, "next": found.next})


def _quota_cursor(after: tuple[str, str] | None) -> str | None:
    return None if after is None else "/".join(after)
