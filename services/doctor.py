"""The doctor: what is configured, reachable and migrated, and what to do about what is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from schemas.policy import Policy
from services.broker import AWAY, DEAD_LETTERS, inbound_streams, notification_stream
from services.ledger.database import SERVICE_ROLE, TRANSIENT, connect_once
from services.ledger.migrate import current_revision, newest_revision
from services.producers import Producer, producers
from services.queues import Queue, queues
from services.settings import Settings

POSTGRES_MAJOR_MIN: Final = 15
READ_WITHIN_SECONDS: Final = 60
"""A stream that no consumer asked for this long is not being read."""

_APPEND_ONLY: Final = ("entry", "block", "payable", "policy", "act", "act_outcome", "verification")
_GUARDS = """
SELECT count(*) FROM pg_trigger
WHERE tgrelid = ANY ($1::regclass[]) AND tgenabled = 'A' AND NOT tgisinternal"""
_GUARDS_WANTED: Final = 2 * len(_APPEND_ONLY)
"""One against changes of rows, one against emptying the table, for each."""
_HEADS = "SELECT programme, position, revision, policy, parked FROM head"
_NEARLY: Final = 4, 5
"""So much of a limit, and the doctor says so."""
HELD_FROM_DELIVERIES: Final = 5
"""What was handed out so often is being held: it is handed out again every ``claim_idle_seconds``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; ``advice`` says what to do when it is not well."""

    what: str
    ok: bool
    found: str
    advice: str = ""


async def examine(settings: Settings, policies: Mapping[str, Policy]) -> list[Finding]:
    """Look at everything; never raises for what it looks at."""
    findings = [Finding("programmes", ok=True, found=", ".join(policies))]
    senders: list[Producer] = []
    findings += await _database(settings, policies, senders)
    findings += await _broker(settings, policies, senders)
    return findings


async def _database(settings: Settings, policies: Mapping[str, Policy], senders: list[Producer]) -> list[Finding]:
    """Look at the database, and find out which producers the ledger has events of."""
    url = settings.require_database_url()
    try:
        revision = await current_revision(settings.migration_database_url or url)
        if revision != newest_revision():
            found = f"at {revision or 'nothing'}, this version needs {newest_revision()}"
            return [Finding("database migrated", ok=False, found=found, advice="voucher-ledger migrate")]
        connection = await connect_once(url)
    except (asyncpg.PostgresError, *TRANSIENT) as error:
        advice = f"check DATABASE_URL, that PostgreSQL runs, and that the login is a member of {SERVICE_ROLE}"
        return [Finding("database", ok=False, found=f"{type(error).__name__}: {error}", advice=advice)]
    try:
        major = connection.get_server_version().major
        guards = await connection.fetchval(_GUARDS, _APPEND_ONLY)
        heads = {row["programme"]: row for row in await connection.fetch(_HEADS)}
        senders += [one for one in await producers(connection, policies) if one.last is not None]
    finally:
        await connection.close()
    return [
        Finding(
            "database", ok=major >= POSTGRES_MAJOR_MIN, found=f"PostgreSQL {major}, migrated to {revision}",
            advice=f"PostgreSQL {POSTGRES_MAJOR_MIN} or newer is needed",
        ),
        Finding(
            "append-only", ok=guards == _GUARDS_WANTED, found=f"{guards} of {_GUARDS_WANTED} triggers always on",
            advice="someone switched a trigger off: find out who and why, `voucher-ledger verify`, then ENABLE ALWAYS it",
        ),
        *(_ledger(policy, heads.get(programme)) for programme, policy in policies.items()),
        _waiting({code: heads[code]["parked"] for code in policies if code in heads}, settings.parked_max),
    ]  # fmt: skip


def _ledger(policy: Policy, head: asyncpg.Record | None) -> Finding:
    what = f"ledger {policy.code}"
    if head is None:
        return Finding(what, ok=False, found="not opened yet", advice="it is opened when a consumer starts")
    found = f"position {head['position']}, policy revision {head['revision']}"
    if head["policy"] == policy.digest or head["revision"] > policy.revision:
        return Finding(what, ok=True, found=found)
    advice = "restart the consumers to put the file's policy in force"
    if head["revision"] == policy.revision:
        advice = f"the policy file differs from the one in force: raise its revision to {policy.revision + 1}"
    return Finding(what, ok=False, found=f"{found}; the file is revision {policy.revision} and differs", advice=advice)


def _is_nearly(count: int, limit: int) -> bool:
    some, of_all = _NEARLY
    return count > 0 and count * of_all >= limit * some


def _waiting(parked: Mapping[str, int], parked_max: int) -> Finding:
    return Finding(
        "redemptions waiting", ok=not any(_is_nearly(count, parked_max) for count in parked.values()),
        found=f"{', '.join(f'{code} {count}' for code, count in parked.items()) or 'none'} of at most {parked_max} each",
        advice="issues are late, or providers name vouchers that do not exist: at the limit such redemptions are refused at once",
    )  # fmt: skip


def _letters(kept: int, kept_max: int) -> Finding:
    return Finding(
        "dead letters", ok=not _is_nearly(kept, kept_max), found=f"{kept} of at most {kept_max}",
        advice="replay or discard some (`voucher-ledger dead-letters`): a stream with many bad entries is held from four fifths "
        "on, any that has one more at the limit",
    )  # fmt: skip


def _held(rows: Sequence[Queue]) -> Finding:
    held = [row.stream for row in rows if (row.oldest_pending_deliveries or 0) >= HELD_FROM_DELIVERIES]
    return Finding(
        "streams go on", ok=not held, found=f"held: {', '.join(held)}" if held else "none is held",
        advice="what a consumer holds was handed out again and again: its log and its /readyz say why",
    )  # fmt: skip


def _is_unread(row: Queue) -> bool:
    """Whether nobody asked for an inbound stream's entries lately; one that has neither a group nor entries may stay so."""
    if row.consumers is None:
        return bool(row.lag)
    return row.last_read_seconds is None or row.last_read_seconds > READ_WITHIN_SECONDS


def _some(streams: list[str]) -> str:
    return ", ".join(streams[:3]) + (" …" if len(streams) > 3 else "")


async def _lost(redis: Redis, senders: list[Producer]) -> list[str]:
    """Return the streams that never had an entry on this broker, though the ledger has events from them."""
    lost = []
    for stream in dict.fromkeys(one.stream for one in senders):
        try:
            info = await redis.xinfo_stream(stream)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            lost.append(stream)
        else:
            if info["last-generated-id"] == b"0-0":
                lost.append(stream)
    return lost


async def _broker(settings: Settings, policies: Mapping[str, Policy], senders: list[Producer]) -> list[Finding]:
    redis = Redis.from_url(settings.require_redis_url(), socket_timeout=5, socket_connect_timeout=5)
    try:
        info = await redis.info()
        rows = await queues(redis, policies)
        lost = await _lost(redis, senders)
    except AWAY as error:
        return [Finding("broker", ok=False, found=str(error), advice="check REDIS_URL, and that Redis or Valkey runs")]
    finally:
        await redis.aclose()
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info["redis_version"])
    unread = [row.stream for row in rows if _is_unread(row)]
    inbound = len(inbound_streams(policies))
    return [
        Finding("broker", ok=True, found=f"{name} {version}"),
        Finding(
            "broker keeps events", ok=bool(info["aof_enabled"]), found="AOF on" if info["aof_enabled"] else "AOF off",
            advice="set appendonly yes: without it a crash of the broker loses events",
        ),
        Finding(
            "broker evicts nothing", ok=info["maxmemory_policy"] == "noeviction", found=str(info["maxmemory_policy"]),
            advice="set maxmemory-policy noeviction: any other drops streams when memory is short",
        ),
        Finding(
            "streams read", ok=not unread, found=f"{inbound - len(unread)} of {inbound} inbound streams have consumers",
            advice=f"run the consumers: nobody reads {_some(unread)}",
        ),
        Finding(
            "streams kept", ok=not lost,
            found=f"{len(lost)} streams that the ledger has events from never had an entry here" if lost else "yes",
            advice=f"was the broker lost? Producers send again ({_some(lost)}): `voucher-ledger producers` says from where on",
        ),
        _held(rows),
        _letters(next(row.length for row in rows if row.stream == DEAD_LETTERS), settings.dead_letters_max),
        Finding("notifications", ok=True, found=", ".join(
            f"{row.stream.split(':', 1)[1]} {row.length}" for row in rows if row.stream in map(notification_stream, policies)
        )),
    ]  # fmt: skip
