"""Who asks, and what they may see. Without a file of keys, requests from this host may read, and nobody may send."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.api.problems import ProblemError
from services.api.resources import Shared
from services.broker import InboundStream
from services.keys import ALL, Role, Scope

_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers of proxies: what they pass on does not come from this host, even where they are on it."""
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

bearer = HTTPBearer(auto_error=False, description="A key that `voucher-ledger keys add` printed.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who asks, by the name of their key, and their scopes."""

    name: str
    scopes: tuple[Scope, ...]

    def operates(self) -> bool:
        """Whether they look after queues and dead letters."""
        return any(scope.role is Role.OPERATOR for scope in self.scopes)

    def reads(self, programme: str) -> bool:
        """Whether they may read all of a programme's ledger."""
        return any(_reads(scope, programme) for scope in self.scopes)

    def providers(self) -> frozenset[str]:
        """Return the providers that they are, by USCC."""
        return frozenset(scope.of for scope in self.scopes if scope.role is Role.PROVIDER and scope.of is not None)

    def produces(self) -> bool:
        """Whether they send any events at all."""
        return any(scope.role in {Role.PROVIDER, Role.AUTHORITY} for scope in self.scopes)

    def owns(self, stream: InboundStream) -> bool:
        """Whether a stream is theirs to write to."""
        return any(
            (scope.role is Role.PROVIDER and scope.of == stream.provider and stream.provider is not None)
            or (scope.role is Role.AUTHORITY and scope.of == stream.programme and stream.programme is not None)
            for scope in self.scopes
        )


def _reads(scope: Scope, programme: str) -> bool:
    match scope.role:
        case Role.OPERATOR | Role.AUDITOR:
            return True
        case Role.PLATFORM:
            return scope.of in {ALL, programme}
        case Role.AUTHORITY:
            return scope.of == programme
        case Role.PROVIDER:
            return False


THIS_HOST: Final = Caller("this host", (Scope(Role.OPERATOR), Scope(Role.AUDITOR)))
"""Whoever asks from this host, where there is no file of keys."""


async def caller_of(request: Request, shared: Shared, credentials: Credentials) -> Caller:
    """Return who asks. Raises ProblemError (401) for a missing or an unknown key, KeysError when the file cannot be read."""
    if shared.keyring is None:
        if is_from_this_host(request):
            return THIS_HOST
        raise ProblemError(401, "no_keys", "There is no file of keys here, so only this host may read.")
    if credentials is None:
        raise ProblemError(401, "key_required", "Send a key: `Authorization: Bearer …`.")
    key = shared.keyring.find(credentials.credentials)
    if key is None:
        raise ProblemError(401, "key_unknown", "Nobody has this key, or it was removed.")
    return Caller(key.name, key.read_scopes)


Known = Annotated[Caller, Depends(caller_of)]
"""The parameter of a route that only those with a key may use."""


def is_from_this_host(request: Request) -> bool:
    """Whether a request comes from this host itself: not through a proxy on it, and not from a page that took on its name."""
    if request.client is None or any(header in request.headers for header in _FORWARDED):
        return False
    host = request.headers.get("host", "").rpartition(":")
    name = host[0] if host[2].isdigit() and host[0] else request.headers.get("host", "")
    return name.lower() in _LOCAL_NAMES and _is_loopback(request.client.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_reader(caller: Caller, programme: str) -> None:
    """Raise ProblemError (403) unless the caller may read all of a programme."""
    if not caller.reads(programme):
        raise ProblemError(403, "not_yours", f"{caller.name} may not read all of {programme}.")


def require_provider(caller: Caller, programme: str, provider: str) -> None:
    """Raise ProblemError (403) unless the caller may read all of a programme, or is the provider."""
    if not caller.reads(programme) and provider not in caller.providers():
        raise ProblemError(403, "not_yours", f"{caller.name} may not read what is {provider}'s in {programme}.")


def require_operator(caller: Caller) -> None:
    """Raise ProblemError (403) unless the caller is an operator."""
    if not caller.operates():
        raise ProblemError(403, "not_yours", f"{caller.name} is no operator.")


def only_provider(caller: Caller, programme: str, asked: str | None) -> str | None:
    """Return the provider whose entries the caller gets: the one asked for, or their own where they may not read the others'.

    Raises ProblemError (403).
    """
    if caller.reads(programme):
        return asked
    own = caller.providers()
    if asked is None and len(own) == 1:
        return next(iter(own))
    if asked is None and own:
        raise ProblemError(403, "not_yours", f"{caller.name} is several providers: name one with `provider`.")
    require_provider(caller, programme, asked or "")
    return asked
