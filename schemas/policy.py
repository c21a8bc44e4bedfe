"""A programme's rules as one TOML file says them."""

import hashlib
import json
import tomllib
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.events import Kind
from schemas.identifiers import ProgrammeCode
from schemas.parts import Names, Part, Rule, Source, Whole
from schemas.rules import (
    Applicants,
    Authority,
    Budget,
    Cap,
    ContractRule,
    KindRule,
    Maximum,
    Minimum,
    Period,
    Providers,
    Rate,
    Returns,
    Revenue,
    Validity,
)  # fmt: skip

REVISION_MAX = 2**31 - 1


class NotTomlError(ValueError):
    """A policy file is no TOML; the message says where and why."""


class Policy(Part):
    """All rules of one programme."""

    code: ProgrammeCode
    revision: Annotated[Whole, Field(ge=1, le=REVISION_MAX)] = 1
    names: Names
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    authority: Authority
    period: Period
    budget: Budget
    applicants: Applicants
    revenue: Revenue | None = None
    providers: Providers
    contract: ContractRule
    kinds: Annotated[dict[Kind, KindRule], Field(min_length=1)]
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    minimum: Minimum | None = None
    maximum: Maximum | None = None
    caps: tuple[Cap, ...] = ()
    validity: Validity | None = None
    returns: Returns | None = None

    @model_validator(mode="after")
    def _sources_are_named(self) -> Self:
        for where, rule in self.rules():
            if rule.source not in self.sources:
                raise ValueError(f"{where}: source {rule.source!r} is not under [sources]")
        return self

    @model_validator(mode="after")
    def _kinds_use_accredited_providers(self) -> Self:
        for kind, rule in self.kinds.items():
            unknown = (rule.providers or frozenset()) - self.providers.codes
            if unknown:
                raise ValueError(f"kinds.{kind}: not among the accredited providers: {', '.join(sorted(unknown))}")
        return self

    @model_validator(mode="after")
    def _a_voucher_can_be_granted(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.maximum.amount < self.minimum.amount:
            raise ValueError("maximum: its amount is under the minimum's")
        return self

    def rules(self) -> list[tuple[str, Rule]]:
        """Return every rule with the place where it stands in the file."""
        single: list[tuple[str, Rule | None]] = [
            (name, getattr(self, name))
            for name in (
                "authority", "period", "budget", "applicants", "revenue", "providers", "contract",
                "minimum", "maximum", "validity", "returns",
            )
        ]  # fmt: skip
        listed: list[tuple[str, Rule | None]] = [
            *((f"kinds.{kind}", rule) for kind, rule in self.kinds.items()),
            *((f"rates[{number}]", rate) for number, rate in enumerate(self.rates)),
            *((f"caps[{number}]", cap) for number, cap in enumerate(self.caps)),
        ]
        return [(where, rule) for where, rule in single + listed if rule is not None]

    def not_yet_enforced(self) -> list[str]:
        """Return what the file asks for that the ledger does not enforce yet; a programme that asks for it is not run."""
        found = [
            f"caps[{number}]: a cap at the stage {cap.stage!r} is not yet enforced (only 'issue' is)"
            for number, cap in enumerate(self.caps)
            if cap.stage != "issue"
        ]
        issue_caps = [cap for cap in self.caps if cap.stage == "issue"]
        if len(issue_caps) > 1:
            found.append("caps: more than one cap at the stage 'issue' is not yet enforced")
        if self.budget.per == "year" and any(cap.period == "programme" for cap in issue_caps):
            found.append("budget: per 'year' together with a cap per 'programme' is not yet enforced")
        return found

    @cached_property
    def cap(self) -> Cap | None:
        """The enterprise's cap at issue, if there is one."""
        return next((cap for cap in self.caps if cap.stage == "issue"), None)

    @cached_property
    def _caps_the_programme(self) -> bool:
        return self.cap is not None and self.cap.period == "programme"

    @cached_property
    def smallest_voucher(self) -> int:
        """The least that can be granted, in fen: with less headroom than this a quota is exhausted."""
        if self.minimum is None:
            return 1
        if self.minimum.binds == "computed" and self.cap is not None and self.cap.on_cap == "clamp":
            return 1
        return self.minimum.amount

    def period_of(self, day: date) -> str:
        """Return the name of the period that a cap counts the day in."""
        return "programme" if self._caps_the_programme else str(day.year)

    def budget_period_of(self, period: str) -> str:
        """Return the name of the period that the budget counts an entry of this period in."""
        return "programme" if self.budget.per == "programme" else period

    @cached_property
    def canonical(self) -> str:
        """The rules as JSON with sorted keys, only what the file says: what the ledger keeps and what the digest covers."""
        content = self.model_dump(mode="json", exclude_unset=True)
        return json.dumps(_sorted(content), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of the canonical form."""
        return hashlib.sha256(self.canonical.encode()).digest()


def _sorted(content: object) -> object:
    """Sort what came from sets, so that the same rules always have the same digest."""
    if isinstance(content, dict):
        return {key: _sorted(value) for key, value in content.items()}
    if isinstance(content, list):
        return (
            sorted(content) if all(isinstance(item, str) for item in content) else [_sorted(item) for item in content]
        )
    return content


def read_policy(path: Path) -> Policy:
    """Read one policy file.

    Raises OSError when it cannot be read, NotTomlError when it is no TOML, pydantic.ValidationError when a rule is wrong.
    """
    return Policy.model_validate(_read_toml(path))


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise NotTomlError("lists or tables are nested too deep") from None
    except ValueError as error:  # also where a number has more digits than Python reads
        raise NotTomlError(str(error)) from None
