"""The ledger once more: plain, slow, and written from the contract's text alone, to compare the real one with.

It keeps one list of entries and works every figure out anew from that list, in yuan (``Decimal``), each time it is asked. It shares
with the ledger only what reads a policy file and the list of codes; it never imports how the ledger decides or what it remembers.

    reference = Reference(policy)
    for event, recorded_at in history:
        outcomes = reference.take(event, recorded_at)

``take`` returns what the event came to and, where it issued a voucher, what the redemptions that waited for it came to. Each
outcome is a dict with ``fate`` ('accepted', 'refused', 'duplicate', 'parked' or 'conflict'), ``source`` and ``id``; an accepted or
refused one is an entry, with its ``position`` and all that FIGURES names (None where it does not apply).
"""

from calendar import monthrange
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from stdnum.cn import uscc

from schemas.codes import Code
from schemas.policy import Policy

Wire = dict[str, Any]
Outcome = dict[str, Any]

FIGURES = (
    "kind", "code", "period", "voucher_id", "enterprise", "provider", "amount", "granted", "valid_until",
    "voucher_remaining", "quota_used", "quota_limit", "budget_remaining", "payable",
)  # fmt: skip

NOTHING = Decimal(0)


def yuan(fen: int) -> Decimal:
    """Return an amount of a policy, which holds fen, as everything here is: in yuan."""
    return Decimal(fen) / 100


# What the ledger reads of an event, by type: the fields that make two events with one id the same event or not.
_TEXT, _MONEY, _DAY = str, Decimal, date.fromisoformat
_READ: dict[str, Wire] = {
    "voucher.issued.v1": {
        "voucher_id": _TEXT, "programme": _TEXT, "kind": _TEXT, "amount": _MONEY, "valid_until": _DAY,
        "enterprise": {
            "uscc": _TEXT, "name": _TEXT, "organisation": _TEXT, "size": _TEXT, "industry": _TEXT, "region": _TEXT,
            "prior_year_revenue": _MONEY,
        },
        "contract": {"number": _TEXT, "provider": _TEXT, "fee": _MONEY, "signed_on": _DAY, "ends_on": _DAY},
    },
    "voucher.redeemed.v1": {
        "redemption_id": _TEXT, "voucher_id": _TEXT, "programme": _TEXT, "provider": _TEXT, "amount": _MONEY,
        "order_number": _TEXT, "invoice_number": _TEXT, "item": _TEXT,
    },
    "quota.exhausted.v1": {
        "programme": _TEXT, "scope": _TEXT, "enterprise": _TEXT, "period": _TEXT, "reason": _TEXT,
    },
}  # fmt: skip


def _read(part: Wire, fields: Wire) -> Wire:
    """Return the fields by name, as values, None where one is absent; what is not named is ignored."""
    return {
        name: None if part.get(name) is None else _read(part[name], how) if isinstance(how, dict) else how(part[name])
        for name, how in fields.items()
    }


class Reference:
    """One programme."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.entries: list[Outcome] = []
        self.waiting: list[Wire] = []
        self._seen: list[Wire] = []

    # ---- Taking events -----------------------------------------------------------------------------------------------

    def take(self, event: Wire, recorded_at: datetime) -> list[Outcome]:
        """Take one event in; return its outcome first, then those of the redemptions that it set free, longest waiting first."""
        event = self._as_read(event)
        origin = {"source": event["source"], "id": event["id"]}
        for before in self._seen:
            if (before["source"], before["id"]) == (event["source"], event["id"]):
                return [{"fate": "duplicate" if before == event else "conflict", **origin}]
        self._seen.append(event)
        match event["type"]:
            case "quota.exhausted.v1":
                return [self._enter(event, self._closure(event["data"]))]
            case "voucher.redeemed.v1":
                entry = self._redemption(event, waited=False)
                if entry is None:
                    self.waiting.append(event)
                    return [{"fate": "parked", **origin}]
                return [self._enter(event, entry)]
            case _:
                outcomes = [self._enter(event, self._issue(event, recorded_at))]
        if outcomes[0]["fate"] == "accepted":
            outcomes += [
                self._decide_parked(parked)
                for parked in list(self.waiting)
                if parked["data"]["voucher_id"] == event["data"]["voucher_id"]
            ]
        return outcomes

    def end_wait(self, source: str, event_id: str) -> Outcome:
        """Decide a parked redemption, by its event's source and id: its wait is over."""
        (parked,) = (one for one in self.waiting if (one["source"], one["id"]) == (source, event_id))
        return self._decide_parked(parked)

    def _decide_parked(self, redemption: Wire) -> Outcome:
        self.waiting.remove(redemption)
        entry = self._redemption(redemption, waited=True)
        assert entry is not None
        return self._enter(redemption, entry)

    def _as_read(self, event: Wire) -> Wire:
        envelope = {name: event.get(name) for name in ("id", "source", "type", "subject")}
        data = _read(event["data"], _READ[event["type"]])
        return {**envelope, "time": datetime.fromisoformat(event["time"]), "data": data}

    def _enter(self, event: Wire, entry: Outcome) -> Outcome:
        code = entry["code"]
        outcome = {
            "fate": "accepted" if code in {None, Code.CLAMPED_TO_CAP} else "refused",
            "source": event["source"],
            "id": event["id"],
            "position": len(self.entries) + 1,
            **dict.fromkeys(FIGURES),
            **entry,
        }
        # Beside the outcome, what later decisions ask about an accepted entry.
        self.entries.append({**outcome, "data": event["data"]})
        return outcome

    # ---- Figures, worked out from the entries ------------------------------------------------------------------------

    def standing(self, kind: str) -> list[Outcome]:
        return [entry for entry in self.entries if entry["fate"] == "accepted" and entry["kind"] == kind]

    def budget_period(self, period: str) -> str:
        return period if self.policy.budget.per == "year" else "programme"

    def budget_remaining(self, period: str) -> Decimal:
        wanted = self.budget_period(period)
        issued = [one["granted"] for one in self.standing("issued") if self.budget_period(one["period"]) == wanted]
        return yuan(self.policy.budget.amount) - sum(issued, NOTHING)

    def quota_used(self, enterprise: str, period: str) -> Decimal:
        mine = [one for one in self.standing("issued") if (one["enterprise"], one["period"]) == (enterprise, period)]
        return sum((one["granted"] for one in mine), NOTHING)

    def quota_limit(self) -> Decimal | None:
        return next((yuan(cap.amount) for cap in self.policy.caps if cap.stage == "issue"), None)

    def payable(self, provider: str) -> Decimal:
        return sum((one["amount"] for one in self.standing("redeemed") if one["provider"] == provider), NOTHING)

    def voucher(self, voucher_id: str) -> Outcome | None:
        return next((one for one in self.standing("issued") if one["voucher_id"] == voucher_id), None)

    def voucher_remaining(self, voucher_id: str) -> Decimal:
        issue = self.voucher(voucher_id)
        assert issue is not None
        used = [one["amount"] for one in self.standing("redeemed") if one["voucher_id"] == voucher_id]
        return issue["granted"] - sum(used, NOTHING)

    def closed(self, enterprise: str, day: date) -> bool:
        return any(
            one["enterprise"] in {None, enterprise} and one["period"] in {"programme", f"{day:%Y}"}
            for one in self.standing("exhausted")
        )

    # ---- Days and periods --------------------------------------------------------------------------------------------

    def day_of(self, moment: datetime) -> date:
        return moment.astimezone(self.policy.period.zone).date()

    def period_of(self, day: date) -> str:
        whole = any(cap.stage == "issue" and cap.period == "programme" for cap in self.policy.caps)
        return "programme" if whole else str(day.year)

    def valid_until(self, issued_on: date, stated: date | None) -> date | None:
        days = [stated] if stated else []
        rule = self.policy.validity
        if rule is not None and rule.until is not None:
            days.append(rule.until)
        if rule is not None and rule.days is not None:
            days.append(issued_on + timedelta(days=rule.days))
        if rule is not None and rule.months is not None:
            days.append(_months_later(issued_on, rule.months))
        return min(days) if days else None

    # ---- The rules, in the order of the codes ------------------------------------------------------------------------

    def _issue(self, event: Wire, recorded_at: datetime) -> Outcome:
        data = event["data"]
        issued_on = self.day_of(event["time"])
        day = {
            "occurred_at": issued_on,
            "recorded_at": self.day_of(recorded_at),
            "contract_signed_on": data["contract"]["signed_on"],
        }[self.policy.period.attribution]
        period, enterprise = self.period_of(day), data["enterprise"]["uscc"]
        used, left = self.quota_used(enterprise, period), self.budget_remaining(period)
        entry = {
            "kind": "issued", "period": period, "voucher_id": data["voucher_id"], "enterprise": enterprise,
            "provider": data["contract"]["provider"], "amount": data["amount"], "quota_used": used,
            "quota_limit": self.quota_limit(), "budget_remaining": left,
        }  # fmt: skip
        granted, at_the_cap = self._at_the_cap(data["amount"], used)
        broken = self._broken_before_the_limits(data, day)
        if self.closed(enterprise, day):
            broken.append(Code.QUOTA_CLOSED)
        if at_the_cap is not None:
            broken.append(at_the_cap)
        if granted > left:
            broken.append(Code.EXCEEDS_BUDGET)
        if broken:
            return {**entry, "code": broken[0]}
        return {
            **entry,
            "code": Code.CLAMPED_TO_CAP if granted < data["amount"] else None,
            "granted": granted,
            "voucher_remaining": granted,
            "valid_until": self.valid_until(issued_on, data["valid_until"]),
            "quota_used": used + granted,
            "budget_remaining": left - granted,
        }

    def _at_the_cap(self, amount: Decimal, used: Decimal) -> tuple[Decimal, Code | None]:
        """Return what the cap leaves to be granted, and the code when that is not enough."""
        limit = self.quota_limit()
        if limit is None or used + amount <= limit:
            return amount, None
        if all(cap.on_cap == "refuse" for cap in self.policy.caps if cap.stage == "issue"):
            return amount, Code.EXCEEDS_ANNUAL_CAP
        rest, minimum = max(limit - used, NOTHING), self.policy.minimum
        if minimum is not None and minimum.binds == "granted" and rest < yuan(minimum.amount):
            return rest, Code.BELOW_MINIMUM
        return rest, Code.EXCEEDS_ANNUAL_CAP if rest == 0 else None

    def _broken_before_the_limits(self, data: Wire, day: date) -> list[Code]:
        """Return every rule that is broken before the limits are looked at, in the order of the codes."""
        policy, who, contract = self.policy, data["enterprise"], data["contract"]
        eligible, revenue = policy.applicants, who["prior_year_revenue"]
        floor, terms = policy.revenue, policy.contract
        share = next((Fraction(rate.share, 10**6) for rate in policy.rates if _applies(rate.when, data)), Fraction(0))
        rules = {
            Code.PROGRAMME_NOT_OPEN: day < policy.period.opens_on,
            Code.PROGRAMME_CLOSED: day > policy.period.closes_on,
            Code.ENTERPRISE_INVALID: not uscc.is_valid(who["uscc"]) or uscc.compact(who["uscc"]) != who["uscc"],
            Code.ORGANISATION_NOT_ELIGIBLE: who["organisation"] not in eligible.organisations,
            Code.SIZE_NOT_ELIGIBLE: _outside(eligible.sizes, who["size"]),
            Code.INDUSTRY_NOT_ELIGIBLE: _outside(eligible.industries, who["industry"]),
            Code.REGION_NOT_ELIGIBLE: _outside(eligible.regions, who["region"]),
            Code.REVENUE_BELOW_MINIMUM: floor is not None
            and who["organisation"] in floor.binds
            and (revenue is None or revenue < yuan(floor.minimum)),
            Code.PROVIDER_NOT_ACCREDITED: contract["provider"] not in self._accredited(),
            Code.CONTRACT_NOT_ELIGIBLE: contract["signed_on"] < (terms.signed_from or date.min)
            or contract["signed_on"] > (terms.signed_until or date.max)
            or _longer_than(terms.term_months_max, contract["signed_on"], contract["ends_on"]),
            Code.CONTRACT_ALREADY_USED: terms.one_voucher_each
            and any(
                (one["provider"], one["data"]["contract"]["number"]) == (contract["provider"], contract["number"])
                for one in self.standing("issued")
            ),
            Code.KIND_NOT_OFFERED: data["kind"] not in policy.kinds,
            Code.VOUCHER_EXISTS: self.voucher(data["voucher_id"]) is not None,
            Code.EXCEEDS_CONTRACT_SHARE: Fraction(data["amount"]) > Fraction(contract["fee"]) * share,
            Code.BELOW_MINIMUM: policy.minimum is not None and data["amount"] < yuan(policy.minimum.amount),
            Code.ABOVE_MAXIMUM: policy.maximum is not None and data["amount"] > yuan(policy.maximum.amount),
        }
        return [code for code, broken in rules.items() if broken]

    def _accredited(self) -> set[str]:
        return {provider.uscc for provider in self.policy.providers.accredited}

    def _redemption(self, event: Wire, *, waited: bool) -> Outcome | None:
        """Return the entry, or None where it has to wait for its voucher. A use counts on the day it was made."""
        policy, data = self.policy, event["data"]
        day, provider, payable = self.day_of(event["time"]), data["provider"], self.payable(data["provider"])
        entry = {
            "kind": "redeemed", "period": self.period_of(day), "voucher_id": data["voucher_id"], "provider": provider,
            "amount": data["amount"], "payable": payable,
        }  # fmt: skip
        if day < policy.period.opens_on:
            return {**entry, "code": Code.PROGRAMME_NOT_OPEN}
        if provider not in self._accredited():
            return {**entry, "code": Code.PROVIDER_NOT_ACCREDITED}
        issue = self.voucher(data["voucher_id"])
        if issue is None:
            return {**entry, "code": Code.VOUCHER_UNKNOWN} if waited else None
        remaining, kind = self.voucher_remaining(data["voucher_id"]), policy.kinds[issue["data"]["kind"]]
        entry |= {"enterprise": issue["enterprise"], "voucher_remaining": remaining}
        rules = {
            Code.PROVIDER_NOT_ACCREDITED: _outside(kind.providers, provider)
            or (policy.providers.redeemed_by == "contract" and provider != issue["provider"]),
            Code.VOUCHER_EXPIRED: issue["valid_until"] is not None and day > issue["valid_until"],
            Code.ITEM_NOT_COVERED: (data["item"] or "compute") not in kind.covers,
            Code.REDEMPTION_EXISTS: any(
                (one["provider"], one["data"]["redemption_id"]) == (provider, data["redemption_id"])
                for one in self.standing("redeemed")
            ),
            Code.EXCEEDS_VOUCHER_BALANCE: data["amount"] > remaining,
        }
        for code, broken in rules.items():
            if broken:
                return {**entry, "code": code}
        return {
            **entry, "code": None, "voucher_remaining": remaining - data["amount"], "payable": payable + data["amount"],
        }  # fmt: skip

    def _closure(self, data: Wire) -> Outcome:
        enterprise = data["enterprise"]
        entry = {"kind": "exhausted", "period": data["period"], "enterprise": enterprise, "code": None}
        if enterprise is None:
            return entry
        if not uscc.is_valid(enterprise) or uscc.compact(enterprise) != enterprise:
            return {**entry, "code": Code.ENTERPRISE_INVALID}
        return {
            **entry, "quota_used": self.quota_used(enterprise, data["period"]), "quota_limit": self.quota_limit(),
        }  # fmt: skip


def _outside(listed: frozenset[str] | None, value: str | None) -> bool:
    return listed is not None and value not in listed


def _applies(when: Any, data: Wire) -> bool:
    who = data["enterprise"]
    return when is None or not (
        _outside(when.organisations, who["organisation"])
        or _outside(when.sizes, who["size"])
        or _outside(when.industries, who["industry"])
        or _outside(when.regions, who["region"])
        or _outside(when.kinds, data["kind"])
    )


def _months_later(day: date, months: int) -> date:
    """Return the day so many months on, or that month's last day where it is shorter."""
    year, month = day.year, day.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _longer_than(months: int | None, start: date, end: date | None) -> bool:
    return months is not None and end is not None and end > _months_later(start, months)
