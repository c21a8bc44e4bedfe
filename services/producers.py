"""The producers: who writes to which stream, and the last event that the ledger has of each."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.identifiers import source_of
from schemas.policy import Policy
from services.broker import exhausted_streams, issued_streams, redeemed_streams
from services.ledger.database import Connection
from services.ledger.last_events import LastEvent, last_events


@dataclass(frozen=True, slots=True)
class Producer:
    """Who writes to a stream, for one programme. A provider whom several programmes accredit has one stream, and a row for each."""

    stream: str
    programme: str
    uscc: str
    name: str
    last: LastEvent | None

    def to_json(self) -> dict[str, object]:
        """Return the producer as ``producers --json`` has it."""
        return {
            "stream": self.stream, "programme": self.programme, "uscc": self.uscc, "name": self.name,
            "last": None if self.last is None else self.last.to_json(),
        }  # fmt: skip


async def producers(connection: Connection, policies: Mapping[str, Policy]) -> list[Producer]:
    """Return who writes to the inbound streams of the programmes, with what the ledger has of each. Raises what the database raises."""
    found = []
    for code, policy in policies.items():
        only, authority = {code: policy}, policy.authority
        last = await last_events(connection, code, source_of(authority.uscc), policy.providers.codes)
        for streams, event in ((issued_streams, last.issued), (exhausted_streams, last.exhausted)):
            found += [Producer(stream.key, code, authority.uscc, authority.names.zh, event) for stream in streams(only)]
        names = {provider.uscc: provider.names.zh for provider in policy.providers.accredited}
        found += [
            Producer(stream.key, code, stream.provider, names[stream.provider], last.redeemed.get(stream.provider))
            for stream in redeemed_streams(only)
            if stream.provider is not None
        ]
    return found
