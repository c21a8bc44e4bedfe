"""From bytes to an event, or to the reason why not.

Nearly every event is spelt in the usual way, and read once, fast (``schemas.plain``). What is not is read by its form, which is the
one to say whether it can be read, and why not.
"""

import json
from functools import lru_cache
from typing import NoReturn

from pydantic import BaseModel, ValidationError

from schemas.cloudevent import CloudEvent
from schemas.codes import DeadLetterReason
from schemas.events import Event
from schemas.forms import ADAPTERS, event_of
from schemas.plain import read_plain

DETAIL_LENGTH_MAX = 500
ERRORS_TOLD_MAX = 5
NOT_JSON_ERRORS = frozenset({"json_invalid", "string_unicode"})


class UndecodableError(ValueError):
    """The bytes are no event that this ledger can read."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail[:DETAIL_LENGTH_MAX]
        super().__init__(f"{reason}: {self.detail}")


def decode(raw: bytes | str, expected: str | None = None) -> Event:
    """Return the event in the bytes; ``expected`` is the one type that the stream carries, None for any of the three.

    Raises UndecodableError with the reason (a dead-letter code) and a detail that names the field.
    """
    if expected is not None:
        event = read_plain(raw, expected) if isinstance(raw, bytes) else None
        return event or read_by_form(raw, expected)
    kind = _type_of(raw)
    if kind not in ADAPTERS:
        raise UndecodableError(DeadLetterReason.UNKNOWN_TYPE, f"type is {kind!r}, known are {', '.join(ADAPTERS)}")
    return decode(raw, kind)


def read_by_form(raw: bytes | str, expected: str) -> Event:
    """Return the event of this type as its form reads it: whatever its spelling. Raises UndecodableError."""
    try:
        form = ADAPTERS[expected].validator.validate_json(raw)
    except ValidationError as error:
        raise _reason_of(raw, expected, error) from None
    if _may_hold_no_number(raw):
        _document(raw)
    return event_of(form)


def _may_hold_no_number(raw: bytes | str) -> bool:
    """Whether NaN or Infinity occurs: pydantic-core lets them pass in attributes it ignores, but JSON has no such thing."""
    data = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
    # A single byte is looked for much faster than a word, and most events have neither.
    return (b"N" in data and b"NaN" in data) or (b"I" in data and b"Infinity" in data)


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def _type_of(raw: bytes | str) -> str:
    document = _document(raw)
    kind = document.get("type")
    if not isinstance(kind, str):
        raise UndecodableError(DeadLetterReason.NOT_CLOUDEVENT, "type: a string is required")
    return kind


def _document(raw: bytes | str) -> dict[str, object]:
    try:
        document = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UndecodableError(DeadLetterReason.NOT_JSON, f"not JSON in UTF-8: {error}") from None
    if not isinstance(document, dict):
        raise UndecodableError(DeadLetterReason.NOT_CLOUDEVENT, "a CloudEvent is a JSON object")
    return document


@lru_cache(maxsize=1)
def _envelope() -> type[BaseModel]:
    class AnyCloudEvent(CloudEvent):
        type: str
        data: dict[str, object]

    return AnyCloudEvent


def _reason_of(raw: bytes | str, expected: str, error: ValidationError) -> UndecodableError:
    """Say what is wrong, from the outside in: JSON, envelope, type, data. Slow, and only on the way of a bad event."""
    try:
        kind = _type_of(raw)
    except UndecodableError as known:
        return known
    try:
        _envelope().model_validate_json(raw)
    except ValidationError as envelope_error:
        if any(problem["type"] in NOT_JSON_ERRORS for problem in envelope_error.errors()):
            return UndecodableError(DeadLetterReason.NOT_JSON, told(envelope_error))
        return UndecodableError(DeadLetterReason.NOT_CLOUDEVENT, told(envelope_error))
    if kind not in ADAPTERS:
        return UndecodableError(DeadLetterReason.UNKNOWN_TYPE, f"type is {kind!r}, known are {', '.join(ADAPTERS)}")
    if kind != expected:
        return UndecodableError(DeadLetterReason.WRONG_STREAM, f"type is {kind!r}, this stream carries {expected!r}")
    return UndecodableError(DeadLetterReason.INVALID_DATA, told(error))


def told(error: ValidationError) -> str:
    """Return a validation error in one line: each field with what is wrong with it, without the values themselves."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    shown = [f"{'.'.join(map(str, problem['loc'])) or 'event'}: {problem['msg']}" for problem in problems]
    more = f"; and {len(shown) - ERRORS_TOLD_MAX} more" if len(shown) > ERRORS_TOLD_MAX else ""
    return "; ".join(shown[:ERRORS_TOLD_MAX]) + more
