"""The checks on where events are: each has one place in a ledger, or is the dead letter that it has to be."""

from collections import Counter, defaultdict

from chaos.evidence import DifferenceError, Evidence, Row, identity_of, rows_of
from chaos.messages import Identity, Message
from schemas.codes import DeadLetterReason
from schemas.identifiers import ledger_source


def every_event_has_one_place(found: Evidence) -> None:
    """Require that each identity is one entry, with the bytes of one of its messages; nothing waits, and nothing came from nowhere."""
    if found.parked:
        raise DifferenceError(f"still parked: {found.parked[0]!r}")
    published: defaultdict[Identity, set[bytes]] = defaultdict(set)
    for message in found.messages:
        if message.identity is not None:
            published[message.identity].add(message.data)
    entered: dict[Identity, Row] = {}
    for row in rows_of(found):
        identity = identity_of(row)
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
    entered = {identity_of(row): row["event"] for row in rows_of(found)}
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
