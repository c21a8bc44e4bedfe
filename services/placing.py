"""Where an event belongs: the stream it goes to, and whether its producer may say it there. Nothing is decided or sent here."""

from collections.abc import Callable, Mapping

from schemas.codes import DeadLetterReason
from schemas.decoding import UndecodableError, decode
from schemas.events import Event, VoucherIssued, VoucherRedeemed
from schemas.policy import Policy
from schemas.streams import QUOTA_EXHAUSTED, VOUCHER_ISSUED, VOUCHER_REDEEMED
from services.broker import InboundStream, inbound_streams


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


class Places:
    """The inbound streams of the programmes that are served, for those who read events before they are on one."""

    def __init__(self, policies: Mapping[str, Policy], bytes_max: int) -> None:
        self.programmes = frozenset(policies)
        self._bytes_max = bytes_max
        self.streams = {stream.key: stream for stream in inbound_streams(policies)}

    def read(self, raw: bytes) -> tuple[Event, InboundStream]:
        """Return the event in the bytes and the stream that it belongs on.

        Raises UndecodableError where a consumer would make a dead letter of it, or no consumer reads its stream.
        """
        if len(raw) > self._bytes_max:
            raise too_long(raw, self._bytes_max)
        event = decode(raw)
        programme, key = event.data.programme, stream_key_of(event)
        if programme not in self.programmes:
            raise UndecodableError(DeadLetterReason.PROGRAMME_UNKNOWN, f"no programme {programme!r} here")
        stream = self.streams.get(key)
        if stream is None:
            detail = f"nobody reads {key}: the provider is accredited nowhere"
            raise UndecodableError(DeadLetterReason.WRONG_STREAM, detail)
        check_place(stream, event, self.programmes.__contains__)
        return event, stream
