"""Where in a ledger something is: positions, in their order, each way of asking by an index of its own.

Every query is bounded: by the range of positions, which ends at the read model's cursor, and by how many are wanted.
"""

from typing import Final, NamedTuple

import asyncpg

from services.ledger.database import Connection
from services.ledger.read import Of
from services.readmodel.tailing import CHUNK_BITS

CHUNKS_MAX: Final = 100
"""Chunks that are gone through for one answer."""
USES_MORE: Final = 4
"""Of each of an enterprise's vouchers, so many more uses are looked at than its share of an answer."""


class Range(NamedTuple):
    """Positions after one and up to another, and how many of what is found there are wanted."""

    after: int
    until: int
    at_most: int


class Found(NamedTuple):
    """Positions in their order. Up to ``until`` there are no others; it is less than the range's end where enough was found."""

    positions: list[int]
    until: int


_ISSUE: Final = """
SELECT position FROM entry
WHERE programme = $1 AND voucher_id = $2 AND kind = 'issued' AND accepted AND position > $3 AND position <= $4"""
# In the order of the index and by nothing that another one serves better: a plan must not depend on what is known of the table.
_USES: Final = """
SELECT position FROM entry
WHERE programme = $1 AND coalesce(voucher_id = {voucher}, false) AND kind = 'redeemed' AND accepted
  AND hashtextextended(voucher_id, 0) BETWEEN hashtextextended({voucher}, 0) AND hashtextextended({voucher}, 0)
  AND position > $3 AND position <= $4
ORDER BY hashtextextended(voucher_id, 0), position LIMIT {at_most}"""
_REFUSALS: Final = """
SELECT position FROM readmodel.coded_entry
WHERE programme = $1 AND {whose} = $2 AND NOT accepted AND position > $3 AND position <= $4 ORDER BY position LIMIT $5"""
_OF_VOUCHER: Final = f"""
({_ISSUE}) UNION ALL ({_USES.format(voucher="$2::text", at_most="$5")}) UNION ALL ({_REFUSALS.format(whose="voucher_id")})
ORDER BY position LIMIT $5"""
_ISSUES_TO: Final = """
SELECT {columns} FROM entry WHERE programme = $1 AND enterprise = $2 AND kind = 'issued' AND accepted"""
# Of each voucher its first uses: its share of what is wanted, and some more. Where one has more than that, the answer ends with them.
# All uses of all vouchers would be thousands for a page of a hundred.
_OF_ENTERPRISE: Final = f"""
WITH issue AS MATERIALIZED (
  {_ISSUES_TO.format(columns=f"voucher_id, position, least($5, $5 / count(*) OVER () + {USES_MORE}) AS uses")}),
use AS MATERIALIZED (
  SELECT first.position, first.place = issue.uses AS last FROM issue
  CROSS JOIN LATERAL (
    SELECT position, row_number() OVER (ORDER BY position) AS place
    FROM ({_USES.format(voucher="issue.voucher_id", at_most="issue.uses")}) AS use
  ) AS first),
reach AS MATERIALIZED (SELECT coalesce(min(position) FILTER (WHERE last), $4) AS until FROM use)
SELECT position, until FROM reach CROSS JOIN (
  SELECT position FROM issue WHERE position > $3 AND position <= $4
  UNION ALL
  SELECT position FROM use
  UNION ALL
  (SELECT position FROM entry
   WHERE programme = $1 AND coalesce(enterprise = $2, false) AND kind = 'exhausted' AND accepted AND position > $3 AND position <= $4)
  UNION ALL
  ({_REFUSALS.format(whose="enterprise")})) AS named
WHERE position <= until ORDER BY position LIMIT $5"""
_CODED: Final = """
SELECT position FROM readmodel.coded_entry
WHERE programme = $1 AND position > $2 AND position <= $3 AND NOT (accepted AND $4){names} ORDER BY position LIMIT $5"""
_NEWEST_REFUSALS: Final = """
(SELECT position FROM readmodel.coded_entry
 WHERE programme = $1 AND enterprise = $2 AND NOT accepted AND position <= $3 ORDER BY position DESC LIMIT $4)
UNION ALL
(SELECT position FROM entry
 WHERE programme = $1 AND enterprise = $2 AND NOT accepted AND position > $3 ORDER BY position DESC LIMIT $4)
ORDER BY position DESC LIMIT $4"""
_CHUNKS: Final = """
SELECT chunk FROM readmodel.presence
WHERE value = $2 AND attribute = $3 AND programme = $1 AND chunk >= $4 ORDER BY chunk LIMIT $5"""
_IN_CHUNKS: Final = f"""
SELECT here.position FROM unnest($2::bigint[]) AS chunk CROSS JOIN LATERAL (
  SELECT position FROM entry
  WHERE programme = $1 AND {{attribute}} = $5 {{which}}
    AND position > greatest(chunk << {CHUNK_BITS}, $3) AND position <= least((chunk + 1) << {CHUNK_BITS}, $4)
  ORDER BY position OFFSET 0) AS here
LIMIT $6"""


async def of_voucher(connection: Connection, programme: str, voucher_id: str, within: Range) -> Found:
    """Find the entries that name a voucher."""
    return _found(await connection.fetch(_OF_VOUCHER, programme, voucher_id, *within), within)


async def of_enterprise(connection: Connection, programme: str, enterprise: str, within: Range) -> Found:
    """Find an enterprise's issues, the uses of its vouchers, its closures, and what was refused to it; perhaps fewer than wanted."""
    rows = await connection.fetch(_OF_ENTERPRISE, programme, enterprise, *within)
    return _found(rows, within._replace(until=rows[0]["until"] if rows else within.until))


async def coded(connection: Connection, programme: str, of: Of, within: Range) -> Found:
    """Find the refused entries, or all that bear a code, of the names."""
    names = {"voucher_id": of.voucher_id, "enterprise": of.enterprise, "provider": of.provider, "code": of.code}
    given = {column: name for column, name in names.items() if name is not None}
    query = _CODED.format(names="".join(f" AND {column} = ${at}" for at, column in enumerate(given, start=6)))
    rows = await connection.fetch(
        query, programme, within.after, within.until, of.refused, within.at_most, *given.values()
    )
    return _found(rows, within)


async def newest_refusals(
    connection: Connection, programme: str, enterprise: str, cursor: int, at_most: int
) -> list[int]:
    """Find what was last refused to an enterprise, in the read model up to its cursor, and in the ledger after it."""
    rows = await connection.fetch(_NEWEST_REFUSALS, programme, enterprise, cursor, at_most)
    return sorted(row["position"] for row in rows)


async def present(
    connection: Connection, programme: str, attribute: str, value: str, within: Range, which: str = ""
) -> Found:
    """Find the entries of a provider or a kind by the chunks that have any; ``which`` is a further condition, a constant."""
    first = within.after >> CHUNK_BITS
    rows = await connection.fetch(_CHUNKS, programme, value, attribute, first, CHUNKS_MAX + 1)
    chunks = [row["chunk"] for row in rows]
    until = within.until
    if len(chunks) > CHUNKS_MAX:
        until = min(until, chunks.pop() << CHUNK_BITS)
    query = _IN_CHUNKS.format(attribute=attribute, which=which)
    found = await connection.fetch(query, programme, chunks, within.after, until, value, within.at_most)
    return _found(found, within._replace(until=until))


def _found(rows: "list[asyncpg.Record]", within: Range) -> Found:
    positions = [row["position"] for row in rows]
    enough = len(positions) == within.at_most
    return Found(positions, positions[-1] if enough else within.until)
