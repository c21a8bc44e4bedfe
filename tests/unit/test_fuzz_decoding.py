"""Bad input by the thousand, in memory: each reading of an event against the contract, read a second time in ``contract``.

Nothing raises but what says why, all readings agree, and what gets through is what may stand in a ledger: money in whole fen, texts
that PostgreSQL takes.
"""

import json
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from random import Random

import contract
import msgspec
import pytest
from events_made import ENTERPRISE, authority_of, exhausted_event, issue_event, providers_of, redemption_event, shipped
from hypothesis import example, given
from hypothesis import strategies as st
from ledger_in_memory import LedgerInMemory
from many import many, tries
from spoiling import MIB, VALUES, Spoilt, spoil
from wire_events import EVENTS, ISSUED, REDEEMED, changed, on_wire

from schemas import decoding
from schemas.codes import DeadLetterReason
from schemas.decoding import DETAIL_LENGTH_MAX, UndecodableError, decode, read_by_form
from schemas.plain import read_plain
from services.broker import inbound_streams
from services.consumers.reading import original_bytes, read_entry
from services.ledger.batch import Decided, Duplicate, Rejected, Waiting
from services.ledger.entry import inbound
from services.notifications import notification

CHENGDU = "chengdu-2024"
TYPES = [event["type"] for event in EVENTS]
MADE = [
    issue_event("F-1"),
    redemption_event("F-1", amount="0.01"),
    exhausted_event(ENTERPRISE),
    exhausted_event(),
    issue_event("F-1", programme="guizhou-2024"),
    redemption_event("F-1", programme="guizhou-2024"),
]
STREAMS = {stream.key: stream for stream in inbound_streams(shipped())}


@st.composite
def spoilt(draw, events=EVENTS):
    random = draw(st.randoms(use_true_random=False))
    return spoil(random, random.choice(events), events)


def by_contract(raw, expected):
    """Return what the event says as a dictionary, or the reason why it says nothing."""
    try:
        return contract.said(raw, expected)
    except contract.NotReadError as error:
        return DeadLetterReason(str(error))


def by_code(read, *arguments):
    """Return the same as the code has it."""
    fault = None
    try:
        event = read(*arguments)
    except UndecodableError as error:
        fault = error
    if fault is None:
        return None if event is None else plain_of(event)
    assert 0 < len(fault.detail) <= DETAIL_LENGTH_MAX
    fault.detail.encode()
    return fault.reason


def plain_of(event):
    return msgspec.to_builtins(event, builtin_types=(date, datetime))


def leaves_of(said):
    return [leaf for value in said.values() for leaf in (leaves_of(value) if isinstance(value, dict) else [value])]


@many(3_000)
@given(spoilt(), st.sampled_from(TYPES))
def test_every_reading_is_that_of_the_contract(one, other):
    raw = one.raw
    for expected in {other, *(kind for kind in TYPES if kind.encode() in raw)}:
        wanted = by_contract(raw, expected)
        assert by_code(decode, raw, expected) == wanted
        assert by_code(read_by_form, raw, expected) == wanted
        assert by_code(read_plain, raw, expected) in (None, wanted)
    wanted = by_contract(raw, None)
    assert by_code(decode, raw) == wanted
    if isinstance(wanted, dict):
        assert by_code(decode, raw.decode()) == wanted
        leaves = leaves_of(plain_of(decode(raw)))
        assert {type(leaf) for leaf in leaves} <= {str, int, date, datetime, type(None)}
        assert not any("\0" in leaf.encode().decode() for leaf in leaves if isinstance(leaf, str))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_every_value_in_the_place_of_one_that_is_ignored_and_of_one_that_is_not(event):
    raw, kind = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(), event["type"]
    end = raw.rindex(b"}")
    for value in VALUES:
        beside, within = (raw[:place] + b',"extra":' + value + raw[place:] for place in (end, raw.rindex(b"}", 0, end)))
        for one in (beside, within, raw.replace(b'"chengdu-2024"', value), raw.replace(b'"1.0"', value)):
            wanted = by_contract(one, kind)
            assert by_code(decode, one, kind) == by_code(read_by_form, one, kind) == wanted
            assert by_code(read_plain, one, kind) in (None, wanted)


def test_what_is_tried_is_of_every_kind():
    """Else the test above would show little: each reason comes often, and so does what is read, by the fast reading too."""
    found = Counter()
    for seed in range(tries(4_000)):
        random = Random(seed)
        event = random.choice(EVENTS)
        expected = random.choice([event["type"], *TYPES])
        one = spoil(random, event, EVENTS)
        read = by_code(decode, one.raw, expected)
        found[read if isinstance(read, DeadLetterReason) else "read"] += 1
        found["read fast"] += by_code(read_plain, one.raw, expected) is not None
    assert found.keys() == {"read", "read fast", *READING}
    assert min(found.values()) >= tries(25), found


READING = {
    DeadLetterReason.NOT_JSON,
    DeadLetterReason.NOT_CLOUDEVENT,
    DeadLetterReason.UNKNOWN_TYPE,
    DeadLetterReason.WRONG_STREAM,
    DeadLetterReason.INVALID_DATA,
}


NAMES = {
    "a known name, the same value": (b'"amount": "12500.50"', b'"amount": "12500.50", "amount": "12500.50"'),
    "a known name, another value": (b'"amount": "12500.50"', b'"amount": "12500.50", "amount": "1.00"'),
    "the other order": (b'"amount": "12500.50"', b'"amount": "1.00", "amount": "12500.50"'),
    "null": (b'"amount": "12500.50"', b'"amount": null, "amount": "12500.50"'),
    "a name that may be left out": (b'"item": "compute"', b'"item": null, "item": "compute"'),
    "with a space": (b'"amount": "12500.50"', b'"amount" : "1.00", "amount":"12500.50"'),
    "with an escape": (b'"amount": "12500.50"', rb'"amoun\u0074": "1.00", "amount": "12500.50"'),
    "of the envelope": (b'"specversion": "1.0"', b'"specversion": "1.0", "specversion": "1.0"'),
    "the type": (b'"specversion": "1.0"', b'"specversion": "1.0", "type": "voucher.issued.v1"'),
    "data": (b'"specversion": "1.0"', b'"specversion": "1.0", "data": {}'),
    "data as a number": (b'"specversion": "1.0"', b'"specversion": "1.0", "data": 1'),
    "an unknown attribute": (b'"specversion": "1.0"', b'"specversion": "1.0", "extra": 1, "extra": 1'),
    "an unknown field": (b'"item": "compute"', b'"item": "compute", "extra": "a", "extra": "b"'),
    "inside an unknown field": (b'"item": "compute"', b'"item": "compute", "extra": {"a": 1, "a": 2}'),
    "inside a list": (b'"item": "compute"', b'"item": "compute", "extra": [[{"a": 1, "a": 2}]]'),
    "the empty name": (b'"item": "compute"', b'"item": "compute", "": 1, "": 1'),
    "with values that look like names": (b'"item": "compute"', b'"item": "compute", "x": ":", "y": ":", "x": ","'),
}


@pytest.mark.parametrize("where", NAMES)
def test_a_name_that_stands_twice_in_an_object_is_refused_wherever_it_stands(where):
    """One reader takes its first value and the next its last: an event that says two things says nothing."""
    before, after = NAMES[where]
    raw = on_wire(REDEEMED).replace(before, after)
    assert raw.count(after) == 1
    assert by_contract(raw, REDEEMED["type"]) is DeadLetterReason.NOT_JSON
    for expected in (REDEEMED["type"], None):
        with pytest.raises(UndecodableError, match="stands twice in one object") as caught:
            decode(raw, expected)
        assert caught.value.reason is DeadLetterReason.NOT_JSON
    assert read_plain(raw, REDEEMED["type"]) is None


@pytest.mark.parametrize(
    "extra",
    [
        {"datacontenttype": "application/json"},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"sequence": 1, "partitionkey": None},
        {"subject": None},
        {"extra": {"amount": "the name of another object"}},
        {"extra": ":", ":": '"'.replace('"', "")},
    ],
    ids=str,
)
def test_what_stands_once_is_read_fast(extra):
    event = REDEEMED | extra
    assert read_plain(on_wire(event), event["type"]) == read_by_form(on_wire(event), event["type"])
    assert read_plain(on_wire(event), event["type"]) is not None


AUTHORITIES = {code: authority_of(code) for code in shipped()}
OWN = [
    f"voucher.issued:{CHENGDU}", f"quota.exhausted:{CHENGDU}", "voucher.issued:guizhou-2024",
    *(f"voucher.redeemed:{provider}" for provider in providers_of(CHENGDU)),
]  # fmt: skip


@many(2_000)
@given(spoilt())
def test_what_is_wrong_is_told_as_the_envelope_read_alone_tells_it(one):
    """Where the form has said already what is wrong with the envelope, it is not read a second time, and the answer is the same."""
    for expected in TYPES:
        raw = one.raw
        try:
            read_by_form(raw, expected)
        except UndecodableError as short:
            read_once = short
        else:
            continue
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(decoding, "_tells_of_the_envelope", lambda *_: False)
            with pytest.raises(UndecodableError) as read_alone:
                read_by_form(raw, expected)
        assert str(read_once) == str(read_alone.value)


@many(500)
@given(
    spoilt(MADE),
    st.sampled_from(OWN),
    st.dictionaries(st.binary(max_size=8), st.binary(max_size=8), max_size=3),
    st.booleans(),
)
@example(Spoilt(b"", ()), OWN[0], {}, True)
def test_an_entry_is_read_on_its_own_stream_only(one, key, beside, has_event):
    stream = STREAMS[key]
    fields = beside | ({b"event": one.raw} if has_event else {})
    if not has_event:
        fields.pop(b"event", None)
    wanted = contract.refused_on(key, one.raw, AUTHORITIES) if has_event else "not_cloudevent"
    found = by_code(lambda: read_entry(stream, fields, shipped().__contains__, contract.BYTES_MAX)[0])
    if wanted is None:
        assert found == by_contract(one.raw, None)
    else:
        assert found == wanted
    every = b"\n".join(b"=".join(pair) for pair in fields.items())
    assert original_bytes(fields) == (one.raw if has_event else every)


@many(200)
@given(st.lists(spoilt([event for event in MADE if event["data"]["programme"] == CHENGDU]), min_size=4, max_size=12))
def test_whatever_is_read_is_decided_and_told(ones):
    ledger = LedgerInMemory(shipped()[CHENGDU])
    read = {}
    for raw, _ in ones:
        said = by_contract(raw, None)
        if isinstance(said, dict) and said["data"]["programme"] == CHENGDU:
            outcome = ledger.batch.take(inbound(decode(raw), raw))
            assert isinstance(outcome, Decided | Duplicate | Rejected | Waiting)
            read[raw] = said
    for row in ledger.rows:
        said = read[row["event"]]
        told = json.loads(notification(row, b"\0" * 32))["data"]
        assert (told["event"]["id"], told["event"]["source"]) == (said["id"], said["source"])
        assert datetime.fromisoformat(told["event"]["time"].upper()[:19]) == said["time"].replace(
            microsecond=0, tzinfo=None
        )
        assert told.get("amount") == (None if row["amount"] is None else f"{said['data']['amount'] / Decimal(100):.2f}")


@pytest.mark.parametrize(
    "text", ["a" * MIB, "\x1f" * (MIB // 8), "\U0001f600" * (MIB // 8)], ids=["a", "control", "emoji"]
)
def test_a_text_of_a_mebibyte_is_read_as_the_contract_says(text):
    for where in ("id", "source", "type", "time", "data.voucher_id", "data.amount", "data.contract.number", "extra"):
        raw = json.dumps(changed(ISSUED, where, text), ensure_ascii=False).encode()
        assert by_code(decode, raw, ISSUED["type"]) == by_contract(raw, ISSUED["type"])
