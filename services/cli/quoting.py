"""``quote``: what the ledger would answer now, without writing."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from schemas.policy import Policy
from services.cli.app import (
    BAD_USAGE,
    FOUND_WRONG,
    CommandError,
    Json,
    app,
    do,
    print_json,
    print_table,
    settings,
    stop,
)
from services.ledger.append import Ledger
from services.ledger.batch import Rejected
from services.ledger.database import connect
from services.placing import Places
from services.programmes import load_policies
from services.quotes import Quote, ask, read_events
from services.served import ledger_limits
from services.settings import Settings


@app.command()
def quote(
    file: Annotated[str, typer.Argument(metavar="FILE", help="NDJSON of CloudEvents, one a line; - for stdin.")],
    *,
    as_json: Json = False,
) -> None:
    """Decide events as the ledger would at this moment, and write nothing; exit 1 if a line could be no entry."""
    chosen = settings(needs_redis=False)
    policies = load_policies(chosen.programmes_dir)
    lines = [(number, raw.strip()) for number, raw in enumerate(_bytes_of(file).split(b"\n"), start=1) if raw.strip()]
    quotes = read_events([raw for _, raw in lines], Places(policies, chosen.entry_bytes_max))
    do(_answer(quotes, chosen, policies))
    numbered = [{"line": number, **one.to_json()} for (number, _), one in zip(lines, quotes, strict=True)]
    if as_json:
        print_json({"events": numbered})
    else:
        columns = ("line>", "event", "programme", "outcome", "code", "granted>", "message", "")
        print_table("Quote (nothing was written)", columns, map(_cells, numbered))
    if any(isinstance(one.answer, Rejected) for one in quotes):
        stop(FOUND_WRONG)


def _bytes_of(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", BAD_USAGE) from None


async def _answer(quotes: Sequence[Quote], chosen: Settings, policies: Mapping[str, Policy]) -> None:
    pool = await connect(chosen.require_database_url(), connections_max=1)
    try:
        await ask(Ledger(pool, policies, ledger_limits(chosen)), quotes)
    finally:
        await pool.close()


def _cells(said: Mapping[str, object]) -> tuple[object, ...]:
    message = said["message"]
    zh, en = message.values() if isinstance(message, dict) else ("", "")
    return (
        said["line"], said.get("id"), said.get("programme"), said["outcome"], said.get("code"), said.get("granted"),
        zh if zh != en else None, en,
    )  # fmt: skip
