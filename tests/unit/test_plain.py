# ruff: noqa: E501  the spellings stand in rows
"""The fast reading of the usual spelling, against the forms: what it reads they read too, and to the same event."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_events import EVENTS, EXHAUSTED, ISSUED, PLACES, REDEEMED, REMOVED, changed, on_wire

from schemas.decoding import UndecodableError, read_by_form
from schemas.plain import read_plain


def agree(raw, expected):
    """Fail unless the plain reading says nothing, or what the form says; return what it says."""
    plain = read_plain(raw, expected)
    if plain is None:
        return None
    try:
        by_form = read_by_form(raw, expected)
    except UndecodableError as error:
        pytest.fail(f"read plainly, and the form says {error}: {raw!r}")
    assert plain == by_form
    assert type(plain) is type(by_form)
    assert plain.time.utcoffset() == by_form.time.utcoffset()
    return plain


EDGES = [
    "", " ", "0", "1", "0.00", "0.01", "00.01", "01.00", "1.0", "1.00", "1.000", "-1.00", "+1.00", "1e3", "1,00", "１.00", "NaN",
    "999999999999.99", "9999999999999.99", "10000000000000.00", "10000000000000.01", "99999999999999.00", " 1.00", "1.00 ", "1.00\n",
    "2024", "2024\n", "programme", "year", "2024-02-29", "2023-02-29", "2024-02-30", "24-01-01", "2024-1-1", "1999-12-31", "2000-01-01",
    "2099-12-31", "2100-01-01", "2024-05-01T00:00:00Z", "2024-05-01", "2024-05-01T10:00:00", "2024-05-01T10:00:00z",
    "2024-05-01t10:00:00Z", "2024-05-01 10:00:00Z", "2024-05-01T10:00:00.1Z", "2024-05-01T10:00:00.123456789Z", "2024-05-01T10:00:00.Z",
    "2024-05-01T24:00:00Z", "2024-05-01T23:59:60Z", "2024-05-01T10:00Z", "2024-05-01T10:00:00+0800", "2024-05-01T10:00:00+24:00",
    "2024-05-01T10:00:00-00:00", "2024-05-01T10:00:00+19:59", "1999-12-31T23:00:00-02:00", "2100-01-01T01:00:00+02:00", "1714528800",
    "a" * 64, "a" * 65, "a" * 128, "a" * 129, "a" * 256, "a" * 257, "中" * 64, "中" * 65, "中" * 256, "中" * 257, "a-", "-a", "A_b.c", "a b",
    "chengdu-2024", "Chengdu", "enterprise", "small", "compute", "in_kind", "\x7f", "\x1f", "\x00", "\u2028", "\ud800", "😀", "\\", '"', "{", "[",
    1, 1.5, True, None, [], {}, {"a": 1}, 10**30, -0.0,
]  # fmt: skip
SPELLINGS = st.sampled_from(EDGES) | st.text(max_size=12) | st.text(string.digits + ".-+:TZ eE", max_size=26)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_the_usual_spelling_is_read_here(event):
    assert agree(on_wire(event), event["type"]) is not None
    assert agree(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(), event["type"]) is not None
    assert agree(on_wire(event | {"time": "2024-06-01T10:00:00Z"}), event["type"]) is not None
    assert agree(on_wire(changed(event, "subject", REMOVED)), event["type"]) is not None


@pytest.mark.parametrize("expected", ["voucher.issued.v1", "voucher.redeemed.v1", "quota.exhausted.v1"])
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_an_event_is_read_as_its_own_type_only(event, expected):
    assert (agree(on_wire(event), expected) is not None) == (event["type"] == expected)


@pytest.mark.parametrize(("event", "where"), PLACES, ids=lambda part: part if isinstance(part, str) else part["type"])
def test_every_edge_in_every_field_is_read_as_by_the_form_or_left_to_it(event, where):
    for value in [*EDGES, REMOVED]:
        agree(
            json.dumps(changed(event, where, value), ensure_ascii=False).encode(errors="surrogatepass"), event["type"]
        )
        agree(json.dumps(changed(event, where, value)).encode(), event["type"])


@settings(max_examples=500)
@given(st.sampled_from(PLACES), SPELLINGS, st.sampled_from(PLACES), SPELLINGS)
def test_two_fields_of_any_spelling(place, value, other, another):
    event, where = place
    spelt = changed(event, where, value)
    if other[0] is event and not other[1].startswith(where) and not where.startswith(other[1]):
        spelt = changed(spelt, other[1], another)
    agree(json.dumps(spelt, ensure_ascii=False).encode(errors="surrogatepass"), event["type"])


@settings(max_examples=1000)
@given(
    st.sampled_from(EVENTS),
    st.data(),
    st.binary(max_size=6) | st.sampled_from([b"NaN", b"1.2.3", b"01", b"}", b"\xed\xa0\x80", b"\xff"]),
)
def test_any_bytes_in_place_of_others(event, data, patch):
    raw = on_wire(event)
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 12)))
    agree(raw[:start] + patch + raw[end:], event["type"])


@pytest.mark.parametrize(
    "extra",
    [
        b"1", b"-1", b"01", b"1.", b".5", b"1e5", b"1e400", b"1.2.3", b"--1", b"+1", b"1e", b"0x1", b"NaN", b"Infinity", b"-Infinity", b"nul",
        b"null", b"true", b"tru", b"{}", b'{"a":{}}', b'{"a":{"b":{"c":{"d":1}}}}', b"'a'", b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\t"',
        b'"a', b"1 1", b"1,", b"1 /**/", b"9" * 5000, b"1" + b"0" * 400, b"0." + b"1" * 400, b'"' + b"a" * 100_000 + b'"',
    ],
    ids=lambda extra: repr(extra[:20]),
)  # fmt: skip
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_attributes_that_are_ignored_are_json_all_the_same(event, extra):
    raw = on_wire(event)
    for place in (raw.rindex(b"}"), raw.rindex(b"}", 0, raw.rindex(b"}"))):
        agree(raw[:place] + b', "extra": ' + extra + raw[place:], event["type"])


@pytest.mark.parametrize("field", ["id", "time", "data", "amount", "voucher_id", "period", "type"])
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_a_name_that_stands_twice_is_left_to_the_form(event, field):
    raw = on_wire(event)
    for place in (raw.rindex(b"}"), raw.rindex(b"}", 0, raw.rindex(b"}"))):
        for value in (b'"other"', b'"2.00"', b'"2024-06-02T00:00:00Z"', b"1", b"{}"):
            agree(raw[:place] + b', "' + field.encode() + b'": ' + value + raw[place:], event["type"])


@pytest.mark.parametrize("event", [ISSUED, REDEEMED, EXHAUSTED], ids=lambda event: event["type"])
def test_what_stands_around_the_document(event):
    raw = on_wire(event)
    for spelt in (
        b" " + raw,
        raw + b"\n",
        b"\xef\xbb\xbf" + raw,
        raw + b"{}",
        raw + b"\x00",
        raw[:-1],
        b"[" + raw + b"]",
        b'"' + raw,
        b"",
    ):
        agree(spelt, event["type"])
