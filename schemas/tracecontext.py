"""The attribute ``traceparent`` of an event: CloudEvents' extension for distributed tracing, with W3C Trace Context's text in it.

Nothing depends on it: one that is not right is as good as none, and its event is decided like any other.
"""

import re
from typing import Final

import msgspec

PATTERN: Final = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_in_json = re.compile(b'"(00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})"').fullmatch


class _Traced(msgspec.Struct, gc=False):
    # As it stands, whatever it is: no value of it may keep the event from being read.
    traceparent: msgspec.Raw = msgspec.Raw()


_traced = msgspec.json.Decoder(_Traced).decode


def read(value: msgspec.Raw) -> str | None:
    """Return the text of a ``traceparent`` as it stands in JSON; None when it is none of version 00."""
    found = _in_json(bytes(value))
    return None if found is None else found[1].decode()


def traceparent_of(event: bytes) -> str | None:
    """Return an event's ``traceparent``; None when it has none that is right, or cannot be read."""
    if b'"traceparent"' not in event:
        return None
    try:
        return read(_traced(event).traceparent)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
