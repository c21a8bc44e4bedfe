"""Who is logged in: a key opens a session of a day's work; the key taken away, or this process ended, closes it.

A session is a random name that only the browser's cookie and this process know. What acts asks here each time, on the server.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from services.keys import Key, Keyring, KeysError, Role

log = structlog.get_logger()

LASTS_SECONDS: Final = 12 * 3_600
SESSIONS_MAX: Final = 1_000

_READERS: Final = frozenset({Role.OPERATOR, Role.AUDITOR})


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose browser it is: the name of their key, None for someone who has shown none, and what they may."""

    name: str | None = None
    may_read: bool = False
    may_act: bool = False


class _Session(NamedTuple):
    key: Key
    ends_at: float


class Sessions:
    """The sessions of this process. Without a file of keys nobody logs in: this host may read, and nobody may act."""

    def __init__(self, keyring: Keyring | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._keyring = keyring
        self._clock = clock
        self._open: dict[str, _Session] = {}

    @property
    def has_keys(self) -> bool:
        """Whether anybody can log in."""
        return self._keyring is not None

    def open(self, presented: str) -> str | None:
        """Return the name of a new session for an operator or auditor who has this key; None for anyone else."""
        try:
            key = None if self._keyring is None else self._keyring.find(presented)
        except KeysError as error:
            log.warning("nobody can log in", because=str(error))
            return None
        if key is None or not _READERS & {scope.role for scope in key.read_scopes}:
            return None
        now = self._clock()
        self._open = {token: one for token, one in self._open.items() if one.ends_at > now}
        if len(self._open) >= SESSIONS_MAX:
            del self._open[next(iter(self._open))]
        token = secrets.token_urlsafe(32)
        self._open[token] = _Session(key, now + LASTS_SECONDS)
        return token

    def reader(self, token: str | None, *, from_this_host: bool) -> Reader:
        """Return who the session is of, by what the file of keys says now: a key that was removed or changed counts no more."""
        if self._keyring is None:
            return Reader(may_read=from_this_host)
        session = self._open.get(token or "")
        if session is None or session.ends_at <= self._clock():
            return Reader()
        try:
            keys = self._keyring.keys()
        except KeysError as error:
            log.warning("nobody is logged in", because=str(error))
            return Reader()
        if session.key not in keys:
            return Reader()
        operates = any(scope.role is Role.OPERATOR for scope in session.key.read_scopes)
        return Reader(session.key.name, may_read=True, may_act=operates)

    def close(self, token: str | None) -> None:
        """End the session."""
        self._open.pop(token or "", None)
