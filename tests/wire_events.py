"""One good event of each type, as it stands on the wire, and a way to spoil it."""

import copy
import json
from collections.abc import Iterator
from enum import Enum
from typing import Any


class _Absent(Enum):
    REMOVED = "removed"


REMOVED = _Absent.REMOVED
"""As a value: the field is not there at all."""

ISSUED: dict[str, Any] = {
    "specversion": "1.0",
    "id": "issue-1",
    "source": "urn:uscc:11510100MB0000001Y",
    "type": "voucher.issued.v1",
    "subject": "CD-2024-000001",
    "time": "2024-05-01T10:00:00+08:00",
    "datacontenttype": "application/json",
    "data": {
        "voucher_id": "CD-2024-000001",
        "programme": "chengdu-2024",
        "kind": "cash",
        "amount": "50000.00",
        "enterprise": {
            "uscc": "91350100M000100Y43",
            "name": "示例科技有限公司",
            "organisation": "enterprise",
            "size": "small",
            "industry": "软件和信息服务业",
            "region": "四川省",
            "prior_year_revenue": "10000000.00",
        },
        "contract": {
            "number": "HT-2024-001",
            "provider": "91510100MA0000001L",
            "fee": "100000.00",
            "signed_on": "2024-04-15",
        },
        "valid_until": "2025-04-30",
    },
}

REDEEMED: dict[str, Any] = {
    "specversion": "1.0",
    "id": "redemption-1",
    "source": "urn:uscc:91510100MA0000001L",
    "type": "voucher.redeemed.v1",
    "subject": "CD-2024-000001",
    "time": "2024-06-01T10:00:00.250+08:00",
    "data": {
        "redemption_id": "R-1",
        "voucher_id": "CD-2024-000001",
        "programme": "chengdu-2024",
        "provider": "91510100MA0000001L",
        "amount": "12500.50",
        "order_number": "D-7",
        "invoice_number": "24512000000012345678",
        "item": "compute",
    },
}

EXHAUSTED: dict[str, Any] = {
    "specversion": "1.0",
    "id": "quota-1",
    "source": "urn:uscc:11510100MB0000001Y",
    "type": "quota.exhausted.v1",
    "subject": "91350100M000100Y43",
    "time": "2024-07-01T02:00:00Z",
    "data": {
        "programme": "chengdu-2024",
        "scope": "enterprise",
        "enterprise": "91350100M000100Y43",
        "period": "2024",
        "reason": "年度额度已用完",
    },
}

EVENTS = (ISSUED, REDEEMED, EXHAUSTED)


def paths_of(document: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every field."""
    for key, value in document.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from paths_of(value, f"{prefix}{key}.")


PLACES = [(event, where) for event in EVENTS for where in paths_of(event)]


def changed(event: dict[str, Any], where: str, value: object) -> dict[str, Any]:
    """Return a copy of the event with the field at a dotted path set, or left out where the value is REMOVED."""
    copied = copy.deepcopy(event)
    *parents, field = where.split(".")
    holder = copied
    for parent in parents:
        holder = holder[parent]
    if value is REMOVED:
        del holder[field]
    else:
        holder[field] = value
    return copied


def on_wire(event: object) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()
