"""A programme's rows of one table, in the order of a key, read in chunks: for what goes through a whole ledger."""

from typing import Final, TypeAlias

import asyncpg

from services.ledger.database import Connection

CHUNK: Final = 2_000

Key: TypeAlias = "tuple[int] | tuple[int, str]"
_LEAST: Final = -(2**63)


class Rows:
    """The rows of a programme, one after another.

    The query takes the programme, the values of the key to begin from, and how many rows to return, ordered by the key: a whole
    number, or one and a text. Rows are read from the least key there can be: a forged one before the first is found too.
    """

    def __init__(self, connection: Connection, query: str, key: tuple[str, ...], programme: str) -> None:
        """Read nothing yet."""
        self._connection = connection
        self._query = query
        self._key = key
        self._programme = programme
        self._chunk: list[asyncpg.Record] = []
        self._taken = 0
        self._from: tuple[int | str, ...] | None = (_LEAST, "")[: len(key)]

    async def peek(self) -> asyncpg.Record | None:
        """Return the next row without taking it, None after the last."""
        if self._taken == len(self._chunk):
            if self._from is None:
                return None
            self._chunk = await self._connection.fetch(self._query, self._programme, *self._from, CHUNK)
            self._taken = 0
            self._from = self._after(self._chunk[-1]) if len(self._chunk) == CHUNK else None
            if not self._chunk:
                return None
        return self._chunk[self._taken]

    async def next(self) -> asyncpg.Record | None:
        """Take the next row, None after the last."""
        row = await self.peek()
        if row is not None:
            self._taken += 1
        return row

    def _after(self, row: asyncpg.Record) -> tuple[int | str, ...]:
        *before, last = (row[name] for name in self._key)
        # No text that PostgreSQL keeps comes between one and the same with this character behind it.
        return (*before, last + ("\x01" if isinstance(last, str) else 1))
