"""The checks on what a campaign left behind. Each is made on its own, and raises the first difference that it finds."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

from chaos.evidence import Evidence, Row
from chaos.faults import SKEW_SECONDS
from chaos.fleet import WAIT_SECONDS
from chaos.messages import Identity, Message
from chaos.replay import replayed
from schemas.codes import DeadLetterReason
from schemas.identifiers import ledger_source


class DifferenceError(AssertionError):
    """What was found is not what has to be."""


def what_was_seen_stands(found: Evidence) -> None:
    """Require that whatever a head once said is in the chain: nothing that was committed went away."""
    for (programme, position), hash_ in found.seen.items():
        stands = found.blocks.get((programme, position))
        if position and stands != hash_:
            raise DifferenceError(f"{programme} was seen at {position} with {hash_.hex()}, and there is {stands!r}")


def every_event_has_one_place(found: Evidence) -> None:
    """Require that each identity is one entry, with the bytes of one of its messages; nothing waits, and nothing came from nowhere."""
    if found.parked:
        raise DifferenceError(f"still parked: {found.parked[0]!r}")
    published: defaultdict[Identity, set[bytes]] = defaultdict(set)
    for message in found.messages:
        if message.identity is not None:
            published[message.identity].add(message.data)
    entered: dict[Identity, Row] = {}
    for row in _rows(found):
        identity = _identity(row)
        if identity.source == ledger_source(identity.programme):
            continue
        if row["event"] not in published[identity]:
            raise DifferenceError(f"nobody published {row}")
        if identity in entered:
            raise DifferenceError(f"twice: {entered[identity]} and {row}")
        entered[identity] = row
    if missing := published.keys() - entered.keys():
        raise DifferenceError(f"published, and no entry: {min(missing)}")


class _Arrivals:
    """Of one content on one stream: entries that were answered, and how many more may have arrived."""

    def __init__(self, reason: DeadLetterReason) -> None:
        self.reason = reason
        self.certain: set[bytes] = set()
        self.possible = 0


def every_dead_letter_is_right(found: Evidence) -> None:
    """Require a dead letter, with its reason, for each time that something arrived which can be no entry; and no other."""
    expected = _expected_letters(found)
    counted = Counter((letter.stream, letter.entry_id) for letter in found.letters)
    for letter in found.letters:
        arrivals = expected.get((letter.stream, letter.event))
        if arrivals is None:
            raise DifferenceError(f"should be no dead letter: {letter}")
        if letter.reason != arrivals.reason:
            raise DifferenceError(f"not {arrivals.reason}: {letter}")
        if counted[letter.stream, letter.entry_id] > 1:
            raise DifferenceError(f"more than once: {letter}")
        if letter.entry_id in arrivals.certain:
            arrivals.certain.remove(letter.entry_id)
        else:
            arrivals.possible -= 1
    for (stream, data), arrivals in expected.items():
        if arrivals.certain:
            raise DifferenceError(f"no dead letter: {min(arrivals.certain)!r} on {stream}, {data[:300]!r}")
        if arrivals.possible < 0:
            raise DifferenceError(f"more dead letters than arrived on {stream}: {data[:300]!r}")


def _expected_letters(found: Evidence) -> dict[tuple[str, bytes], _Arrivals]:
    entered = {_identity(row): row["event"] for row in _rows(found)}
    contents = {(message.identity, message.data): message.content for message in found.messages}
    expected: dict[tuple[str, bytes], _Arrivals] = {}
    for message, sent in zip(found.messages, found.sent, strict=True):
        reason = message.reason or _reason_of_loser(message, contents, entered)
        if reason is not None:
            arrivals = expected.setdefault((message.stream, message.kept), _Arrivals(reason))
            arrivals.certain.update(set(sent.ids) - sent.lost)
            arrivals.possible += sent.unanswered + len(sent.lost)
    return expected


def _reason_of_loser(
    message: Message, contents: dict[tuple[Identity | None, bytes], int], entered: dict[Identity, bytes]
) -> DeadLetterReason | None:
    """Return the reason for an event whose id was taken by another content, None for one that is the entry."""
    assert message.identity is not None
    if contents[message.identity, entered[message.identity]] == message.content:
        return None
    return DeadLetterReason.ID_REUSED_WITH_OTHER_CONTENT


def no_limit_is_passed(found: Evidence) -> None:
    """Require of sums made from the entries alone that they pass no budget, no cap and no voucher, and of each voucher one issue."""
    for programme, rows in found.entries.items():
        policy = found.policies[programme]
        (cap,) = policy.caps
        issued: Counter[str] = Counter()
        quotas: Counter[tuple[str, str]] = Counter()
        left: dict[str, int] = {}
        for row in rows:
            if row["accepted"] and row["kind"] == "issued":
                if row["voucher_id"] in left:
                    raise DifferenceError(f"issued twice: {row}")
                period, quota = row["period"], (row["enterprise"], row["period"])
                year = period if policy.budget.per == "year" else "programme"
                issued[year] += row["granted"]
                quotas[quota] += row["granted"]
                left[row["voucher_id"]] = row["granted"]
                if issued[year] > policy.budget.amount or quotas[quota] > cap.amount:
                    raise DifferenceError(f"over the budget or the cap, {issued[year]} and {quotas[quota]} fen: {row}")
            elif row["accepted"] and row["kind"] == "redeemed":
                left[row["voucher_id"]] = left.get(row["voucher_id"], 0) - row["amount"]
                if left[row["voucher_id"]] < 0:
                    raise DifferenceError(f"over the voucher, by {-left[row['voucher_id']]} fen: {row}")


def the_model_agrees(found: Evidence) -> None:
    """Require that the model, taking the events in the order of the positions, comes to the same at each, figure by figure."""
    for programme, rows in found.entries.items():
        for position, (row, expected, entered) in enumerate(replayed(found.policies[programme], rows), 1):
            if row["position"] != position:
                raise DifferenceError(f"{programme} has no position {position}: {row}")
            for name, value in expected.items():
                if entered[name] != value:
                    told = f"{name} is {entered[name]!r}, the model has {value!r}"
                    raise DifferenceError(f"{programme} {position}: {told}: {row}")


def every_quota_used_up_is_closed_once(found: Evidence) -> None:
    """Require that the ledger itself closed each quota that was used up, once, and no other."""
    for programme, rows in found.entries.items():
        smallest = found.policies[programme].smallest_voucher
        used_up: Counter[tuple[str, str]] = Counter()
        for row in rows:
            if row["granted"] is not None:
                left = row["quota_limit"] - row["quota_used"]
                used_up[row["enterprise"], row["period"]] += left < smallest <= left + row["granted"]
        by_the_ledger = [row for row in rows if _identity(row).source == ledger_source(programme)]
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
    for row in _rows(found):
        if row["code"] == "voucher_unknown" and row["recorded_at"] - began[_identity(row)] < least:
            raise DifferenceError(f"published at {began[_identity(row)]}, and waited less than {least}: {row}")


CHECKS: Final[tuple[Callable[[Evidence], None], ...]] = (
    what_was_seen_stands, every_event_has_one_place, every_dead_letter_is_right, no_limit_is_passed, the_model_agrees,
    every_quota_used_up_is_closed_once, every_notification_is_an_entry, no_wait_ended_early,
)  # fmt: skip


def check(found: Evidence) -> None:
    """Make all checks. Raises DifferenceError with the first that is found."""
    for one in CHECKS:
        try:
            one(found)
        except DifferenceError as difference:
            raise DifferenceError(f"{one.__name__}: {difference}") from None


def _rows(found: Evidence) -> list[Row]:
    return [row for rows in found.entries.values() for row in rows]


def _identity(row: Row) -> Identity:
    event = json.loads(row["event"])
    return Identity(row["programme"], event["source"], event["id"])
