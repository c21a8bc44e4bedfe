"""The home directory of the embedded servers: whose it is, who has it now, and where its sockets go.

Role: make the directory private, hold its lock, find a socket directory whose path the kernel accepts. It must not
know the servers, and it never changes a directory other than the home and what it makes itself.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path

# A unix socket's path has 108 bytes on Linux, 104 on macOS; `/run/.s.PGSQL.5432` and the closing zero take 19.
LONGEST_HOME = 85


class EmbeddedError(RuntimeError):
    """The embedded servers cannot do what was asked; the message says what to do."""


class HomeInUseError(EmbeddedError):
    """Another living process, or another object of this one, has the home."""


class Home:
    """One home directory; `take` it before anything is done in it."""

    def __init__(self, path: Path) -> None:
        """Remember the path, with links followed: the servers' command lines name it, and are searched for it."""
        self.path = path.resolve()
        self._lock: int | None = None

    @property
    def run(self) -> Path:
        """Directory of the sockets: in the home, or a short private one where a socket's path would be refused."""
        name = os.fsencode(self.path)
        # PostgreSQL reads a list here, and so does every client of it: a comma or a quote would split the path.
        if len(name) <= LONGEST_HOME and not set(b',"') & set(name):
            return self.path / "run"
        return Path(tempfile.gettempdir()).resolve() / f"voucher-ledger-{hashlib.sha256(name).hexdigest()[:16]}"

    def take(self) -> None:
        """Make the home if it is not there, and lock it; does nothing if this object has it already.

        Raises HomeInUseError if somebody else has it, EmbeddedError if it cannot be used.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_private()
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedError(f"{self.path} cannot be the home: {error}. Choose a directory of your own.") from error
        try:
            # flock, not lockf: it also refuses a second object of this same process.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise EmbeddedError(f"{self.path} cannot be locked: {error}. Choose a local file system.") from error
            raise HomeInUseError(
                f"{self.path} is in use by process {holder}: stop that process, or choose another home."
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        self._lock = lock

    def check_taken(self) -> None:
        """Raise EmbeddedError unless this object has the home: a server started without it would have two keepers."""
        if self._lock is None:
            raise EmbeddedError(f"{self.path} is not held: start the Embedded as a whole before one of its servers.")

    def release(self) -> None:
        """Give the home back; does nothing if this object does not have it."""
        if self._lock is None:
            return
        if self.run.parent != self.path:
            # It stays if a killed server's socket is still in it: the next start comes to the same directory.
            with contextlib.suppress(OSError):
                self.run.rmdir()
        os.ftruncate(self._lock, 0)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # closing would not do while a forked worker has a copy
        os.close(self._lock)
        self._lock = None

    def make_run(self, owner: int) -> None:
        """Make the directory of the sockets, 0700 and the owner's; the sockets trust whoever can reach them.

        Raises EmbeddedError if somebody else has put something in its place, as anybody can in the system's /tmp.
        """
        run = self.run
        with contextlib.suppress(FileExistsError):
            run.mkdir(mode=0o700)
        found = run.lstat()
        safe = {os.geteuid(), owner, found.st_uid if run.parent == self.path else owner}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in safe:
            raise EmbeddedError(f"{run} is not a directory of this user: remove it, or choose a shorter path as home.")
        if found.st_uid != owner:
            os.chown(run, owner, -1)
        run.chmod(0o700)

    def _make_private(self) -> None:
        found = self.path.stat()
        if found.st_uid != os.geteuid():
            raise PermissionError(f"it belongs to user {found.st_uid}")
        if found.st_mode & 0o022:
            # A directory that was there keeps its readers; what matters is that nobody swaps what is in it.
            self.path.chmod(stat.S_IMODE(found.st_mode) & ~0o022)
