"""Reading one entry of a stream: what is in it, and whether its producer may say it there. Nothing is decided here."""

from collections.abc import Callable, Mapping

from schemas.codes import DeadLetterReason
from schemas.decoding import UndecodableError, decode
from schemas.events import Event, VoucherIssued, VoucherRedeemed
from schemas.streams import QUOTA_EXHAUSTED, VOUCHER_ISSUED, VOUCHER_REDEEMED
from services.broker import FIELD, InboundStream


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


def too_long(raw: bytes, bytes_max: int) -> UndecodableError:
    """Return what to raise for an event that is longer than is read."""
    detail = f"the event has {len(raw)} bytes, at most {bytes_max} are read"
    return UndecodableError(DeadLetterReason.INVALID_DATA, detail)


def check_place(stream: InboundStream, event: Event, serves: Callable[[str], bool]) -> None:
    """Raise UndecodableError when the event is of no known programme, or its producer is not the stream's owner."""
    programme = event.data.programme
    if not serves(programme):
        raise UndecodableError(DeadLetterReason.PROGRAMME_UNKNOWN, f"no programme {programme!r} here")
    if stream.programme is not None and programme != stream.programme:
        detail = f"programme is {programme!r}, this stream is of {stream.programme!r}"
        raise UndecodableError(DeadLetterReason.WRONG_STREAM, detail)
    if event.source not in stream.sources:
        detail = f"source is {event.source!r}, who may write here is {', '.join(sorted(stream.sources))}"
        raise UndecodableError(DeadLetterReason.WRONG_STREAM, detail)
    if isinstance(event, VoucherRedeemed) and event.data.provider != stream.provider:
        detail = f"provider is {event.data.provider!r}, this stream is of {stream.provider!r}"
        raise UndecodableError(DeadLetterReason.WRONG_STREAM, detail)


def stream_key_of(event: Event) -> str:
    """Return the key of the stream that an event goes to."""
    if isinstance(event, VoucherRedeemed):
        return VOUCHER_REDEEMED.of(event.data.provider)
    if isinstance(event, VoucherIssued):
        return VOUCHER_ISSUED.of(event.data.programme)
    return QUOTA_EXHAUSTED.of(event.data.programme)


def original_bytes(fields: Mapping[bytes, bytes]) -> bytes:
    """Return what the producer sent: the event's bytes, or, where that field is missing, all fields as they came."""
    if FIELD in fields:
        return fields[FIELD]
    return b"\n".join(name + b"=" + value for name, value in fields.items())
