"""From bytes to an event, or to the reason why not.

Nearly every event is spelt in the usual way, and read once, fast (``schemas.plain``). What is not is read by its form, which is the
one to say whether it can be read, and why not.
"""

import json
from collections import Counter
from functools import lru_cache
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.cloudevent import CloudEvent
from schemas.codes import DeadLetterReason
from schemas.events import Event
from schemas.forms import ADAPTERS, event_of
from schemas.plain import read_plain

DETAIL_LENGTH_MAX = 500
ERRORS_TOLD_MAX = 5
_BESIDE_THE_ENVELOPE = ("type", "data")
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
    if expected is None:
        kind = _document(raw).get("type")
        if not isinstance(kind, str) or kind not in ADAPTERS:
            raise _reason_of(raw)
        expected = kind
    event = read_plain(raw, expected) if isinstance(raw, bytes) else None
    return event or read_by_form(raw, expected)


def read_by_form(raw: bytes | str, expected: str) -> Event:
    """Return the event of this type as its form reads it: whatever its spelling. Raises UndecodableError."""
    try:
        form = ADAPTERS[expected].validator.validate_json(raw)
    except ValidationError as error:
        raise _reason_of(raw, (expected, error)) from None
    # The form takes the last of a name's values where there are two, and lets NaN pass in attributes that it ignores.
    _document(raw)
    return event_of(form)


def _document(raw: bytes | str) -> dict[str, object]:
    """Return the document, numbers aside: JSON in UTF-8 that every reader reads alike. Raises UndecodableError."""
    try:
        # Not left to json, which takes UTF-16 too.
        text = raw.decode() if isinstance(raw, bytes) else raw
        document = _read(text)
    except (ValueError, RecursionError) as error:
        raise UndecodableError(DeadLetterReason.NOT_JSON, f"not JSON in UTF-8: {error}") from None
    if not isinstance(document, dict):
        raise UndecodableError(DeadLetterReason.NOT_CLOUDEVENT, "a CloudEvent is a JSON object")
    return document


def _each_name_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; refuse one in which a name stands twice: another reader would take the other value (RFC 7493)."""
    document = dict(pairs)
    if len(document) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"the name {names.most_common(1)[0][0]!r} stands twice in one object")
    return document


def _number(_: str) -> int:
    return 0


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


# Made once: making it takes as long as reading an event with it.
_read = json.JSONDecoder(
    object_pairs_hook=_each_name_once, parse_int=_number, parse_float=_number, parse_constant=_no_number
).decode


@lru_cache(maxsize=1)
def _envelope() -> type[CloudEvent]:
    class AnyCloudEvent(CloudEvent):
        type: str
        data: dict[str, object]

    return AnyCloudEvent


def _reason_of(raw: bytes | str, form: tuple[str, ValidationError] | None = None) -> UndecodableError:
    """Say what is wrong, from the outside in: JSON, envelope, type, data. Slow, and only on the way of a bad event.

    ``form`` is the type whose form refused it, and what that said; None where the event is of no known type.
    """
    try:
        document = _document(raw)
    except UndecodableError as known:
        return known
    kind = document.get("type")
    refused = [] if form is None else _problems(form[1])
    if outside := _wrong_with_the_envelope(raw, document, refused):
        of_json = any(problem["type"] in NOT_JSON_ERRORS for problem in outside)
        reason = DeadLetterReason.NOT_JSON if of_json else DeadLetterReason.NOT_CLOUDEVENT
        return UndecodableError(reason, _told(outside))
    if form is None or kind not in ADAPTERS:
        return UndecodableError(DeadLetterReason.UNKNOWN_TYPE, f"type is {kind!r}, known are {', '.join(ADAPTERS)}")
    if kind != form[0]:
        return UndecodableError(DeadLetterReason.WRONG_STREAM, f"type is {kind!r}, this stream carries {form[0]!r}")
    return UndecodableError(DeadLetterReason.INVALID_DATA, _told(refused))


def _wrong_with_the_envelope(
    raw: bytes | str, document: dict[str, object], refused: list[ErrorDetails]
) -> list[ErrorDetails]:
    """Return what is wrong with the envelope, which is read alone only where what its form ``refused`` does not tell."""
    if _tells_of_the_envelope(raw, document, refused):
        return [problem for problem in refused if problem["loc"] and problem["loc"][0] not in _BESIDE_THE_ENVELOPE]
    try:
        _envelope().model_validate_json(raw)
    except ValidationError as error:
        return _problems(error)
    return []


def _tells_of_the_envelope(raw: bytes | str, document: dict[str, object], refused: list[ErrorDetails]) -> bool:
    """Whether a form was asked, and what it refused has all that is wrong with the envelope, in the envelope's own words."""
    if not refused or any(problem["type"] in NOT_JSON_ERRORS for problem in refused):
        return False
    # Half of a character may stand, escaped, in what a form ignores.
    escapes = b"\\" in raw if isinstance(raw, bytes) else "\\" in raw
    return not escapes and isinstance(document.get("type"), str) and isinstance(document.get("data"), dict)


def _problems(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False, include_context=False)


def told(error: ValidationError) -> str:
    """Return a validation error in one line: each field with what is wrong with it, without the values themselves."""
    return _told(_problems(error))


def _told(problems: list[ErrorDetails]) -> str:
    shown = [f"{'.'.join(map(str, problem['loc'])) or 'event'}: {problem['msg']}" for problem in problems]
    more = f"; and {len(shown) - ERRORS_TOLD_MAX} more" if len(shown) > ERRORS_TOLD_MAX else ""
    return "; ".join(shown[:ERRORS_TOLD_MAX]) + more
