"""Who acted on a dead letter and when, and when a ledger was last verified: beside the ledger, and append-only like it."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE act (
  number bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  who text COLLATE "C" NOT NULL,
  through text COLLATE "C" NOT NULL,
  action text COLLATE "C" NOT NULL,
  letter_id text COLLATE "C" NOT NULL,
  stream text COLLATE "C" NOT NULL,
  entry_id text COLLATE "C" NOT NULL,
  reason text COLLATE "C" NOT NULL,
  event_sha256 bytea NOT NULL,
  CONSTRAINT act_pkey PRIMARY KEY (number),
  CONSTRAINT act_through CHECK (through IN ('monitor', 'command line')),
  CONSTRAINT act_action CHECK (action IN ('replay', 'discard'))
);
CREATE TABLE act_outcome (
  number bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  done boolean NOT NULL,
  CONSTRAINT act_outcome_pkey PRIMARY KEY (number),
  CONSTRAINT act_outcome_of FOREIGN KEY (number) REFERENCES act (number)
);
CREATE TABLE verification (
  number bigint GENERATED ALWAYS AS IDENTITY,
  programme text COLLATE "C" NOT NULL,
  began_at timestamptz NOT NULL,
  ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  entries bigint NOT NULL,
  ok boolean NOT NULL,
  first_bad_position bigint,
  reason text COLLATE "C",
  CONSTRAINT verification_pkey PRIMARY KEY (number)
);
CREATE INDEX verification_newest ON verification (programme, number)"""

APPEND_ONLY = """
CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_change;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_truncate;
GRANT SELECT, INSERT ON {table} TO voucher_ledger_service;
ALTER TABLE {table} OWNER TO voucher_ledger_owner"""


def upgrade() -> None:
    """Make the tables, and what keeps them append-only."""
    for script in (TABLES, *(APPEND_ONLY.format(table=table) for table in ("act", "act_outcome", "verification"))):
        # The driver takes one statement at a time.
        for statement in script.split(";\n"):
            op.execute(statement)


def downgrade() -> None:
    """Nothing that was written is taken back: restore a backup instead."""
    raise NotImplementedError
