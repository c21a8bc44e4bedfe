"""One example of each message. They are of one story, and what the ledger says in it is what it would say (the tests compare)."""

from typing import Any, Final

ISSUED: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "demo-issue-1",
    "source": "urn:uscc:11510100MB0000001Y",
    "type": "voucher.issued.v1",
    "subject": "CD-1",
    "time": "2024-03-01T10:00:00+08:00",
    "data": {
        "voucher_id": "CD-1",
        "programme": "chengdu-2024",
        "kind": "cash",
        "amount": "200000.00",
        "enterprise": {
            "uscc": "91350100M000100Y43",
            "name": "示例智能科技有限公司",
            "organisation": "enterprise",
            "prior_year_revenue": "36000000.00",
        },
        "contract": {
            "number": "HT-2024-001",
            "provider": "91510100MA0000001L",
            "fee": "400000.00",
            "signed_on": "2024-02-20",
        },
    },
}

REDEEMED: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "demo-redeem-1",
    "source": "urn:uscc:91510100MA0000001L",
    "type": "voucher.redeemed.v1",
    "subject": "CD-1",
    "time": "2024-03-08T15:30:00+08:00",
    "data": {
        "redemption_id": "R-1",
        "voucher_id": "CD-1",
        "programme": "chengdu-2024",
        "provider": "91510100MA0000001L",
        "amount": "80000.00",
        "order_number": "DD-77",
        "item": "compute",
    },
}

EXHAUSTED: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "demo-close-1",
    "source": "urn:uscc:11510100MB0000001Y",
    "type": "quota.exhausted.v1",
    "subject": "91350100M000100Y43",
    "time": "2024-04-01T09:00:00+08:00",
    "data": {
        "programme": "chengdu-2024",
        "scope": "enterprise",
        "enterprise": "91350100M000100Y43",
        "period": "2024",
        "reason": "年度额度已用完",
    },
}

NOTIFICATION: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "chengdu-2024:2",
    "source": "urn:voucher-ledger:chengdu-2024",
    "type": "voucher.redeemed.accepted.v1",
    "subject": "CD-1",
    "time": "2024-03-08T07:30:01.000000Z",
    "datacontenttype": "application/json",
    "data": {
        "position": 2,
        "outcome": "accepted",
        "message": {
            "zh": "已受理。",
            "en": "Accepted.",
        },
        "event": {
            "id": "demo-redeem-1",
            "source": "urn:uscc:91510100MA0000001L",
            "type": "voucher.redeemed.v1",
            "time": "2024-03-08T15:30:00+08:00",
        },
        "voucher_id": "CD-1",
        "enterprise": "91350100M000100Y43",
        "provider": "91510100MA0000001L",
        "period": "2024",
        "policy": {
            "code": "chengdu-2024",
            "digest": "58fb76dc71a8397dde4136f413937798527618515fd085f4d4e61dbe9631f894",
        },
        "amount": "80000.00",
        "voucher_remaining": "120000.00",
        "payable": "80000.00",
        "hash": "dd0a2ff3e74a85816d32603c0c78edfe50f759be9b4f95baf176361655399391",
    },
}

DEAD_LETTER: Final[dict[str, Any]] = {
    "event": '{"specversion":"1.0","id":"broken-1","type":"voucher.issued.v1"',
    "stream": "voucher.issued:chengdu-2024",
    "entry_id": "1709258400000-0",
    "reason": "not_json",
    "detail": "not JSON in UTF-8: Expecting ',' delimiter: line 1 column 64 (char 63)",
    "failed_at": "2024-03-01T02:00:01Z",
}
