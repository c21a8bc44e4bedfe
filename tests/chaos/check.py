"""The checks on what a campaign left behind. Each is made on its own, and raises the first difference that it finds."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise, zip_longest
from typing import Final

from chaos.evidence import DifferenceError, Evidence, identity_of, policies_of, rows_of
from chaos.faults import SKEW_SECONDS
from chaos.fleet import WAIT_SECONDS
from chaos.messages import Identity
from chaos.places import every_dead_letter_is_right, every_event_has_one_place
from chaos.replay import replayed
from schemas.identifiers import ledger_source


def what_was_seen_stands(found: Evidence) -> None:
    """Require that whatever a head once said is in the chain: nothing that was committed went away."""
    hashes = {(block.programme, block.last): block.hash for block in found.blocks}
    for (programme, position), hash_ in found.seen.items():
        stands = hashes.get((programme, position))
        if position and stands != hash_:
            raise DifferenceError(f"{programme} was seen at {position} with {hash_.hex()}, and there is {stands!r}")


def the_newest_rules_decide(found: Evidence) -> None:
    """Require that rules, once changed, stay changed, and that every entry is in one block."""
    for programme, rows in found.entries.items():
        policies = list(policies_of(found, programme))
        if len(policies) != len(rows):
            raise DifferenceError(f"{programme}: {len(rows)} entries, and blocks of {len(policies)}")
        for earlier, later in pairwise(policies):
            if later.revision < earlier.revision:
                raise DifferenceError(f"{programme}: revision {later.revision} decided after {earlier.revision}")


def no_limit_is_passed(found: Evidence) -> None:
    """Require of sums made from the entries alone that they pass no budget, no cap and no voucher, and of each voucher one issue."""
    for programme, rows in found.entries.items():
        issued: Counter[str] = Counter()
        quotas: Counter[tuple[str, str]] = Counter()
        left: dict[str, int] = {}
        for policy, row in zip(policies_of(found, programme), rows, strict=True):
            if row["accepted"] and row["kind"] == "issued":
                if row["voucher_id"] in left:
                    raise DifferenceError(f"issued twice: {row}")
                period, quota = row["period"], (row["enterprise"], row["period"])
                year = period if policy.budget.per == "year" else "programme"
                issued[year] += row["granted"]
                quotas[quota] += row["granted"]
                left[row["voucher_id"]] = row["granted"]
                if issued[year] > policy.budget.amount or quotas[quota] > policy.caps[0].amount:
                    raise DifferenceError(f"over the budget or the cap, {issued[year]} and {quotas[quota]} fen: {row}")
            elif row["accepted"] and row["kind"] == "redeemed":
                left[row["voucher_id"]] = left.get(row["voucher_id"], 0) - row["amount"]
                if left[row["voucher_id"]] < 0:
                    raise DifferenceError(f"over the voucher, by {-left[row['voucher_id']]} fen: {row}")


def the_model_agrees(found: Evidence) -> None:
    """Require that the model, taking the events in the order of the positions, comes to the same at each, figure by figure."""
    for programme, rows in found.entries.items():
        for position, (row, expected, entered) in enumerate(replayed(policies_of(found, programme), rows), 1):
            if row["position"] != position:
                raise DifferenceError(f"{programme} has no position {position}: {row}")
            for name, value in expected.items():
                if entered[name] != value:
                    told = f"{name} is {entered[name]!r}, the model has {value!r}"
                    raise DifferenceError(f"{programme} {position}: {told}: {row}")


def every_quota_used_up_is_closed_once(found: Evidence) -> None:
    """Require that the ledger itself closed each quota that was used up, once, and no other."""
    for programme, rows in found.entries.items():
        used_up: Counter[tuple[str, str]] = Counter()
        for policy, row in zip(policies_of(found, programme), rows, strict=True):
            if row["granted"] is not None:
                left = row["quota_limit"] - row["quota_used"]
                used_up[row["enterprise"], row["period"]] += left < policy.smallest_voucher <= left + row["granted"]
        by_the_ledger = [row for row in rows if identity_of(row).source == ledger_source(programme)]
        closed = Counter((row["enterprise"], row["period"]) for row in by_the_ledger)
        if closed != +used_up:
            raise DifferenceError(f"{programme}: used up are {+used_up}, closed were {closed}")


def every_notification_is_an_entry(found: Evidence) -> None:
    """Require that the stream, and what a platform read of it meanwhile, are the entries one to one, in their order."""
    for programme, rows in found.entries.items():
        entries = [(b"%d-0" % row["position"], row["leaf"].hex(), row["accepted"], row["code"]) for row in rows]
        for who, notifications in (("stream", found.notified[programme]), ("platform", found.told[programme])):
            said = [(id_, *_said(data)) for id_, data in notifications]
            for one, entry in zip_longest(said, entries):
                if one != entry:
                    raise DifferenceError(f"the {who} of {programme} says {one}, the entry is {entry}")


def _said(data: bytes) -> tuple[str, bool, str | None]:
    said = json.loads(data)["data"]
    return said["hash"], said["outcome"] == "accepted", said.get("code")


def no_wait_ended_early(found: Evidence) -> None:
    """Require that a redemption refused for want of its voucher had waited for as long as it may, but for what clocks differ."""
    began: dict[Identity, datetime] = {}
    for message, sent in zip(found.messages, found.sent, strict=True):
        if message.identity is not None and sent.began_at is not None:
            began[message.identity] = min(began.get(message.identity, sent.began_at), sent.began_at)
    least = timedelta(seconds=WAIT_SECONDS - SKEW_SECONDS)
    for row in rows_of(found):
        if row["code"] == "voucher_unknown" and row["recorded_at"] - began[identity_of(row)] < least:
            raise DifferenceError(f"published at {began[identity_of(row)]}, and waited less than {least}: {row}")


CHECKS: Final[tuple[Callable[[Evidence], None], ...]] = (
    what_was_seen_stands, every_event_has_one_place, every_dead_letter_is_right, the_newest_rules_decide,
    no_limit_is_passed, the_model_agrees, every_quota_used_up_is_closed_once, every_notification_is_an_entry,
    no_wait_ended_early,
)  # fmt: skip


def check(found: Evidence) -> None:
    """Make all checks. Raises DifferenceError with the first that is found."""
    for one in CHECKS:
        try:
            one(found)
        except DifferenceError as difference:
            raise DifferenceError(f"{one.__name__}: {difference}") from None
