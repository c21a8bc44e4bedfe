"""What all commands share: the app they are added to, how they run, how they answer, and how they fail."""

import asyncio
import json
import re
import sys
from collections.abc import Coroutine, Iterable, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import asyncpg
import typer
from redis.exceptions import RedisError
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.embedded import EmbeddedError
from services.keys import KeysError
from services.ledger.heads import ProgrammeUnknownError
from services.ledger.policies import PolicyConflictError
from services.programmes import PolicyError
from services.settings import Settings, SettingsError, read_settings

Result = TypeVar("Result")

app = typer.Typer(
    name="voucher-ledger",
    help="The ledger of compute vouchers (算力券): events in, decided entries, notifications out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

WIDTH_OF_A_FILE = 160
"""A pipe or a file has no width of its own."""

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")


def visible(text: str) -> str:
    """Return the text with each character that steers a terminal or hides in it as its escape, as JSON writes it.

    What producers sent is shown to operators: it must not move their cursor, or write from right to left.
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _Console(Console):
    """A console that shows texts as they are, and lets none of them steer the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **options)


out = _Console(soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
err = _Console(stderr=True, soft_wrap=True, width=None if sys.stderr.isatty() else WIDTH_OF_A_FILE)

FOUND_WRONG = 1
BAD_USAGE = 2


class CommandError(Exception):
    """The command cannot do what was asked; the message says what to do."""

    def __init__(self, message: str, status: int = FOUND_WRONG) -> None:
        super().__init__(message)
        self.status = status


def run(typer_app: typer.Typer) -> int:
    """Run the command line and return its exit status; what goes wrong is one sentence on stderr."""
    try:
        return int(typer_app(standalone_mode=False) or 0)
    except typer.Exit as end:
        return end.exit_code
    except Exception as error:
        told = _explained(error)
        if told is None:
            raise
        message, status = told
        err.print(f"voucher-ledger: {message}", markup=False, highlight=False)
        return status


def _explained(error: Exception) -> tuple[str, int] | None:
    """Return what to tell of a failure and the exit status; None for one that is a mistake of ours."""
    match error:
        case CommandError():
            return str(error), error.status
        case typer.Abort():
            return "stopped", FOUND_WRONG
        case SettingsError() | PolicyError() | PolicyConflictError() | KeysError():
            return str(error), BAD_USAGE
        case ProgrammeUnknownError():
            return str(error.args[0]), BAD_USAGE
        case EmbeddedError():
            return str(error), FOUND_WRONG
        case asyncpg.PostgresError() | asyncpg.InterfaceError():
            return f"database: {error} ({_advice(error)})", FOUND_WRONG
        case RedisError():
            return f"broker: {error} (`voucher-ledger doctor` says what is reachable)", FOUND_WRONG
        case OSError():
            return f"{error} (`voucher-ledger doctor` says what is reachable)", FOUND_WRONG
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # the command line's own: bad usage
        return f"{error.format_message()} (see --help)", BAD_USAGE
    return None


def _advice(error: Exception) -> str:
    if isinstance(error, asyncpg.UndefinedTableError):
        return "the tables are not there yet: `voucher-ledger migrate`"
    return "`voucher-ledger doctor` says what is reachable and migrated"


def settings(*, needs_redis: bool = True) -> Settings:
    """Read the settings, of a running ``up`` in the current folder where the environment names no servers."""
    from services.cli.home import with_running_home  # noqa: PLC0415  it asks this module how to fail

    return with_running_home(read_settings(), needs_redis=needs_redis)


def do(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's asynchronous work."""
    return asyncio.run(work)


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(visible(json.dumps(document, ensure_ascii=False, indent=2)) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people; a column whose name ends in ``>`` is set to the right. The first column is never broken."""
    table = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        right = column.endswith(">")
        table.add_column(
            column.removesuffix(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or number == 0,
        )
    for row in rows:
        table.add_row(*("" if cell is None else escape(visible(str(cell))) for cell in row))
    out.print(table)


def stop(status: int) -> NoReturn:
    """End the command with an exit status, all having been said."""
    raise typer.Exit(status)
