"""Entries by whom they are of, page by page, from the ledger's indexes and the read model together.

Up to the read model's cursor each question has its index; what came since, a second's worth, is gone through. So an answer is right
whether the read model keeps up or not, and quick when it does. A page looks at so many entries at the most: it may have fewer than
were asked for, or none, and say that there is more.
"""

from typing import Final, NamedTuple

from services.ledger import queries, read
from services.ledger.database import Connection
from services.ledger.heads import ProgrammeUnknownError
from services.ledger.read import ANY, Of, Pool, snapshot
from services.ledger.statements import EntryRow
from services.readmodel import finding
from services.readmodel.finding import Found, Range

LIMIT_MAX: Final = 1_000
LOOKED_AT_MAX: Final = 2_000
"""Entries that are looked at for a page where more than one name is asked for."""

_STAND: Final = """
SELECT head.position AS head, least(coalesce(cursor.position, 0), head.position) AS cursor
FROM head LEFT JOIN readmodel.cursor ON cursor.programme = head.programme WHERE head.programme = $1"""


class Page(NamedTuple):
    """Entries in the order of their positions, of a ledger that stood at ``position``.

    ``next`` is the position to go on after; None when the ledger has no more of them.
    """

    entries: tuple[EntryRow, ...]
    next: int | None
    position: int


async def page(pool: Pool, programme: str, of: Of = ANY, *, after: int = 0, limit: int) -> Page:
    """Return the first entries after a position that are of these names, LIMIT_MAX at most. Raises ProgrammeUnknownError."""
    async with snapshot(pool) as connection:
        return await page_of(connection, programme, of, after=after, limit=limit)


async def page_of(connection: Connection, programme: str, of: Of, *, after: int, limit: int) -> Page:
    """Do the same within a snapshot that other questions are asked in too."""
    head, cursor = await stand(connection, programme)
    limit = min(limit, LIMIT_MAX)
    wanted = limit + 1  # whether there is one more than is shown
    rows: list[EntryRow] = []
    seen = min(after, head)
    if of != ANY and seen < cursor:
        found = await _find(connection, programme, of, Range(seen, cursor, wanted))
        at = await connection.fetch(queries.ENTRIES_AT, programme, found.positions, *of, wanted)
        rows, seen = [EntryRow(*row) for row in at], found.until
        if len(rows) < wanted and seen < cursor:
            return Page(tuple(rows), seen, head)
    if len(rows) < wanted:
        rows += await read.entries(connection, programme, of, after=seen, until=head, limit=wanted - len(rows))
    return Page(tuple(rows[:limit]), rows[limit - 1].position if len(rows) == wanted else None, head)


async def stand(connection: Connection, programme: str) -> tuple[int, int]:
    """Return the newest position, and the one up to which the read model has taken entries in. Raises ProgrammeUnknownError."""
    row = await connection.fetchrow(_STAND, programme)
    if row is None:
        raise ProgrammeUnknownError(f"the database has no ledger of {programme!r}: was it opened?")
    return row["head"], row["cursor"]


async def _find(connection: Connection, programme: str, of: Of, within: Range) -> Found:
    """Find by what is likely the rarest of the names; in what that finds the others are looked for."""
    if sum(bool(name) for name in of) > 1:
        within = within._replace(at_most=max(within.at_most, LOOKED_AT_MAX))
    if of.code is not None or of.refused:
        return await finding.coded(connection, programme, of, within)
    if of.voucher_id is not None:
        return await finding.of_voucher(connection, programme, of.voucher_id, within)
    if of.enterprise is not None:
        return await finding.of_enterprise(connection, programme, of.enterprise, within)
    return await finding.present(connection, programme, "provider", str(of.provider), within)
