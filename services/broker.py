"""The broker: which streams there are, who may write to each, and how a service connects. Streams and groups, no events."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004  redis names them so
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # noqa: A004  the same
)

from schemas import streams as contract
from schemas.events import EXHAUSTED, ISSUED, REDEEMED
from schemas.identifiers import ledger_source, source_of
from schemas.policy import Policy

GROUP: Final = contract.GROUP
FIELD: Final = contract.FIELD.encode()
DEAD_LETTERS: Final = contract.DEAD_LETTER.address

AWAY: Final = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, OSError)
"""Failures of the broker that pass by themselves, or once it has room again: hold, back off, try again."""

_SOCKET_TIMEOUT_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class InboundStream:
    """An inbound stream: the one type it carries, and who owns it. ``programme`` or ``provider`` is None where it has none."""

    key: str
    type: str
    sources: frozenset[str]
    programme: str | None = None
    provider: str | None = None


def issued_streams(policies: Mapping[str, Policy]) -> list[InboundStream]:
    """Return the streams on which the authorities issue."""
    return [
        InboundStream(
            contract.VOUCHER_ISSUED.of(code), ISSUED, frozenset({source_of(policy.authority.uscc)}), programme=code
        )
        for code, policy in policies.items()
    ]


def redeemed_streams(policies: Mapping[str, Policy], only: frozenset[str] = frozenset()) -> list[InboundStream]:
    """Return the streams on which the accredited providers (or of them, only these) report redemptions."""
    accredited = {uscc for policy in policies.values() for uscc in policy.providers.codes}
    return [
        InboundStream(contract.VOUCHER_REDEEMED.of(uscc), REDEEMED, frozenset({source_of(uscc)}), provider=uscc)
        for uscc in sorted(accredited & only if only else accredited)
    ]


def exhausted_streams(policies: Mapping[str, Policy]) -> list[InboundStream]:
    """Return the streams on which quotas are closed, by the authority or by the ledger's own notifier."""
    return [
        InboundStream(
            contract.QUOTA_EXHAUSTED.of(code), EXHAUSTED,
            frozenset({source_of(policy.authority.uscc), ledger_source(code)}), programme=code,
        )
        for code, policy in policies.items()
    ]  # fmt: skip


def inbound_streams(policies: Mapping[str, Policy]) -> list[InboundStream]:
    """Return every inbound stream."""
    return [*issued_streams(policies), *redeemed_streams(policies), *exhausted_streams(policies)]


def notification_stream(programme: str) -> str:
    """Return the stream that platforms read."""
    return contract.NOTIFICATION.of(programme)


Entries: TypeAlias = list[tuple[bytes, dict[bytes, bytes]]]
_PAGE: Final = 500


async def entries_between(redis: Redis, key: str, first: str, last: str = "+", count: int | None = None) -> Entries:
    """Return entries of a stream with their ids, as the bytes they are (the client was made to give bytes)."""
    return cast("Entries", await redis.xrange(key, min=first, max=last, count=count))


async def each_entry(redis: Redis, key: str) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
    """Yield every entry of a stream, the oldest first, a page at a time."""
    after = "-"
    while True:
        page = await entries_between(redis, key, after, count=_PAGE)
        for entry in page:
            yield entry
        if len(page) < _PAGE:
            return
        after = f"({page[-1][0].decode()}"


def connection_options() -> dict[str, Any]:
    """Return how every service connects: a short failure is tried again at once, a dead peer is noticed."""
    return {
        "socket_timeout": _SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": _SOCKET_TIMEOUT_SECONDS,
        "health_check_interval": 30,
    }


def connect(redis_url: str) -> Redis:
    """Return a client that gives bytes; it connects with its first command."""
    client: Redis = Redis.from_url(
        redis_url, **connection_options(), retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2), protocol=2
    )
    return client


async def ensure_groups(redis: Redis, streams: Iterable[InboundStream]) -> None:
    """Make each stream's group where it is missing, from the stream's beginning: nothing sent before the first start is skipped.

    Raises what the broker raises, with the stream's name before it.
    """
    for stream in streams:
        try:
            await redis.xgroup_create(stream.key, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise type(error)(f"{stream.key}: {error}") from None
