"""The embedded PostgreSQL: its data directory, its settings, its process.

Role: a server with an empty database `ledger` and the superuser `postgres`, on a unix socket. It must not know any
table of the ledger. Nothing here needs a client: the database is made before the server first runs.
"""

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from services.embedded import account as accounts
from services.embedded import binaries, processes
from services.embedded.account import Account
from services.embedded.home import EmbeddedError, Home
from services.embedded.server import Server

PORT = 5432  # no port is opened; it is part of the socket's name
DATABASE = "ledger"
OLDEST = 15
PATIENCE_SESSIONS = 60.0  # seconds for the last sessions of a killed server to notice


class Postgres(Server):
    """The PostgreSQL of one home."""

    title = "PostgreSQL"
    # SIGINT ends the sessions and writes a checkpoint; SIGQUIT leaves that to the recovery at the next start.
    farewell = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
    executables = ("postgres",)
    option = "-D"

    def __init__(self, home: Home, *, durable: bool) -> None:
        """Settle the paths; nothing is touched yet."""
        super().__init__(home, "postgres")
        self._durable = durable

    @property
    def url(self) -> str:
        """A URL for asyncpg, over the socket, as superuser; the port is given so that PGPORT cannot change it."""
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self._home.run), safe='/')}&port={PORT}"

    def start(self) -> None:
        """Start it and return once it takes commands; does nothing if it runs.

        Raises EmbeddedError, with the last lines of its log, if it ends instead; or if the home is not held.
        """
        end = time.monotonic() + PATIENCE_SESSIONS
        while True:
            try:
                return super().start()
            except EmbeddedError as error:
                # A session that was busy when its server was killed ends when it next looks up, and PostgreSQL
                # rightly refuses to start beside it.
                if "pre-existing shared memory block" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.2)

    def _prepare(self) -> tuple[Account, list[str]]:
        directory = binaries.find_postgres()
        account = accounts.for_postgres()
        if account.uid is not None:
            self._home.path.chmod(self._home.path.stat().st_mode & 0o7777 | 0o001)  # `nobody` has to get through
        account.check_reach(directory / "postgres")
        account.check_reach(self._home.path)
        major = self._check_version(account, directory)
        self._home.make_run(account.owner)
        self._remove_unfinished()
        if self._directory.exists():
            account.own(self._directory)
            self._disown_lock_files()
        else:
            self._make_data(account, directory, major)
        base = [str(directory / "postgres"), "-D", str(self._directory)]
        settings = self._settings() | {"wal_compression": _wal_compression(account, base)}
        return account, [*base, *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))]

    def _ready(self, pid: int, said: str) -> bool:  # noqa: ARG002 - its lock file says it better than its log
        try:
            lines = (self._directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _settings(self) -> dict[str, str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._home.run),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "max_connections": "100",
            "shared_buffers": "256MB",
            "max_wal_size": "4GB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if self._durable:
            # Said aloud: a home that was once started for tests keeps nothing of that.
            # A segment of the log that was made once is used again: making one anew means writing it twice, in the way of a commit.
            kept = {"min_wal_size": "1GB"}
            return settings | kept | {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
        small = {"shared_buffers": "64MB", "max_wal_size": "512MB"}
        return settings | small | {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

    def _check_version(self, account: Account, directory: Path) -> str:
        said = account.run([str(directory / "postgres"), "--version"])
        found = re.search(r"\(PostgreSQL\) (\d+)", said)
        if found is None or int(found[1]) < OLDEST:
            raise EmbeddedError(f"{directory} has {said.strip()}; PostgreSQL {OLDEST} or newer is wanted.")
        with contextlib.suppress(FileNotFoundError):
            made_by = (self._directory / "PG_VERSION").read_text().strip()
            if made_by != found[1]:
                raise EmbeddedError(
                    f"{self._directory} was made by PostgreSQL {made_by}, and the one found is {found[1]}: name the "
                    f"directory of a PostgreSQL {made_by} in {binaries.POSTGRES_BIN}, or move the data with pg_dump."
                )
        return found[1]

    def _make_data(self, account: Account, directory: Path, major: str) -> None:
        with self._unfinished() as folder:
            os.chown(folder, account.owner, -1)
            initdb = [str(directory / "initdb"), "-D", str(folder), "--username=postgres", "--auth=trust"]
            # Locale C sorts by code point, the same on every system and in every version: nothing to rebuild later.
            initdb += ["--encoding=UTF8", "--no-locale", "--data-checksums", "--no-instructions"]
            account.run(initdb if self._durable else [*initdb, "--no-sync"])
            single = [str(directory / "postgres"), "--single", "-D", str(folder), "-c", "exit_on_error=on"]
            account.run([*single, "postgres"], text=f"CREATE DATABASE {DATABASE}\n")
            if (folder / "PG_VERSION").read_text().strip() != major:
                raise EmbeddedError(f"initdb and postgres in {directory} are of different versions.")
            folder.rename(self._directory)
        with _opened(self._home.path) as home:
            os.fsync(home)  # the rename too has to survive a power cut that comes after the first commit

    @contextlib.contextmanager
    def _unfinished(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._home.path))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # gone already where all went well

    def _remove_unfinished(self) -> None:
        for folder in self._home.path.glob("postgres.new-*"):
            # An initdb whose keeper was killed works on, and would put back what is being removed.
            for pid in processes.find(("initdb", "postgres"), "-D", folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)  # what is left is harmless, and is tried again at the next start

    def _disown_lock_files(self) -> None:
        # The number in a killed server's lock file may by now be another program's, above all in a container that
        # starts counting again; PostgreSQL would then refuse to start. This home is held and no server runs in it, so
        # the number is stale. It ignores its parent's number, and still checks the shared memory named further down.
        (self._home.run / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock = self._directory / "postmaster.pid"
            lines = lock.read_text().splitlines()
            lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")


def _wal_compression(account: Account, base: list[str]) -> str:
    # lz4 is faster, but not every PostgreSQL is built with it; one without refuses the value.
    try:
        account.run([base[0], "-C", "wal_compression", *base[1:], "-c", "wal_compression=lz4"])
    except EmbeddedError:
        return "pglz"
    return "lz4"


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)
