"""``keys``: who may come in over HTTP."""

import os
from collections.abc import Callable, Sequence
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Annotated

import typer

from services.cli.app import BAD_USAGE, CommandError, Json, app, err, out, print_json, print_table
from services.keys import Key, KeysError, new_key, read_keys, write_keys
from services.settings import read_settings

commands = typer.Typer(help="Keys of the HTTP API and the monitor: add, list, remove.", no_args_is_help=True)
app.add_typer(commands, name="keys")

File = Annotated[
    Path | None, typer.Option("--file", help="The file of keys; without, VOUCHER_LEDGER_KEYS_FILE names it.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, such as audit-office.")]
Scopes = Annotated[
    list[str],
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="operator, auditor, platform:PROGRAMME, platform:*, authority:PROGRAMME or provider:USCC; again for more.",
    ),
]


@commands.command()
def add(name: Name, scope: Scopes, *, file: File = None, as_json: Json = False) -> None:
    """Make a key and print it, this once: only its hash is kept."""

    def added(keys: Sequence[Key]) -> list[Key]:
        if name in {key.name for key in keys}:
            raise CommandError(
                f"there is a key of {name!r} already: remove it first, or give the new one a name of its own"
            )
        return [*keys, key]

    try:
        key, secret = new_key(name, scope)
    except KeysError as error:
        raise CommandError(str(error), BAD_USAGE) from None
    path = _change(file, added)
    if as_json:
        print_json({"name": name, "scopes": list(key.scopes), "key": secret})
    else:
        err.print(
            f"{name} may {', '.join(key.scopes)}; {path} has the hash. The key, which is not shown again:", markup=False
        )
        out.print(secret, markup=False, highlight=False)


@commands.command("list")
def list_keys(*, file: File = None, as_json: Json = False) -> None:
    """List who has a key, and for what."""
    keys = _read(_named(file))
    if as_json:
        print_json({"keys": [{"name": key.name, "scopes": list(key.scopes)} for key in keys]})
    else:
        print_table("Keys", ("name", "scopes"), ((key.name, " ".join(key.scopes)) for key in keys))


@commands.command()
def remove(name: Name, *, file: File = None, as_json: Json = False) -> None:
    """Remove a key: from the next request on it lets nobody in."""

    def removed(keys: Sequence[Key]) -> list[Key]:
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise CommandError(f"there is no key of {name!r} (`keys list` has them)")
        return left

    _change(file, removed)
    if as_json:
        print_json({"removed": name})
    else:
        err.print(f"removed the key of {name}", markup=False)


def _named(file: Path | None) -> Path:
    path = file or read_settings().keys_file
    if path is None:
        raise CommandError("which file? Name it with --file, or set VOUCHER_LEDGER_KEYS_FILE", BAD_USAGE)
    return path


def _read(path: Path) -> Sequence[Key]:
    try:
        return read_keys(path) if path.exists() else ()
    except KeysError as error:
        raise CommandError(str(error)) from None


def _change(file: Path | None, change: Callable[[Sequence[Key]], list[Key]]) -> Path:
    """Change the file as a whole; of two who do so at once, one waits."""
    path = _named(file)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        flock(folder, LOCK_EX)
        write_keys(path, change(_read(path)))
    finally:
        os.close(folder)
    return path
