"""Reading one entry of a stream: what is in it, and whether its producer may say it there. Nothing is decided here."""

from collections.abc import Callable, Mapping

from schemas.codes import DeadLetterReason
from schemas.decoding import UndecodableError, decode
from schemas.events import Event
from services.broker import FIELD, InboundStream
from services.placing import check_place, too_long


def read_entry(
    stream: InboundStream, fields: Mapping[bytes, bytes], serves: Callable[[str], bool], bytes_max: int
) -> tuple[Event, bytes]:
    """Return the event of an entry with its bytes; ``serves`` says which programmes there are.

    Raises UndecodableError with the reason when it is longer than ``bytes_max``, cannot be read, or does not belong on this stream.
    """
    raw = fields.get(FIELD)
    if raw is None:
        raise UndecodableError(DeadLetterReason.NOT_CLOUDEVENT, "the entry has no field 'event'")
    if len(raw) > bytes_max:
        raise too_long(raw, bytes_max)
    event = decode(raw, stream.type)
    check_place(stream, event, serves)
    return event, raw


def original_bytes(fields: Mapping[bytes, bytes]) -> bytes:
    """Return what the producer sent: the event's bytes, or, where that field is missing, all fields as they came."""
    if FIELD in fields:
        return fields[FIELD]
    return b"\n".join(name + b"=" + value for name, value in fields.items())
