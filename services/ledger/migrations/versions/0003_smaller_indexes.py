"""Two indexes less to write to with every redemption.

What a provider is owed stands in a small table, one row for each block and provider, instead of in an index that has every redemption.
The uses of a voucher are found by a hash of its number: half the bytes, and the one index in which every entry goes somewhere else.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PAYABLE = """
CREATE TABLE payable (
  programme text COLLATE "C" NOT NULL,
  last bigint NOT NULL,
  provider text COLLATE "C" NOT NULL,
  payable bigint NOT NULL,
  CONSTRAINT payable_pkey PRIMARY KEY (programme, last, provider)
);
CREATE INDEX payable_newest ON payable (provider, programme, last);
INSERT INTO payable (programme, last, provider, payable)
SELECT block.programme, block.last, entry.provider, max(entry.payable)
FROM block JOIN entry ON entry.programme = block.programme AND entry.position BETWEEN block.first AND block.last
WHERE entry.kind = 'redeemed' AND entry.accepted GROUP BY block.programme, block.last, entry.provider"""

INDEXES = """
DROP INDEX entry_payable;
DROP INDEX entry_use;
CREATE INDEX entry_use ON entry (hashtextextended(voucher_id, 0), position) WHERE kind = 'redeemed' AND accepted"""

APPEND_ONLY = """
CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON payable FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON payable FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE payable ENABLE ALWAYS TRIGGER no_change;
ALTER TABLE payable ENABLE ALWAYS TRIGGER no_truncate;
GRANT SELECT, INSERT ON payable TO voucher_ledger_service;
ALTER TABLE payable OWNER TO voucher_ledger_owner"""


def upgrade() -> None:
    """Make the table, filled from the entries that there are, and the index."""
    for script in (PAYABLE, INDEXES, APPEND_ONLY):
        # The driver takes one statement at a time.
        for statement in script.split(";\n"):
            op.execute(statement)


def downgrade() -> None:
    """Nothing that was written is taken back: restore a backup instead."""
    raise NotImplementedError
