"""Secrets in the settings' URLs, and how they are kept out of what is said."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

HIDDEN: Final = "***"
_SHORTEST: Final = 4
"""A shorter password is hidden in URLs only: it could be a part of any word."""

_IN_A_URL: Final = re.compile(r"(?<=://)([^\s/?#:@]*):[^\s]*@|\b(password=)[^\s&\"']+")
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")


def check_url(url: str) -> str:
    """Return the URL. Raises ValueError when it cannot be read as one; what a server is then told or asked could be the password."""
    found = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)([^?#]*).*", url, re.DOTALL)
    if found is None:
        raise ValueError("is no URL")
    authority, path = found.groups()
    hosts = authority.rpartition("@")[2].split(",")
    if not all(_HOST.fullmatch(host) for host in hosts) or ("@" in path and "@" not in authority):
        raise ValueError(
            "is no URL: in a user's name and a password, what is not a letter or a digit is written as %2F, %40, …"
        )
    return url


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    return _IN_A_URL.sub(_hidden, url)


class Hider:
    """Takes secrets out of whatever is said, wherever in it they stand: those of the URLs, and the password of any other URL."""

    def __init__(self, urls: Iterable[str | None]) -> None:
        secrets = {secret for url in urls if url for secret in _secrets_of(url) if len(secret) >= _SHORTEST}
        # The longest first: one may begin with another.
        self._secrets = sorted(secrets, key=len, reverse=True)

    def __call__(self, value: Any) -> Any:
        """Return the value with its texts free of secrets."""
        match value:
            case str():
                return self._in_text(value)
            case dict():
                return {self(name): self(part) for name, part in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self(part) for part in value]
            case None | bool() | int() | float():
                return value
        return self._in_text(str(value))

    def _in_text(self, text: str) -> str:
        if "://" in text or "password=" in text:
            text = _IN_A_URL.sub(_hidden, text)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text


def _hidden(found: re.Match[str]) -> str:
    user, option = found.groups()
    return f"{user}:{HIDDEN}@" if option is None else f"{option}{HIDDEN}"


def _secrets_of(url: str) -> Iterator[str]:
    """Yield the passwords of a URL as they are written, and as they are meant."""
    parts = urlsplit(url)
    for password in (parts.password, *parse_qs(parts.query).get("password", ())):
        if password:
            yield from (password, unquote(password))
