"""``statement`` and ``voucher``: what a ledger says, for people and for machines."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, TypeVar

import typer

from schemas.money import format_yuan
from services.cli.app import FOUND_WRONG, CommandError, Json, app, do, out, print_json, print_table, settings
from services.ledger import read
from services.ledger.database import connect
from services.ledger.policies import Policies
from services.ledger.read import Of
from services.ledger.statements import EntryRow, Statement, VoucherHistory
from services.readmodel import accounts
from services.readmodel.entries import LIMIT_MAX, page

Result = TypeVar("Result")

Code = Annotated[str, typer.Argument(metavar="CODE", help="The programme, such as chengdu-2024.")]

ENTRY_COLUMNS = (
    "position>", "recorded at", "kind", "outcome", "voucher", "enterprise or provider", "amount>", "granted>", "after it"
)  # fmt: skip


@app.command()
def statement(
    code: Code,
    *,
    enterprise: Annotated[str | None, typer.Option(metavar="USCC", help="Only this enterprise's.")] = None,
    provider: Annotated[str | None, typer.Option(metavar="USCC", help="Only this provider's.")] = None,
    entries: Annotated[bool, typer.Option("--entries", help="With the entries, oldest first.")] = False,
    as_json: Json = False,
) -> None:
    """Show a programme's budget, quotas, vouchers and payables, as of its newest position."""

    async def ask(pool: read.Pool) -> tuple[Statement, list[EntryRow]]:
        found = await read.statement(pool, code, enterprise, provider)
        rows = await _entries(pool, found, enterprise, provider) if entries else []
        return found, rows

    found, rows = do(_asked(ask))
    if as_json:
        print_json(found.to_json() | ({"entries": [row.to_json() for row in rows]} if entries else {}))
        return
    _print_statement(found)
    if entries:
        _print_entries(rows)


@app.command()
def voucher(
    code: Code,
    voucher_id: Annotated[str, typer.Argument(metavar="VOUCHER_ID", help="The voucher's id.")],
    *,
    as_json: Json = False,
) -> None:
    """Show a voucher's state, and every entry that names it."""
    found = do(_asked(lambda pool: accounts.voucher(pool, code, voucher_id, Policies({}))))
    if found is None:
        raise CommandError(f"{code} has no voucher {voucher_id!r}, and no entry that names it", FOUND_WRONG)
    if as_json:
        print_json(found.to_json())
        return
    _print_voucher(found)


async def _asked(ask: Callable[[read.Pool], Awaitable[Result]]) -> Result:
    pool = await connect(settings(needs_redis=False).require_database_url(), connections_max=1)
    try:
        return await ask(pool)
    finally:
        await pool.close()


async def _entries(pool: read.Pool, found: Statement, enterprise: str | None, provider: str | None) -> list[EntryRow]:
    rows: list[EntryRow] = []
    of, after = Of(enterprise, provider), 0
    while True:
        some = await page(pool, found.programme, of, after=after, limit=LIMIT_MAX)
        # Entries stay: those up to the statement's position go with it, whatever was appended since.
        rows += (row for row in some.entries if row.position <= found.position)
        if some.next is None or some.next >= found.position:
            return rows
        after = some.next


def _print_statement(found: Statement) -> None:
    names = found.policy.names
    providers = {provider.uscc: provider.names.zh for provider in found.policy.providers.accredited}
    _print_line(f"{names.zh}  {names.en}  ({found.programme}, revision {found.policy.revision})")
    _print_line(f"position {found.position}  head {found.head_hash.hex()}")
    for period in found.closed_for_all:
        _print_line(f"closed for all: {period}")
    _print_if_any("Budget", ("period", "total>", "issued>", "remaining>"), (
        (one.period, *one.to_json().values()) for one in found.budgets
    ))  # fmt: skip
    _print_if_any("Quotas", ("enterprise", "period", "used>", "limit>", ""), (
        (one.enterprise, one.period, _yuan(one.used), _yuan(one.limit), "closed" if one.closed else "")
        for one in found.quotas
    ))  # fmt: skip
    _print_if_any("Vouchers", ("voucher", "enterprise", "kind", "granted>", "remaining>", "status", "valid until"), (
        (one.voucher_id, one.enterprise, one.kind, _yuan(one.granted), _yuan(one.remaining), one.status, one.valid_until)
        for one in found.vouchers
    ))  # fmt: skip
    _print_if_any("Payables", ("provider", "name", "amount>"), (
        (one.provider, providers.get(one.provider), _yuan(one.amount)) for one in found.payables
    ))  # fmt: skip


def _print_voucher(found: VoucherHistory) -> None:
    account = found.account
    if account is None:
        _print_line(f"{found.programme}: voucher {found.voucher_id} was not issued")
    else:
        until = f", valid until {account.valid_until}" if account.valid_until else ""
        _print_line(
            f"{found.programme}: voucher {account.voucher_id} is {account.status}: {_yuan(account.remaining)} left of "
            f"{_yuan(account.granted)} ({account.kind}){until}"
        )
        _print_line(f"enterprise {account.enterprise}, contract with provider {account.provider}")
    if found.waiting:
        _print_line(f"{found.waiting} redemptions wait for it to be issued")
    _print_entries(found.entries)


def _print_entries(rows: Sequence[EntryRow]) -> None:
    _print_if_any("Entries", ENTRY_COLUMNS, (_cells(row) for row in rows))


def _cells(row: EntryRow) -> tuple[object, ...]:
    left = {
        "voucher": row.voucher_remaining,
        "quota used": row.quota_used,
        "budget": row.budget_remaining,
        "payable": row.payable,
    }
    return (
        row.position, f"{row.recorded_at:%Y-%m-%d %H:%M:%S}", row.kind, row.code or "accepted", row.voucher_id,
        row.provider if row.kind == "redeemed" else row.enterprise, _yuan(row.amount), _yuan(row.granted),
        "\n".join(f"{name} {format_yuan(fen)}" for name, fen in left.items() if fen is not None and row.accepted),
    )  # fmt: skip


def _print_if_any(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    if lines := list(rows):
        print_table(title, columns, lines)


def _print_line(text: str) -> None:
    out.print(text, markup=False, highlight=False)


def _yuan(fen: int | None) -> str | None:
    return None if fen is None else format_yuan(fen)
