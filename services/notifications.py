"""What platforms are told of an entry, and what an entry that used a quota up makes known. Pure: from rows to bytes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import msgspec

from schemas import tracecontext
from schemas.codes import ACCEPTED, MESSAGES, Code
from schemas.events import EXHAUSTED
from schemas.identifiers import ledger_source
from schemas.money import format_yuan
from schemas.policy import Policy
from services.ledger.entry import TYPES
from services.ledger.kept import Origin

WARNINGS_PERCENT: Final = (95, 80)
_MONEY: Final = ("amount", "granted", "voucher_remaining", "quota_used", "quota_limit", "budget_remaining", "payable")
_NAMES: Final = ("voucher_id", "enterprise", "provider")

Row = Mapping[str, Any] | asyncpg.Record


class _Traced(Origin):
    """An event's origin, and by which trace it came."""

    traceparent: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_traced = msgspec.json.Decoder(_Traced).decode
_encode = msgspec.json.Encoder().encode


def moment_text(moment: datetime) -> str:
    """Return a moment in UTC as RFC 3339 writes it, with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def notification(row: Row, policy_digest: bytes) -> bytes:
    """Return the notification of an entry, as JSON. Money in yuan; what does not apply to the entry is left out."""
    programme, position, code = row["programme"], row["position"], row["code"]
    outcome = "accepted" if row["accepted"] else "refused"
    type_ = TYPES[row["kind"]]
    event = _traced(row["event"])
    trace, event.traceparent = event.traceparent, msgspec.UNSET
    message = ACCEPTED if code is None else MESSAGES[Code(code)]
    data: dict[str, Any] = {"position": position, "outcome": outcome}
    if code is not None:
        data["code"] = code
    data["message"] = {"zh": message.zh, "en": message.en}
    data["event"] = event
    data.update((name, row[name]) for name in _NAMES if row[name] is not None)
    data["period"] = row["period"]
    data["policy"] = {"code": programme, "digest": policy_digest.hex()}
    data.update((name, format_yuan(row[name])) for name in _MONEY if row[name] is not None)
    if (warning := quota_warning(row)) is not None:
        data["quota_warning"] = warning
    data["hash"] = row["leaf"].hex()
    traceparent = None if trace is msgspec.UNSET else tracecontext.read(trace)
    return _encode({
        "specversion": "1.0",
        "id": f"{programme}:{position}",
        "source": ledger_source(programme),
        "type": f"{type_.removesuffix('.v1')}.{outcome}.v1",
        "subject": row["voucher_id"] or row["enterprise"] or programme,
        "time": moment_text(row["recorded_at"]),
        "datacontenttype": "application/json",
        # As the event has it, whoever writes this and whenever: told again, a notification is the same to the byte.
        **({} if traceparent is None else {"traceparent": traceparent}),
        "data": data,
    })  # fmt: skip


def quota_warning(row: Row) -> int | None:
    """Return 80 or 95 when this entry brought the quota to that share of its limit, in percent; the higher if to both."""
    used, limit, granted = row["quota_used"], row["quota_limit"], row["granted"]
    if granted is None or limit is None:
        return None
    return next(
        (percent for percent in WARNINGS_PERCENT if (used - granted) * 100 < limit * percent <= used * 100), None
    )  # fmt: skip


def exhausts(row: Row, policy: Policy) -> bool:
    """Whether this entry is the one that left less of the enterprise's quota than the smallest voucher there is."""
    used, limit, granted = row["quota_used"], row["quota_limit"], row["granted"]
    if granted is None or limit is None:
        return False
    return bool(limit - used < policy.smallest_voucher <= limit - used + granted)


def exhausted_event_id(row: Row) -> str:
    """Return the id of the event that an exhausting entry makes: it follows from what the event says, so it is the same each time."""
    return f"{row['programme']}:{row['enterprise']}:{row['period']}:exhausted"


def exhausted_event(row: Row) -> bytes:
    """Return the ``quota.exhausted.v1`` that an exhausting entry makes, as JSON."""
    programme, enterprise = row["programme"], row["enterprise"]
    return _encode({
        "specversion": "1.0",
        "id": exhausted_event_id(row),
        "source": ledger_source(programme),
        "type": EXHAUSTED,
        "subject": enterprise,
        "time": moment_text(row["recorded_at"]),
        "datacontenttype": "application/json",
        "data": {
            "programme": programme, "scope": "enterprise", "enterprise": enterprise, "period": row["period"],
            "reason": f"used up at position {row['position']}",
        },
    })  # fmt: skip
