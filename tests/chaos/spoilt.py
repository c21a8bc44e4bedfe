"""Entries that can be no event of the ledger, each with the reason that its dead letter has to give."""

import random
from collections.abc import Callable
from typing import NamedTuple

from events_made import STRANGER, Wire, authority_of, issue_event, providers_of, redemption_event

from chaos.messages import Message, stream_of, written
from schemas.codes import DeadLetterReason as Reason
from services.broker import FIELD

_OVERSIZED_BYTES = (100_000, 400_000)


class _Spoilt(NamedTuple):
    stream: str
    data: bytes
    reason: Reason
    field: bytes = FIELD


def spoilt(chance: random.Random, number: int, at: float, programme: str) -> Message:
    """Return an entry of some kind that no ledger can take; the number makes it one of its own."""
    good = chance.choice([_issue, _redemption])(chance, number, programme)
    found = chance.choice(_KINDS)(chance, good, number)
    return Message(at, found.stream, found.data, None, reason=found.reason, field=found.field)


def _issue(chance: random.Random, number: int, programme: str) -> Wire:
    return issue_event(f"S-{number}", programme=programme, event_id=f"spoilt-{number}", amount="20000.00")


def _redemption(chance: random.Random, number: int, programme: str) -> Wire:
    provider = chance.choice(providers_of(programme))
    return redemption_event(f"S-{number}", programme=programme, provider=provider, event_id=f"spoilt-{number}")


def _garbage(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    return _Spoilt(stream_of(good), b"\xff garbage %d" % number, Reason.NOT_JSON)


def _cut_off(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    whole = written(good)
    return _Spoilt(stream_of(good), whole[: chance.randrange(20, len(whole) - 1)], Reason.NOT_JSON)


def _oversized(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    beginning = b'{"id": "%d", "data": "' % number
    return _Spoilt(stream_of(good), beginning + b"A" * chance.randint(*_OVERSIZED_BYTES), Reason.INVALID_DATA)


def _no_object(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    return _Spoilt(stream_of(good), b"[%d, 2]" % number, Reason.NOT_CLOUDEVENT)


def _no_id(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    return _Spoilt(stream_of(good), written({**good, "id": None}), Reason.NOT_CLOUDEVENT)


def _other_field(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    return _Spoilt(stream_of(good), written(good), Reason.NOT_CLOUDEVENT, b"payload")


def _other_type(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    return _Spoilt(stream_of(good), written({**good, "type": "voucher.revoked.v1"}), Reason.UNKNOWN_TYPE)


def _money_wrong(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    amount = chance.choice(["-5.00", "1.234", "0.00", "1e3", 20000])
    return _Spoilt(stream_of(good), written({**good, "data": {**good["data"], "amount": amount}}), Reason.INVALID_DATA)


def _by_a_stranger(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    return _Spoilt(stream_of(good), written({**good, "source": f"urn:uscc:{STRANGER}"}), Reason.WRONG_STREAM)


def _on_the_wrong_stream(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    return _Spoilt(f"quota.exhausted:{good['data']['programme']}", written(good), Reason.WRONG_STREAM)


def _for_another_provider(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    programme = good["data"]["programme"]
    mine, other = providers_of(programme)[:2]
    event = redemption_event(f"S-{number}", programme=programme, provider=other, event_id=f"spoilt-{number}")
    event["source"] = f"urn:uscc:{mine}"
    return _Spoilt(f"voucher.redeemed:{mine}", written(event), Reason.WRONG_STREAM)


def _of_no_programme(chance: random.Random, good: Wire, number: int) -> _Spoilt:
    data = {**good["data"], "programme": "atlantis-2024"}
    source = f"urn:uscc:{authority_of(good['data']['programme'])}"
    return _Spoilt(stream_of(good), written({**good, "source": source, "data": data}), Reason.PROGRAMME_UNKNOWN)


_KINDS: list[Callable[[random.Random, Wire, int], _Spoilt]] = [
    _garbage, _cut_off, _oversized, _no_object, _no_id, _other_field, _other_type, _money_wrong, _by_a_stranger,
    _on_the_wrong_stream, _for_another_provider, _of_no_programme,
]  # fmt: skip
