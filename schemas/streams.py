"""The streams of the contract: what each is called, whom it belongs to, and what an entry of it looks like. No broker is known here."""

from typing import Final, NamedTuple

GROUP: Final = "ledger"
"""The consumer group that reads the inbound streams."""

FIELD: Final = "event"
"""The one field of an entry: a CloudEvent as JSON. A dead letter has others beside it."""


class Stream(NamedTuple):
    """A stream, or one for each programme or provider where its name has a parameter."""

    name: str
    parameter: str | None = None

    @property
    def address(self) -> str:
        """The key as it is documented, ``voucher.issued:{programme}``."""
        return self.name if self.parameter is None else f"{self.name}:{{{self.parameter}}}"

    def of(self, owner: str) -> str:
        """Return the key of the programme's or the provider's own stream."""
        return f"{self.name}:{owner}"


VOUCHER_ISSUED: Final = Stream("voucher.issued", "programme")
VOUCHER_REDEEMED: Final = Stream("voucher.redeemed", "provider")
QUOTA_EXHAUSTED: Final = Stream("quota.exhausted", "programme")
NOTIFICATION: Final = Stream("notification", "programme")
DEAD_LETTER: Final = Stream("dead-letter")

STREAMS: Final = (VOUCHER_ISSUED, VOUCHER_REDEEMED, QUOTA_EXHAUSTED, NOTIFICATION, DEAD_LETTER)
