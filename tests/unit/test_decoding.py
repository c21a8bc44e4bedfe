import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_events import EVENTS, EXHAUSTED, ISSUED, PLACES, REDEEMED, REMOVED, changed, on_wire

from schemas.codes import DeadLetterReason
from schemas.decoding import DETAIL_LENGTH_MAX, UndecodableError, decode
from schemas.events import QuotaExhausted, VoucherIssued, VoucherRedeemed
from schemas.forms import ADAPTERS

TYPE = ISSUED["type"]
GOOD = on_wire(ISSUED)
PLACE = GOOD.rindex(b"}")


def with_extra(text):
    """Return the good issue with one more envelope attribute, ``text`` being its value just as it stands in the JSON."""
    return GOOD[:PLACE] + b', "extra": ' + text + b"}"


def fault_of(raw, expected=TYPE):
    with pytest.raises(UndecodableError) as caught:
        decode(raw, expected)
    assert len(caught.value.detail) <= DETAIL_LENGTH_MAX
    caught.value.detail.encode()
    return caught.value


@pytest.mark.parametrize(
    ("event", "kind"), [(ISSUED, VoucherIssued), (REDEEMED, VoucherRedeemed), (EXHAUSTED, QuotaExhausted)]
)
def test_each_type_is_read_from_bytes_and_from_text_with_its_stream_known_or_not(event, kind):
    raw = on_wire(event)
    decoded = decode(raw, event["type"])
    assert type(decoded) is kind
    assert decoded == decode(raw) == decode(raw.decode()) == decode(raw.decode(), event["type"])


def test_what_an_event_says_is_held_as_fen_days_and_moments():
    event = decode(GOOD, TYPE)
    assert isinstance(event, VoucherIssued)
    assert event.data.amount == 5_000_000
    assert event.data.enterprise.prior_year_revenue == 1_000_000_000
    assert event.data.contract.signed_on.isoformat() == "2024-04-15"
    assert event.time == datetime(2024, 5, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"\x00",
        b"not json",
        GOOD[:-1],
        GOOD[: len(GOOD) // 2],
        GOOD + b"}",
        GOOD + b"\n{}",
        GOOD.replace(b'"cash"', b'"\xff"'),
        with_extra(b'"\xff"'),
        with_extra(b'"\xed\xa0\x80"'),
        with_extra(rb'"\ud800"'),
        with_extra(rb'"\udc00\ud800"'),
        with_extra(b'"\n"'),
        with_extra(b"NaN"),
        with_extra(b"Infinity"),
        with_extra(b"[-Infinity]"),
        GOOD.replace(b'"50000.00"', b"NaN"),
        with_extra(b"[" * 100_000),
        with_extra(b"[" * 500 + b"]" * 500),
        with_extra(b'{"a":' * 500 + b"1" + b"}" * 500),
        with_extra(b"'single'"),
        with_extra(b"01"),
        with_extra(b"1 /* comment */"),
        GOOD.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + GOOD,
    ],
    ids=lambda raw: repr(raw[-30:]),
)
def test_not_json(raw):
    assert fault_of(raw).reason is DeadLetterReason.NOT_JSON
    assert fault_of(raw, None).reason is DeadLetterReason.NOT_JSON


def test_text_with_a_lone_surrogate_is_not_json():
    assert fault_of(GOOD.decode().replace("示例", "\ud800")).reason is DeadLetterReason.NOT_JSON


def test_what_only_looks_like_no_number_is_fine():
    assert decode(with_extra(b'"NaN, Infinity"'), TYPE) == decode(GOOD, TYPE)
    assert decode(with_extra(b'"NaN"').decode(), TYPE) == decode(GOOD, TYPE)


@pytest.mark.parametrize(
    "document", [[], [ISSUED], "text", 1, None, True, {}, {"type": None}, {"type": ["a"]}], ids=repr
)
def test_not_a_cloudevent_at_all(document):
    assert fault_of(on_wire(document)).reason is DeadLetterReason.NOT_CLOUDEVENT
    assert fault_of(on_wire(document), None).reason is DeadLetterReason.NOT_CLOUDEVENT


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *((attribute, REMOVED) for attribute in ("specversion", "id", "source", "type", "time", "data")),
        *((attribute, None) for attribute in ("specversion", "id", "source", "type", "time", "data")),
        ("specversion", "0.3"),
        ("specversion", "1"),
        ("specversion", 1.0),
        ("id", ""),
        ("id", "x" * 129),
        ("id", 1),
        ("id", "a\u0000b"),
        ("source", ""),
        ("source", "x" * 257),
        ("subject", ""),
        ("subject", 7),
        ("type", 1),
        ("time", "2024-05-01T10:00:00"),
        ("time", "2024-05-01"),
        ("time", "1714528800"),
        ("time", 1714528800),
        ("time", "2024-02-30T10:00:00Z"),
        ("time", "2024-05-01T24:00:00Z"),
        ("time", "2024-05-01T10:00Z"),
        ("time", "2024-05-01T10:00:00+08"),
        ("time", "2024-05-01T10:00:00+0800"),
        ("time", " 2024-05-01T10:00:00Z"),
        ("time", "２０２４-05-01T10:00:00Z"),
        ("time", "1999-12-31T23:59:59Z"),
        ("time", "2100-01-01T00:00:00Z"),
        ("time", "9999-12-31T23:59:59-12:00"),
        ("time", ""),
        ("data", "text"),
        ("data", []),
    ],
    ids=repr,
)
def test_a_wrong_envelope_is_no_cloudevent_and_the_attribute_is_named(where, value):
    fault = fault_of(on_wire(changed(ISSUED, where, value)))
    assert fault.reason is DeadLetterReason.NOT_CLOUDEVENT
    assert where in fault.detail


@pytest.mark.parametrize("expected", [None, *ADAPTERS])
@pytest.mark.parametrize(
    "kind", ["voucher.issued.v2", "voucher.issued", "Voucher.issued.v1", "", pytest.param("x" * 10_000, id="long")]
)
def test_unknown_type(kind, expected):
    assert fault_of(on_wire(changed(ISSUED, "type", kind)), expected).reason is DeadLetterReason.UNKNOWN_TYPE


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
@pytest.mark.parametrize("expected", ADAPTERS)
def test_a_known_type_on_another_stream(event, expected):
    if expected == event["type"]:
        decode(on_wire(event), expected)
        return
    fault = fault_of(on_wire(event), expected)
    assert fault.reason is DeadLetterReason.WRONG_STREAM
    assert event["type"] in fault.detail
    assert expected in fault.detail


@pytest.mark.parametrize(
    ("event", "where", "value"),
    [
        (ISSUED, "data.amount", REMOVED),
        (ISSUED, "data.amount", 50000),
        (ISSUED, "data.amount", "0.00"),
        (ISSUED, "data.amount", "-1"),
        (ISSUED, "data.amount", "1.005"),
        (ISSUED, "data.kind", "coupon"),
        (ISSUED, "data.voucher_id", "a b"),
        (ISSUED, "data.programme", "Chengdu 2024"),
        (ISSUED, "data.enterprise", REMOVED),
        (ISSUED, "data.enterprise.uscc", ""),
        (ISSUED, "data.enterprise.organisation", "club"),
        (ISSUED, "data.enterprise.prior_year_revenue", 1e7),
        (ISSUED, "data.contract.signed_on", "2024-04-31"),
        (ISSUED, "data.contract.signed_on", "20240415"),
        (ISSUED, "data.contract.signed_on", "2024-04-15T00:00:00Z"),
        (ISSUED, "data.contract.fee", None),
        (ISSUED, "data.valid_until", "tomorrow"),
        (REDEEMED, "data.redemption_id", REMOVED),
        (REDEEMED, "data.item", "car"),
        (REDEEMED, "data.amount", "1e3"),
        (EXHAUSTED, "data.scope", "city"),
        (EXHAUSTED, "data.period", "2024-05"),
    ],
    ids=repr,
)
def test_wrong_data_is_named_by_its_field(event, where, value):
    fault = fault_of(on_wire(changed(event, where, value)), event["type"])
    assert fault.reason is DeadLetterReason.INVALID_DATA
    assert where in fault.detail
    assert fault_of(on_wire(changed(event, where, value)), None).reason is DeadLetterReason.INVALID_DATA


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (changed(ISSUED, "subject", "another voucher"), "subject"),
        (changed(REDEEMED, "subject", "another voucher"), "subject"),
        (changed(EXHAUSTED, "subject", "another enterprise"), "subject"),
        (changed(EXHAUSTED, "data.enterprise", REMOVED), "enterprise"),
        (changed(EXHAUSTED, "data.scope", "programme"), "enterprise"),
    ],
)
def test_fields_that_do_not_agree_are_told(event, named):
    fault = fault_of(on_wire(event), event["type"])
    assert fault.reason is DeadLetterReason.INVALID_DATA
    assert named in fault.detail


def test_many_faults_are_told_in_part_and_values_are_not_told():
    fault = fault_of(on_wire(changed(ISSUED, "data", {"secret": "do-not-tell", "amount": "do-not-tell"})))
    assert "do-not-tell" not in fault.detail
    assert fault.detail.endswith("; and 1 more")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
@pytest.mark.parametrize("where", ["traceparent", "dataschema", "data.added_in_version_1_1"])
@pytest.mark.parametrize("value", ["text", 1, 1.5, None, True, [], {"a": {"b": [1]}}], ids=repr)
def test_unknown_attributes_and_unknown_fields_are_fine(event, where, value):
    assert decode(on_wire(changed(event, where, value)), event["type"]) == decode(on_wire(event), event["type"])


@pytest.mark.parametrize(
    "time",
    [
        "2024-05-01T02:00:00Z",
        "2024-05-01t02:00:00z",
        "2024-05-01 02:00:00Z",
        "2024-05-01T02:00:00.000000000Z",
        "2024-05-01T10:00:00+08:00",
        "2024-04-30T22:00:00-04:00",
    ],
)
def test_the_same_moment_in_other_words(time):
    assert decode(on_wire(changed(ISSUED, "time", time)), TYPE).time == datetime(2024, 5, 1, 2, tzinfo=UTC)


def decode_or_say_why(raw, expected):
    """Decode; any exception but the one that says why not is a failure."""
    said = None
    try:
        decode(raw, expected)
    except UndecodableError as fault:
        said = fault
    assert said is None or (said.reason in DeadLetterReason and said.detail.encode())


STREAMS = st.sampled_from([None, *ADAPTERS])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200) | st.text(max_size=200), STREAMS)
def test_arbitrary_bytes_or_text_raise_nothing_else(raw, expected):
    decode_or_say_why(raw, expected)


@given(JSON_VALUES, STREAMS)
def test_arbitrary_json_raises_nothing_else(document, expected):
    decode_or_say_why(json.dumps(document), expected)


@settings(max_examples=300)
@given(st.sampled_from(PLACES), JSON_VALUES | st.just(REMOVED), STREAMS)
def test_an_event_with_one_field_replaced_raises_nothing_else(place, value, expected):
    event, where = place
    decode_or_say_why(json.dumps(changed(event, where, value)), expected)


@settings(max_examples=300)
@given(st.sampled_from(EVENTS), st.data(), st.binary(max_size=6), STREAMS)
def test_an_event_with_bytes_replaced_raises_nothing_else(event, data, patch, expected):
    raw = on_wire(event)
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 12)))
    decode_or_say_why(raw[:start] + patch + raw[end:], expected)
