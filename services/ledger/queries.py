"""What is asked of the database when a ledger is read. Every query names its programme, and has its index.

``{which}`` and ``{provider}`` are filled with the conditions and the parameters' places that stand here, never with a value.
"""

from dataclasses import fields

from services.ledger.statements import EntryRow

HEAD = """
SELECT head.position, head.hash, head.policy, block.issued
FROM head LEFT JOIN block ON block.programme = head.programme AND block.last = head.position
WHERE head.programme = $1"""
CLOSURES = "SELECT enterprise, period FROM entry WHERE programme = $1 AND kind = 'exhausted' AND accepted"
# The newest entry of each quota, and of each provider, by going from one to the next in the index, however many lie between.
QUOTAS = """
WITH RECURSIVE newest AS (
  (SELECT enterprise, period, quota_used FROM entry
   WHERE programme = $1 AND kind = 'issued' AND accepted {which}
   ORDER BY enterprise DESC, period DESC, position DESC LIMIT 1)
  UNION ALL
  SELECT next.* FROM newest CROSS JOIN LATERAL (
    SELECT enterprise, period, quota_used FROM entry
    WHERE programme = $1 AND kind = 'issued' AND accepted {which}
      AND (enterprise, period) < (newest.enterprise, newest.period)
    ORDER BY enterprise DESC, period DESC, position DESC LIMIT 1) AS next)
SELECT enterprise, period, quota_used FROM newest"""
# So many quotas after one of them, in the order of their names; a page of them, where there are too many for one answer.
QUOTAS_AFTER = """
WITH RECURSIVE quota AS (
  (SELECT enterprise, period FROM entry
   WHERE programme = $1 AND kind = 'issued' AND accepted AND (enterprise, period) > ($2, $3)
   ORDER BY enterprise, period, position LIMIT 1)
  UNION ALL
  SELECT next.* FROM quota CROSS JOIN LATERAL (
    SELECT enterprise, period FROM entry
    WHERE programme = $1 AND kind = 'issued' AND accepted AND (enterprise, period) > (quota.enterprise, quota.period)
    ORDER BY enterprise, period, position LIMIT 1) AS next)
SELECT quota.enterprise, quota.period, newest.quota_used FROM quota CROSS JOIN LATERAL (
  SELECT quota_used FROM entry
  WHERE programme = $1 AND kind = 'issued' AND accepted AND enterprise = quota.enterprise AND period = quota.period
  ORDER BY enterprise DESC, period DESC, position DESC LIMIT 1) AS newest
LIMIT $4"""
PAYABLES = """
WITH RECURSIVE newest AS (
  (SELECT provider, payable FROM payable WHERE programme = $1 ORDER BY provider DESC, last DESC LIMIT 1)
  UNION ALL
  SELECT next.* FROM newest CROSS JOIN LATERAL (
    SELECT provider, payable FROM payable WHERE programme = $1 AND provider < newest.provider
    ORDER BY provider DESC, last DESC LIMIT 1) AS next)
SELECT provider, payable FROM newest WHERE provider = coalesce($2, provider) ORDER BY provider"""
_VOUCHERS = """
SELECT issue.voucher_id, issue.enterprise, issue.provider, issue.event, issue.granted, issue.valid_until,
       coalesce(use.voucher_remaining, issue.granted) AS remaining
FROM entry AS issue LEFT JOIN LATERAL (
  SELECT voucher_remaining FROM entry
  WHERE programme = $1 AND coalesce(voucher_id = issue.voucher_id, false) AND kind = 'redeemed' AND accepted
    AND hashtextextended(voucher_id, 0) BETWEEN hashtextextended(issue.voucher_id, 0) AND hashtextextended(issue.voucher_id, 0)
  ORDER BY hashtextextended(voucher_id, 0) DESC, position DESC LIMIT 1) AS use ON true
WHERE issue.programme = $1 AND {issues}
ORDER BY issue.position"""
VOUCHERS = _VOUCHERS.format(issues="issue.kind = 'issued' AND issue.accepted {which}")
# Of positions that are known to be issues. That they are is not asked again: an index of issues alone would be gone through for it.
VOUCHERS_AT = _VOUCHERS.format(issues="issue.position = ANY($2::bigint[])")
OF_ENTERPRISE = "AND enterprise = $2"
# By way of the blocks in which it redeemed: no index has the redemptions of a provider.
OF_PROVIDER = """AND (issue.provider = {provider} OR issue.voucher_id IN (
  SELECT redemption.voucher_id FROM payable JOIN block USING (programme, last) CROSS JOIN LATERAL (
    SELECT voucher_id FROM entry
    WHERE entry.programme = $1 AND position BETWEEN block.first AND block.last AND entry.provider = {provider}
      AND kind = 'redeemed' AND accepted OFFSET 0) AS redemption
  WHERE payable.programme = $1 AND payable.provider = {provider}))"""
OF_VOUCHER = "AND issue.voucher_id = $2"
WAITING = "SELECT count(*) FROM parked WHERE programme = $1 AND voucher_id = $2"
ENTRY_COLUMNS = ", ".join(column.name for column in fields(EntryRow))
ENTRIES = f"""
SELECT {ENTRY_COLUMNS} FROM entry
WHERE programme = $1 AND position > $2 AND position <= $3
  AND ($4::text IS NULL OR enterprise = $4) AND ($5::text IS NULL OR provider = $5)
  AND ($6::text IS NULL OR voucher_id = $6) AND ($7::text IS NULL OR code = $7) AND NOT (accepted AND $8::boolean)
ORDER BY position LIMIT $9"""
ENTRIES_AT = f"""
SELECT {ENTRY_COLUMNS} FROM entry
WHERE programme = $1 AND position = ANY($2::bigint[])
  AND ($3::text IS NULL OR enterprise = $3) AND ($4::text IS NULL OR provider = $4)
  AND ($5::text IS NULL OR voucher_id = $5) AND ($6::text IS NULL OR code = $6) AND NOT (accepted AND $7::boolean)
ORDER BY position LIMIT $8"""
ISSUED_AFTER = """
SELECT position FROM entry
WHERE programme = $1 AND position > $2 AND position <= $3 AND coalesce(kind = 'issued' AND accepted, false)
ORDER BY position LIMIT $4"""
ISSUED_TO = """
SELECT position FROM entry
WHERE programme = $1 AND enterprise = $2 AND kind = 'issued' AND accepted AND position > $3
ORDER BY position LIMIT $4"""
PROGRAMMES = """
WITH RECURSIVE
  of_entries AS (
    (SELECT programme FROM entry ORDER BY programme LIMIT 1)
    UNION ALL
    SELECT next.programme FROM of_entries CROSS JOIN LATERAL (
      SELECT programme FROM entry WHERE programme > of_entries.programme ORDER BY programme LIMIT 1) AS next),
  of_blocks AS (
    (SELECT programme FROM block ORDER BY programme LIMIT 1)
    UNION ALL
    SELECT next.programme FROM of_blocks CROSS JOIN LATERAL (
      SELECT programme FROM block WHERE programme > of_blocks.programme ORDER BY programme LIMIT 1) AS next)
SELECT programme FROM of_entries UNION SELECT programme FROM of_blocks
UNION SELECT programme FROM policy UNION SELECT programme FROM head
ORDER BY programme"""
