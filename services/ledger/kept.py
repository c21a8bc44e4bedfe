"""Of an event as its entry keeps it, the few fields that are told of it. It was read in full before it was decided, and is not again."""

from typing import Final

from msgspec import Struct
from msgspec.json import Decoder

from schemas.events import Kind


class Origin(Struct, gc=False):
    """Which event it is, whose, and when it happened, as its producer wrote it."""

    id: str
    source: str
    type: str
    time: str


class _Issue(Struct, gc=False):
    kind: Kind


class _Issued(Struct, gc=False):
    data: _Issue


origin: Final = Decoder(Origin).decode
"""Return the origin of an event's bytes."""

_issued: Final = Decoder(_Issued).decode


def kind_of_voucher(event: bytes) -> Kind:
    """Return the kind of the voucher that an issue is of."""
    return _issued(event).data.kind
