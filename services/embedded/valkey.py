"""The embedded Valkey (or Redis): its settings and its process.

Role: a server on a unix socket that keeps every command it has acknowledged in its append-only file. It must not know
any stream, group or user; who may do what comes with the access file that it is handed.
"""

import contextlib
import signal
import socket
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from services.embedded import binaries
from services.embedded.account import Account
from services.embedded.home import Home
from services.embedded.server import Server


class Valkey(Server):
    """The Valkey of one home."""

    title = "Valkey"
    farewell = ((signal.SIGTERM, 30.0),)
    executables = ("valkey-server", "redis-server")
    option = "--dir"

    def __init__(self, home: Home, *, aclfile: Path | None, appendfsync: Literal["always", "everysec"]) -> None:
        """Settle the paths; nothing is touched yet."""
        super().__init__(home, "valkey")
        self._aclfile = aclfile
        self._appendfsync = appendfsync

    @property
    def _socket(self) -> Path:
        return self._home.run / "valkey.sock"

    @property
    def url(self) -> str:
        """A URL for redis-py, over the socket, without a user."""
        return f"unix://{quote(str(self._socket), safe='/')}"

    def _prepare(self) -> tuple[Account, list[str]]:
        binary = binaries.find_valkey()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "--dir": str(self._directory),
            "--port": "0",
            "--unixsocket": str(self._socket),
            "--unixsocketperm": "700",
            "--appendonly": "yes",
            "--appendfsync": self._appendfsync,
            "--save": "",
            # A full memory must refuse a new event, never drop an old one.
            "--maxmemory-policy": "noeviction",
            # The command line stays as it is here: a later keeper knows an orphan by its `--dir`.
            "--set-proc-title": "no",
            "--daemonize": "no",
        }
        if self._aclfile is not None:
            settings["--aclfile"] = str(self._aclfile.resolve())
        return Account(), [str(binary), *(part for pair in settings.items() for part in pair)]

    def _ready(self, pid: int, said: str) -> bool:  # noqa: ARG002 - only one process can have the socket
        answer = self._ask("PING")
        if answer.startswith("+PONG"):
            return True
        # With an access file a stranger is refused before loading is mentioned, so the log has to say that it is over.
        return answer.startswith("-NO") and "eady to accept connections" in said

    def _ask(self, command: str) -> str:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self._socket))
            line.sendall(f"{command}\r\n".encode())
            return line.recv(128).decode(errors="replace")
        return ""
