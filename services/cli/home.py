"""The home of a running ``up``: where it says which servers it uses, so that other commands find them."""

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

from services.cli.app import BAD_USAGE, CommandError
from services.settings import Settings

DEFAULT: Final = Path(".voucher-ledger")
_NOTE: Final = "running.json"


class Running(NamedTuple):
    """The addresses of a running ``up``."""

    pid: int
    database_url: str
    redis_url: str
    monitor_url: str | None


def write_note(home: Path, running: Running) -> None:
    """Say in the home what is running; whoever reads it sees all of it or nothing."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = home / f"{_NOTE}.{os.getpid()}"
    draft.write_text(json.dumps(running._asdict()), encoding="utf-8")
    draft.chmod(0o600)
    draft.replace(home / _NOTE)


def remove_note(home: Path) -> None:
    """Take back what the home says."""
    (home / _NOTE).unlink(missing_ok=True)


def read_note(home: Path) -> Running | None:
    """Return what is running in the home; None when nothing is, or whoever said so is gone."""
    try:
        running = Running(**json.loads((home / _NOTE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    try:
        os.kill(running.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # another user's, and alive
    return running


def require_running(home: Path) -> Running:
    """Return what is running in the home. Raises CommandError when nothing is."""
    running = read_note(home)
    if running is None:
        raise CommandError(f"nothing is up in {home}: start it with `voucher-ledger up --home {home}`")
    return running


def with_running_home(settings: Settings, *, needs_redis: bool = True) -> Settings:
    """Return the settings, completed by what is up in the current folder's home where the environment names no servers.

    Raises CommandError when neither says which servers, or the environment names one of the two only.
    """
    if settings.database_url and (settings.redis_url or not needs_redis):
        return settings
    if settings.database_url or settings.redis_url:
        missing = "REDIS_URL" if settings.database_url else "DATABASE_URL"
        raise CommandError(
            f"{missing} is not set, and the other one is: set both, or neither to use a running `up`", BAD_USAGE
        )
    running = read_note(Path(os.environ.get("VOUCHER_LEDGER_HOME", DEFAULT)))
    if running is None:
        raise CommandError(
            "no servers: start them with `voucher-ledger up` (in this folder), or set DATABASE_URL and REDIS_URL",
            BAD_USAGE,
        )
    return settings.model_copy(update={"database_url": running.database_url, "redis_url": running.redis_url})
