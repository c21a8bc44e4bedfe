"""The embedded default: a real PostgreSQL and a real Valkey in one home directory, with no installation and no container.

Role: start them, tell where they listen, stop, kill and restart them, together or each on its own. It must not know
what is kept in them (no table, no stream, no user is made here), and nothing else may need it: whoever has servers of
their own gives their addresses in the settings instead.
"""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from services.embedded.home import EmbeddedError, Home, HomeInUseError
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey

__all__ = ["Embedded", "EmbeddedError", "HomeInUseError", "Postgres", "Servers", "Valkey"]


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the two servers of a home listen: unix sockets, open to the user who started them and to nobody else."""

    home: Path
    database_url: str
    redis_url: str


class Embedded:
    """The two servers of one home directory.

    `postgres` and `valkey` can be stopped, killed and started again each on its own between `start` and `stop`.
    As a context manager it starts on entry, giving the `Servers`, and stops on exit.
    """

    def __init__(
        self,
        home: Path,
        *,
        durable: bool = True,
        aclfile: Path | None = None,
        appendfsync: Literal["always", "everysec"] = "everysec",
    ) -> None:
        """Say what is wanted; nothing is touched before `start`.

        `durable=False` is for tests alone: a killed PostgreSQL may then lose the last commits it acknowledged, and a
        machine that dies the whole data directory.
        """
        self._home = Home(home)
        self.postgres = Postgres(self._home, durable=durable)
        self.valkey = Valkey(self._home, aclfile=aclfile, appendfsync=appendfsync)

    def start(self) -> Servers:
        """Start both, whatever an earlier run left behind, and return once both take commands.

        Raises HomeInUseError if a living process has this home, EmbeddedError if the servers cannot be had or do not
        come up; either way nothing that this call started is left running.
        """
        self._home.take()
        try:
            # Both orphans go before either server starts: if one then fails to start, none runs without a keeper.
            self.valkey.stop_orphans()
            self.postgres.stop_orphans()
            self.postgres.start()  # first: it gives the directory of the sockets to whoever it has to run as
            self.valkey.start()
        except BaseException:
            self.stop()
            raise
        return Servers(self._home.path, self.postgres.url, self.valkey.url)

    def stop(self) -> None:
        """Stop both in good order and give the home back; does nothing if they do not run.

        Raises EmbeddedError if a server outlives even SIGKILL.
        """
        try:
            self.valkey.stop()
        finally:
            try:
                self.postgres.stop()
            finally:
                self._home.release()

    def __enter__(self) -> Servers:
        """Start both; raises what `start` raises."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop both; raises what `stop` raises."""
        self.stop()

    def __repr__(self) -> str:
        """Name the home."""
        return f"{type(self).__name__}({str(self._home.path)!r})"
