"""Valid events of the five shipped programmes, made to measure, and policies that differ from the shipped ones.

What is made is the wire's JSON object; ``raw`` and ``as_inbound`` take it further. Any field can be set by its place, with two
underscores between the parts: ``data__enterprise__size="large"``, ``caps__0__on_cap="clamp"``. None leaves it out.
"""

import copy
import json
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from stdnum.cn import uscc as stdnum_uscc

from schemas.decoding import decode
from schemas.policy import Policy
from services.ledger.entry import Inbound, inbound
from services.programmes import SHIPPED, load_policies

Wire = dict[str, Any]

ISSUE_DAYS = {
    "chengdu-2024": "2024-05-06",
    "guizhou-2024": "2024-05-06",
    "hangzhou-2023": "2023-05-08",
    "beijing-2023-2025": "2024-05-06",
    "henan-2023-2024": "2024-05-06",
}
"""A day on which each programme is open; redemptions are made in the next month."""

FEE_TO_AMOUNT = 10
"""A contract's fee is so many times the voucher, where a test does not care: enough under every shipped rate."""


def uscc(number: int) -> str:
    """Return a valid USCC, another one for each number from 0 to 9,999,999; none of them is a shipped provider's."""
    body = f"91510107MA{number:07d}"
    return body + str(stdnum_uscc.calc_check_digit(body))


ENTERPRISE = uscc(1)
OTHER_ENTERPRISE = uscc(2)
STRANGER = uscc(9_999_999)
"""Accredited nowhere."""


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, Policy]:
    """Return the policies that come with the package, by code."""
    return load_policies()


def authority_of(programme: str) -> str:
    return shipped()[programme].authority.uscc


def providers_of(programme: str) -> list[str]:
    """Return the accredited providers that a cash voucher can be used at, in the order of their codes."""
    policy = shipped()[programme]
    return sorted(policy.kinds["cash"].providers or policy.providers.codes)


def issue_event(
    voucher_id: str,
    *,
    programme: str = "chengdu-2024",
    amount: str = "100000.00",
    enterprise: str = ENTERPRISE,
    fee: str | None = None,
    provider: str | None = None,
    contract_number: str | None = None,
    time: str | None = None,
    event_id: str | None = None,
    source: str | None = None,
    **overrides: Any,
) -> Wire:
    """Return an issue that its programme's rules accept, as long as its limits do."""
    policy = shipped()[programme]
    event = {
        "specversion": "1.0",
        "id": event_id or f"issue-{voucher_id}",
        "source": source or f"urn:uscc:{authority_of(programme)}",
        "type": "voucher.issued.v1",
        "subject": voucher_id,
        "time": time or f"{ISSUE_DAYS[programme]}T10:00:00+08:00",
        "data": {
            "voucher_id": voucher_id,
            "programme": programme,
            "kind": "cash",
            "amount": amount,
            "enterprise": {
                "uscc": enterprise,
                "name": "示例科技有限公司",
                "organisation": "enterprise",
                "size": "small",
                "industry": "软件和信息服务业",
                "region": min(policy.applicants.regions or {"四川省"}),
                "prior_year_revenue": "50000000.00",
            },
            "contract": {
                "number": contract_number or f"HT-{voucher_id}",
                "provider": provider or providers_of(programme)[0],
                "fee": fee or f"{Decimal(amount) * FEE_TO_AMOUNT:.2f}",
                "signed_on": f"{ISSUE_DAYS[programme][:7]}-01",
            },
        },
    }
    return changed(event, overrides)


def redemption_event(
    voucher_id: str,
    number: int = 1,
    *,
    programme: str = "chengdu-2024",
    amount: str = "10000.00",
    provider: str | None = None,
    redemption_id: str | None = None,
    time: str | None = None,
    event_id: str | None = None,
    source: str | None = None,
    **overrides: Any,
) -> Wire:
    """Return a use of the voucher; ``number`` tells the uses of one voucher apart, in the event's id and in the redemption's."""
    provider = provider or providers_of(programme)[0]
    event = {
        "specversion": "1.0",
        "id": event_id or f"redemption-{voucher_id}-{number}",
        "source": source or f"urn:uscc:{provider}",
        "type": "voucher.redeemed.v1",
        "subject": voucher_id,
        "time": time or f"{ISSUE_DAYS[programme].replace('-05-', '-06-')}T10:00:00+08:00",
        "data": {
            "redemption_id": redemption_id or f"R-{voucher_id}-{number}",
            "voucher_id": voucher_id,
            "programme": programme,
            "provider": provider,
            "amount": amount,
            "item": "compute",
        },
    }
    return changed(event, overrides)


def exhausted_event(
    enterprise: str | None = None,
    *,
    programme: str = "chengdu-2024",
    period: str | None = None,
    time: str | None = None,
    event_id: str | None = None,
    source: str | None = None,
    **overrides: Any,
) -> Wire:
    """Return a closure of the enterprise's quota, or of the whole programme's without one."""
    period = period or ISSUE_DAYS[programme][:4]
    event = {
        "specversion": "1.0",
        "id": event_id or f"exhausted-{enterprise or 'all'}-{period}",
        "source": source or f"urn:uscc:{authority_of(programme)}",
        "type": "quota.exhausted.v1",
        "subject": enterprise or programme,
        "time": time or f"{ISSUE_DAYS[programme]}T18:00:00+08:00",
        "data": {
            "programme": programme,
            "scope": "enterprise" if enterprise else "programme",
            **({"enterprise": enterprise} if enterprise else {}),
            "period": period,
        },
    }
    return changed(event, overrides)


def raw(event: Wire) -> bytes:
    """Return the event as it stands in a stream's field."""
    return json.dumps(event, ensure_ascii=False).encode()


def as_inbound(event: Wire) -> Inbound:
    """Return the event as the ledger takes it."""
    data = raw(event)
    return inbound(decode(data, event["type"]), data)


def changed(document: Wire, changes: Mapping[str, Any]) -> Wire:
    """Return a copy of the document with the fields at the places set, or left out where the value is None."""
    copied = copy.deepcopy(document)
    for place, value in changes.items():
        *parents, last = (int(part) if part.isdigit() else part for part in place.split("__"))
        holder: Any = copied
        for parent in parents:
            holder = holder[parent]
        if value is not None:
            holder[last] = value
        elif isinstance(last, int) or last in holder:
            del holder[last]
    return copied


def policy_with(code: str = "chengdu-2024", **changes: Any) -> Policy:
    """Return the shipped policy with some of its rules changed, as if its file said so."""
    document = tomllib.loads((SHIPPED / f"{code}.toml").read_text(encoding="utf-8"))
    return Policy.model_validate(changed(document, changes))


def assumed(**fields: Any) -> Wire:
    """Return a rule for ``policy_with`` that the shipped file does not have: ``maximum=assumed(amount="500000.00")``."""
    return {"source": "assumption", "status": "illustrative", **fields}
