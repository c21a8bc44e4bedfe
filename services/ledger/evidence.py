"""What a block, a policy and the head say, compared with each other and with what came before. Pure: rows in, or an error out.

What the entries themselves say is recomputed beside this, in ``recompute``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

import asyncpg
from pydantic import ValidationError

from schemas.policy import Policy
from services.ledger import chain
from services.ledger.recompute import moment_of

BLOCK_COLUMNS: Final = "first, last, timestamptz_send(recorded_at) AS recorded_at, policy, issued, root, previous, hash"
HEAD_COLUMNS: Final = "position, hash, timestamptz_send(recorded_at) AS recorded_at, policy, revision, parked"
"""The columns that are checked here; moments in bytes, so that no value a row can hold fails to be read."""

PolicyRead: TypeAlias = "Policy | EvidenceError"
Row = Mapping[str, Any] | asyncpg.Record


class EvidenceError(ValueError):
    """A block, a policy or the head is not what it has to be; the message says what differs."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the next block, or the head, has to go on from: the last block that was found right."""

    position: int = 0
    hash: bytes = chain.GENESIS
    recorded_at: bytes | None = None
    revision: int = 0


def read_policy_row(programme: str, row: Row) -> PolicyRead:
    """Return the policy that a row keeps; the error, not raised, where the row is not what its digest says."""
    if hashlib.sha256((row["content"] or "").encode()).digest() != row["digest"]:
        return EvidenceError("the policy's content does not have the digest that it is kept by")
    try:
        policy = Policy.model_validate_json(row["content"])
    except ValidationError:
        return EvidenceError("the policy's content cannot be read")
    if policy.code != programme:
        return EvidenceError(f"the policy is of the programme {policy.code!r}")
    if policy.revision != row["revision"]:
        return EvidenceError(f"the policy is kept as revision {row['revision']}, and says revision {policy.revision}")
    return policy


def check_block(
    programme: str, block: Row, before: Kept, policies: Mapping[bytes, PolicyRead]
) -> tuple[Policy, datetime]:
    """Check all that can be said of a block without its entries; return its policy and its moment.

    Raises EvidenceError.
    """
    if block["last"] < block["first"]:
        raise EvidenceError(f"the block ends at {block['last']}, before it begins")
    if block["previous"] != before.hash:
        raise EvidenceError("the block does not follow from the hash of the block before it")
    recorded_at = moment_of(block["recorded_at"])
    if recorded_at is None:
        raise EvidenceError("the block's recorded_at is no moment of the calendar")
    claimed = chain.block_hash(
        programme=programme, first=block["first"], last=block["last"], recorded_at=recorded_at, policy=block["policy"],
        issued=block["issued"], root=block["root"], previous=block["previous"],
    )  # fmt: skip
    if claimed != block["hash"]:
        raise EvidenceError("the block's hash is not that of what it says")
    if before.recorded_at is not None and _microseconds(block["recorded_at"]) < _microseconds(before.recorded_at):
        raise EvidenceError("the block was recorded before the block before it")
    policy = _known(block["policy"], policies)
    if policy.revision < before.revision:
        raise EvidenceError(f"the block's policy is revision {policy.revision}, after revision {before.revision}")
    return policy, recorded_at


def check_head(head: Row, before: Kept, policies: Mapping[bytes, PolicyRead]) -> None:
    """Check the head, whose position is right, against the last block, and the policies that no block used.

    Beside its columns it has ``waiting``: how many redemptions there are that wait.

    Raises EvidenceError.
    """
    if head["parked"] != head["waiting"]:
        raise EvidenceError(f"the head says that {head['parked']} redemptions wait, there are {head['waiting']}")
    if head["hash"] != before.hash:
        raise EvidenceError("the head's hash is not that of the last block")
    if before.recorded_at is not None and head["recorded_at"] != before.recorded_at:
        raise EvidenceError("the head's recorded_at is not that of the last block")
    policy = _known(head["policy"], policies)
    if policy.revision != head["revision"]:
        raise EvidenceError(f"the head says revision {head['revision']}, its policy revision {policy.revision}")
    if policy.revision < before.revision:
        raise EvidenceError(f"the head's policy is revision {policy.revision}, after revision {before.revision}")
    for digest in policies:
        _known(digest, policies)


def _known(digest: bytes, policies: Mapping[bytes, PolicyRead]) -> Policy:
    policy = policies.get(digest)
    if policy is None:
        raise EvidenceError(f"the policy that it names, {(digest or b'').hex()}, is missing")
    if isinstance(policy, EvidenceError):
        raise policy
    return policy


def _microseconds(sent: bytes) -> int:
    return int.from_bytes(sent, "big", signed=True)
