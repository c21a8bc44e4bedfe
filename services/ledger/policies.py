"""Which policy a programme is decided by: the one that the head names, kept word for word in the ledger.

A file takes force when a service starts with it, and only if its ``revision`` is higher than the one in force: so every process
decides by the same rules, whichever file it was started with, and an old one started late turns nothing back.
"""

from collections.abc import Mapping
from datetime import datetime

from schemas.policy import Policy
from services.ledger.chain import GENESIS
from services.ledger.database import Connection

_KEEP = """
INSERT INTO policy (programme, digest, revision, content) VALUES ($1, $2, $3, $4)
ON CONFLICT (programme, digest) DO NOTHING"""
_OPEN = """
INSERT INTO head (programme, position, hash, recorded_at, policy, revision, parked) VALUES ($1, 0, $2, $3, $4, $5, 0)
ON CONFLICT (programme) DO NOTHING"""
_LOCK = "SELECT policy, revision FROM head WHERE programme = $1 FOR UPDATE"
_PUT_IN_FORCE = "UPDATE head SET policy = $2, revision = $3 WHERE programme = $1"
_CONTENT = "SELECT content FROM policy WHERE programme = $1 AND digest = $2"


class PolicyConflictError(ValueError):
    """A policy file says other rules under the revision that is in force already; the message says what to do."""


class Policies:
    """The policies of the files that this process was started with, and those that the ledger says are in force."""

    def __init__(self, files: Mapping[str, Policy]) -> None:
        self.files = files
        self._by_digest: dict[bytes, Policy] = {policy.digest: policy for policy in files.values()}

    async def activate(self, connection: Connection, now: datetime) -> None:
        """Put each file's policy in force where it is new, opening the programme's ledger if there is none yet.

        Raises PolicyConflictError.
        """
        for programme, policy in sorted(self.files.items()):
            async with connection.transaction():
                await connection.execute(_KEEP, programme, policy.digest, policy.revision, policy.canonical)
                await connection.execute(_OPEN, programme, GENESIS, now, policy.digest, policy.revision)
                head = await connection.fetchrow(_LOCK, programme)
                if head is None:
                    raise AssertionError("a head that was just opened is there")
                if head["revision"] == policy.revision and head["policy"] != policy.digest:
                    raise PolicyConflictError(
                        f"{programme}: the policy file differs from the one in force, and both are revision {policy.revision}: "
                        f"raise `revision` in the file to {policy.revision + 1} to put it in force"
                    )
                if head["revision"] < policy.revision:
                    await connection.execute(_PUT_IN_FORCE, programme, policy.digest, policy.revision)

    async def in_force(self, connection: Connection, programme: str, digest: bytes) -> Policy:
        """Return the policy that the head names."""
        policy = self._by_digest.get(digest)
        if policy is None:
            content = await connection.fetchval(_CONTENT, programme, digest)
            policy = self._by_digest[digest] = Policy.model_validate_json(content)
        return policy
