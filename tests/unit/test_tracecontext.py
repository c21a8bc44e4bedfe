"""An event's trace context: read where it is right, and as good as none where it is not."""

import json

import pytest
from events_made import issue_event, raw

from schemas.decoding import decode
from schemas.events import ISSUED
from schemas.tracecontext import traceparent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RIGHT = f"00-{TRACE}-{SPAN}-01"
WRONG = [
    "", "00", f"00-{TRACE}-{SPAN}", f"01-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
    RIGHT.upper(), f" {RIGHT}", f"{RIGHT}\n", f"00-{TRACE[:-1]}g-{SPAN}-01", 5, 1e999, None, True, [RIGHT], {"a": RIGHT},
]  # fmt: skip


def test_one_that_is_right_is_read_wherever_it_stands():
    assert traceparent_of(raw(issue_event("V0", traceparent=RIGHT))) == RIGHT
    assert traceparent_of(json.dumps({"traceparent": RIGHT, "data": {}}, indent=2).encode()) == RIGHT
    assert traceparent_of(f'{{"traceparent" : "00-{TRACE}-{SPAN}-00"}}'.encode()) == f"00-{TRACE}-{SPAN}-00"


def test_one_in_the_data_is_not_the_events():
    assert traceparent_of(raw(issue_event("V0", data__traceparent=RIGHT))) is None


@pytest.mark.parametrize("wrong", WRONG)
def test_one_that_is_not_right_is_none_and_keeps_no_event_from_being_read(wrong):
    event = issue_event("V0")
    event["traceparent"] = wrong
    sent = json.dumps(event).encode().replace(b"Infinity", b"1e999")
    assert traceparent_of(sent) is None
    assert decode(sent, ISSUED) == decode(raw(issue_event("V0")), ISSUED)


@pytest.mark.parametrize(
    "sent", [b"", b"{", b'"traceparent"', b'["traceparent"]', b'{"traceparent"', b'\xff"traceparent"']
)
def test_what_cannot_be_read_has_none(sent):
    assert traceparent_of(sent) is None


def test_one_in_an_escaped_spelling_is_left_alone():
    assert traceparent_of(f'{{"traceparent": "\\u0030{RIGHT[1:]}"}}'.encode()) is None
