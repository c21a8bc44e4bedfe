"""Verifying a ledger: every entry recomputed from the first on, every block, and the head, from one snapshot.

What is found is the first position at which the stored rows are not what their events make of them. Kept in memory are the
programme's vouchers, event keys and claims; rows are read in chunks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg

from services.ledger import chain
from services.ledger.batch import issued_text
from services.ledger.database import Connection
from services.ledger.evidence import (
    BLOCK_COLUMNS,
    HEAD_COLUMNS,
    EvidenceError,
    Kept,
    PolicyRead,
    check_block,
    check_head,
    read_policy_row,
)
from services.ledger.heads import ProgrammeUnknownError
from services.ledger.recompute import SELECTED, Recomputation, RecomputeError
from services.ledger.rows import Rows

_ENTRIES = f"SELECT {SELECTED} FROM entry WHERE programme = $1 AND position >= $2 ORDER BY position LIMIT $3"
_BLOCKS = f"SELECT {BLOCK_COLUMNS} FROM block WHERE programme = $1 AND last >= $2 ORDER BY last LIMIT $3"
# None of these is without a provider; one that is, where someone took that guard away, is missing in its place.
_PAYABLES = """
SELECT last, provider, payable FROM payable
WHERE programme = $1 AND (last, provider) >= ($2, $3) AND provider IS NOT NULL ORDER BY last, provider LIMIT $4"""
_POLICIES = "SELECT digest, revision, content FROM policy WHERE programme = $1"
_HEAD = f"""
SELECT {HEAD_COLUMNS}, (SELECT count(*) FROM parked WHERE programme = $1) AS waiting FROM head WHERE programme = $1"""

_TRANSACTION_TIMEOUT_SINCE: Final = 17

Progress = Callable[[int, int], None]
"""Told how many entries were verified so far, and how many there are by the head."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying a programme's ledger came to. ``entries`` counts those found right, up to the first wrong one."""

    programme: str
    entries: int
    ok: bool
    first_bad_position: int | None = None
    reason: str | None = None


class _WrongError(Exception):
    """The first wrong position, and what is wrong there."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


async def verify(
    source: "asyncpg.Pool[asyncpg.Record] | Connection", programme: str, progress: Progress | None = None
) -> Verification:
    """Recompute a programme's ledger and say whether it is what is stored; found differences are returned, not raised.

    A head that is wrong is named by its position, 0 where the ledger is empty. Raises ProgrammeUnknownError when the database
    has nothing of the programme, and what asyncpg raises.
    """
    if isinstance(source, asyncpg.Pool):
        async with source.acquire() as connection:
            return await verify(connection, programme, progress)
    async with source.transaction(isolation="repeatable_read", readonly=True):
        if source.get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
            # The services' limit is for their short transactions; a long ledger takes longer to read.
            await source.execute("SET LOCAL transaction_timeout = 0")
        walk = _Walk(source, programme, progress)
        try:
            await walk.run()
        except _WrongError as wrong:
            return Verification(programme, walk.position, False, wrong.position, str(wrong))
        return Verification(programme, walk.position, True)


class _Walk:
    """One way from the first position to the head."""

    def __init__(self, connection: Connection, programme: str, progress: Progress | None) -> None:
        self._connection = connection
        self._programme = programme
        self._progress = progress
        self._blocks = Rows(connection, _BLOCKS, ("last",), programme)
        self._entries = Rows(connection, _ENTRIES, ("position",), programme)
        self._payables = Rows(connection, _PAYABLES, ("last", "provider"), programme)
        self._recomputation = Recomputation(programme)
        self._before = Kept()

    @property
    def position(self) -> int:
        """The last position that was found right."""
        return self._recomputation.book.position

    async def run(self) -> None:
        """Raise _WrongError at the first wrong position."""
        rows = await self._connection.fetch(_POLICIES, self._programme)
        policies = {row["digest"]: read_policy_row(self._programme, row) for row in rows}
        head = await self._connection.fetchrow(_HEAD, self._programme)
        stray: asyncpg.Record | None = None
        while (block := await self._blocks.next()) is not None:
            if block["first"] != self.position + 1:
                # Blocks come in the order of their ends: one whose end was changed stands in another's place.
                stray = stray or block
                continue
            await self._check_block(block, policies)
            if self._progress is not None:
                self._progress(self.position, 0 if head is None else head["position"])
        await self._check_end(stray, head)
        if head is None:
            if not rows and not self.position:
                raise ProgrammeUnknownError(f"the database has no ledger of {self._programme!r}")
            raise _WrongError(self.position, "the ledger's head is missing")
        try:
            check_head(head, self._before, policies)
        except EvidenceError as error:
            raise _WrongError(self.position, str(error)) from None

    async def _check_block(self, block: asyncpg.Record, policies: Mapping[bytes, PolicyRead]) -> None:
        first = self.position + 1
        try:
            policy, recorded_at = check_block(self._programme, block, self._before, policies)
        except EvidenceError as error:
            raise _WrongError(first, str(error)) from None
        self._recomputation.begin_block(policy, recorded_at)
        leaves: list[bytes] = []
        payables: dict[str, int] = {}
        while self.position < block["last"]:
            row = await self._entries.next()
            leaves.append(self._check_entry(row))
            if row is not None and row["payable"] is not None and row["accepted"]:
                payables[row["provider"]] = row["payable"]
        if chain.merkle_root(leaves) != block["root"]:
            raise _WrongError(first, f"the block's root is not that of its entries {first} to {self.position}")
        issued = issued_text(self._recomputation.book.issued_by_period)
        if issued != block["issued"]:
            raise _WrongError(first, f"issued is {block['issued']} in the block, recomputed it is {issued}")
        await self._check_payables(first, block["last"], payables)
        self._before = Kept(block["last"], block["hash"], block["recorded_at"], policy.revision)

    async def _check_payables(self, first: int, last: int, expected: Mapping[str, int]) -> None:
        """Compare what the table says of the providers that redeemed in a block with what its entries say."""
        found: list[tuple[int, str, int]] = []
        while (row := await self._payables.peek()) is not None and row["last"] <= last:
            await self._payables.next()
            found.append((row["last"], row["provider"], row["payable"]))
        if found == sorted((last, provider, payable) for provider, payable in expected.items()):
            return
        said = ", ".join(f"{provider} {payable}" for _, provider, payable in found) or "nothing"
        recomputed = ", ".join(f"{provider} {payable}" for provider, payable in sorted(expected.items())) or "nothing"
        raise _WrongError(first, f"the payables after the block are {said}, recomputed they are {recomputed}")

    def _check_entry(self, row: asyncpg.Record | None) -> bytes:
        position = self.position + 1
        if row is None or row["position"] > position:
            raise _WrongError(position, "there is no entry at this position")
        if row["position"] < position:
            raise _WrongError(row["position"], "there is an entry before the first position")
        try:
            return self._recomputation.check(row)
        except RecomputeError as error:
            raise _WrongError(position, str(error)) from None

    async def _check_end(self, stray: asyncpg.Record | None, head: asyncpg.Record | None) -> None:
        """Raise _WrongError where anything is left over after the last block that has its place, or is missing there."""
        after = self.position + 1
        entry = await self._entries.next()
        if entry is not None:
            raise _WrongError(min(entry["position"], after), "no block covers the entries from this position on")
        if await self._payables.next() is not None:
            raise _WrongError(after, "there are payables after the last block")
        if stray is not None:
            place = max(1, min(stray["first"], after))
            raise _WrongError(place, f"a block from {stray['first']} to {stray['last']} has no place in the chain")
        if head is not None and head["position"] != self.position:
            place = max(0, min(head["position"] or 0, self.position)) + 1
            raise _WrongError(place, f"the head is at {head['position']}, but the entries end at {self.position}")
