"""Who the servers run as, and how a program of theirs is run.

Role: PostgreSQL refuses to run as root, so root runs it as somebody else; this is the one place that knows how, and the
one place that runs programs. It must not change what lies outside the home, nor add users to the system.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from services.embedded.home import EmbeddedError

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Account:
    """How a program is run: what goes before its name, and the user it is switched to (None: stays who it is)."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def owner(self) -> int:
        """The user id that files of this account have, as this process sees it."""
        return os.geteuid() if self.uid is None else self.uid

    def launch(self, command: Sequence[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start a server in a session of its own, so that a Ctrl-C in the terminal stops it only through its keeper.

        Raises EmbeddedError if it cannot be executed.
        """
        try:
            return subprocess.Popen(  # noqa: S603 - the binary found by `binaries` and settings of this package, no shell
                [*self.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",  # where this process stands may be closed to the account
                env=_environment(),
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"{command[0]} cannot be executed: {error}.") from error

    def run(self, command: Sequence[str], *, text: str = "") -> str:
        """Run a program to its end with the text as its input, and return what it prints.

        Raises EmbeddedError, with the last lines it printed, if it fails or cannot be executed.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the binary found by `binaries` and settings of this package, no shell
                [*self.prefix, *command],
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                check=False,
                cwd="/",
                env=_environment(),
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"{command[0]} cannot be executed: {error}.") from error
        if done.returncode != 0:
            last = "\n".join(done.stdout.splitlines()[-8:])
            raise EmbeddedError(f"{command[0]} failed with status {done.returncode}:\n{last}")
        return done.stdout

    def check_reach(self, path: Path) -> None:
        """Raise EmbeddedError, naming the directory in the way, unless the account can enter or execute the path."""
        if not self.prefix and self.uid is None:
            return
        if self._can_enter(path):
            return
        blocked = next((step for step in (*reversed(path.parents), path) if not self._can_enter(step)), path)
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the account it gets instead cannot enter {blocked}, on the way to "
            f"{path}. Run this as an ordinary user, or let others enter that directory (chmod o+x), or use another."
        )

    def own(self, tree: Path) -> None:
        """Give a directory with all that is in it to the account, if it is not the account's already."""
        if tree.stat().st_uid == self.owner:
            return
        # The top comes last: whether the whole was given is read from it, also after a kill halfway.
        for folder, _, files in os.walk(tree, topdown=False):
            for name in files:
                os.chown(Path(folder, name), self.owner, -1, follow_symlinks=False)
            os.chown(folder, self.owner, -1)

    def _can_enter(self, path: Path) -> bool:
        try:
            self.run(["test", "-x", str(path)])
        except EmbeddedError:
            return False
        return True


def for_postgres() -> Account:
    """Choose the account of PostgreSQL: this user; for root, the same user under another number, or else `nobody`.

    Raises EmbeddedError for root on a system that has neither.
    """
    if os.geteuid() != 0:
        return Account()
    # A user namespace in which root is called 65534: no other user is needed, and files stay root's.
    if unshare := shutil.which("unshare"):
        mapped = Account((unshare, "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"))
        try:
            mapped.run(["true"])
        except EmbeddedError:
            pass  # refused by the kernel or the container, or an `unshare` without these options
        else:
            return mapped
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedError(
            "PostgreSQL does not run as root, and there is neither `unshare` nor a user `nobody`: run this as an "
            "ordinary user."
        ) from error
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT, PGOPTIONS and their like are meant for other servers; messages are read by this package.
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
