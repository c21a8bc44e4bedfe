"""Keys of those who come in over HTTP: who has which, and what each may see or send. A file of hashes; a key itself is kept nowhere.

The file is TOML, made by ``voucher-ledger keys``, and read again when it has changed. While it cannot be read nobody is let in.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from schemas.decoding import told
from schemas.identifiers import PROGRAMME_PATTERN, is_uscc

KEY_PREFIX: Final = "vl_"
"""What every key begins with: one that leaked is found by it."""
ALL: Final = "*"

_HEAD: Final = "# Made by `voucher-ledger keys`. Only hashes are kept: who lost a key is given another.\n"


class KeysError(ValueError):
    """The file of keys cannot be used; the message says why."""


class Role(StrEnum):
    """What someone is, and with it what is theirs to see."""

    OPERATOR = "operator"
    """Sees everything, and looks after queues and dead letters."""
    AUDITOR = "auditor"
    """Reads every ledger."""
    PLATFORM = "platform"
    """Reads a programme's ledger, or all of them (``platform:*``)."""
    AUTHORITY = "authority"
    """Reads its programme's ledger, and sends its issues and closures."""
    PROVIDER = "provider"
    """Reads what is its own, and sends its redemptions."""


class Scope(NamedTuple):
    """A role, and of whom or what where it is of one: a programme's code or a provider's USCC."""

    role: Role
    of: str | None = None

    def __str__(self) -> str:
        return self.role if self.of is None else f"{self.role}:{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a scope as it is written, such as ``provider:91510100MA0000001L``. Raises ValueError."""
        name, colon, of = text.partition(":")
        try:
            role = Role(name)
        except ValueError:
            raise ValueError(f"{text!r} is no scope: a role is one of {', '.join(Role)}") from None
        match role:
            case Role.OPERATOR | Role.AUDITOR if not colon:
                return cls(role)
            case Role.PLATFORM if of == ALL or re.fullmatch(PROGRAMME_PATTERN, of):
                return cls(role, of)
            case Role.AUTHORITY if re.fullmatch(PROGRAMME_PATTERN, of):
                return cls(role, of)
            case Role.PROVIDER if is_uscc(of):
                return cls(role, of)
        raise ValueError(
            f"{text!r} is no scope: there are operator, auditor, platform:PROGRAMME, platform:*, authority:PROGRAMME, provider:USCC"
        )


def _is_scope(text: str) -> str:
    Scope.parse(text)
    return text


class Key(BaseModel):
    """Whom a key is of, the SHA-256 of the key, and what it is good for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Annotated[str, AfterValidator(_is_scope)], ...], Field(min_length=1)]

    @property
    def read_scopes(self) -> tuple[Scope, ...]:
        """The scopes, ready for use."""
        return tuple(map(Scope.parse, self.scopes))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [key.name for key in self.key]
        if len(set(names)) != len(names):
            raise ValueError("two keys have the same name")
        return self


class Keyring:
    """The keys of a file, as it is at the moment they are asked for."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self.path = path
        self._keys: tuple[Key, ...] = ()
        self._seen: tuple[int, int, int] | None = None

    def keys(self) -> tuple[Key, ...]:
        """Return all keys. Raises KeysError."""
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._seen = None
                self._keys = read_keys(self.path)
                self._seen = seen
        except OSError as error:
            self._seen = None
            raise KeysError(f"{self.path}: cannot be read: {error.strerror}") from None
        return self._keys

    def find(self, presented: str) -> Key | None:
        """Return whose key it is, None when nobody's; how long it takes tells nothing of the keys there are. Raises KeysError."""
        presented_hash, found = hash_of(presented), None
        for key in self.keys():
            if hmac.compare_digest(key.sha256, presented_hash):
                found = key
        return found


def hash_of(key: str) -> str:
    """Return the SHA-256 of a key. Keys are random, 256 bits: a plain hash gives nothing away."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a file of keys. Raises OSError, and KeysError with everything that is wrong in it."""
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).key
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KeysError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        raise KeysError(f"{path}: {told(error)}") from None


def new_key(name: str, scopes: Sequence[str]) -> tuple[Key, str]:
    """Make a key; return what is kept of it, and the key itself. Raises KeysError for a wrong name or scope."""
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    try:
        return Key(name=name, sha256=hash_of(secret), scopes=tuple(scopes)), secret
    except ValidationError as error:
        raise KeysError(told(error)) from None


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Write a file of keys; whoever reads it sees all of it as it was or as it is. Raises OSError."""
    parts = [_HEAD]
    for key in keys:
        scopes = ", ".join(map(json.dumps, key.scopes))
        parts.append(
            f"\n[[key]]\nname = {json.dumps(key.name)}\nsha256 = {json.dumps(key.sha256)}\nscopes = [{scopes}]\n"
        )
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    if path.exists():  # a file that a container reads has to stay one that it may read
        draft.chmod(stat.S_IMODE(path.stat().st_mode))
    draft.write_text("".join(parts), encoding="utf-8")
    draft.replace(path)
