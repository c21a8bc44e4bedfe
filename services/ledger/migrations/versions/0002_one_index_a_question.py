"""Indexes that begin with what is asked for and have the programme behind it: for each question there is only one that serves.

With the programme first, a planner without statistics took any of them, and read a programme's rows to find one voucher. The keys of
events, contracts and redemptions were others before: a ledger that has any is not carried over.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EMPTY = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM entry) OR EXISTS (SELECT FROM parked) THEN
    RAISE EXCEPTION 'this ledger was written by version 0.1, before the first release, and its keys are others: '
      'keep it with that version, and begin a new one in another database (or another --home)';
  END IF;
END $$"""

INDEXES = """
DROP INDEX entry_key;
DROP INDEX entry_claim;
DROP INDEX entry_issue;
DROP INDEX entry_use;
DROP INDEX entry_quota;
DROP INDEX entry_payable;
CREATE UNIQUE INDEX entry_key ON entry (key, programme);
CREATE UNIQUE INDEX entry_claim ON entry (claim, programme) WHERE claim IS NOT NULL;
CREATE UNIQUE INDEX entry_issue ON entry (voucher_id, programme) WHERE kind = 'issued' AND accepted;
CREATE INDEX entry_use ON entry (voucher_id, programme, position) WHERE kind = 'redeemed' AND accepted;
CREATE INDEX entry_quota ON entry (enterprise, programme, period, position) WHERE kind = 'issued' AND accepted;
CREATE INDEX entry_payable ON entry (provider, programme, position) WHERE kind = 'redeemed' AND accepted;
ALTER TABLE parked DROP CONSTRAINT parked_pkey, ADD CONSTRAINT parked_pkey PRIMARY KEY (key, programme);
DROP INDEX parked_voucher;
CREATE INDEX parked_voucher ON parked (voucher_id, programme);
ALTER TABLE head ADD COLUMN parked bigint NOT NULL DEFAULT 0;
ALTER TABLE head ALTER COLUMN parked DROP DEFAULT"""


def upgrade() -> None:
    """Make the indexes anew, and let the head say how many redemptions wait. Raises what the database raises when there are entries."""
    op.execute(EMPTY)
    # The driver takes one statement at a time.
    for statement in INDEXES.split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    """Nothing that was written is taken back: restore a backup instead."""
    raise NotImplementedError
