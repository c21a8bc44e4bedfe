"""The read model: what those who look at a ledger ask, and no index of the ledger answers. In a schema of its own.

Nothing in it is evidence. It is computed from the entries, by ``services.readmodel``, and may be emptied at any time.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE SCHEMA readmodel;

CREATE TABLE readmodel.cursor (
  programme text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  CONSTRAINT cursor_pkey PRIMARY KEY (programme)
);

CREATE TABLE readmodel.coded_entry (
  programme text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  day date NOT NULL,
  code text COLLATE "C" NOT NULL,
  accepted boolean NOT NULL,
  kind text COLLATE "C" NOT NULL,
  enterprise text COLLATE "C",
  provider text COLLATE "C",
  voucher_id text COLLATE "C",
  CONSTRAINT coded_entry_pkey PRIMARY KEY (programme, position)
);
CREATE INDEX coded_entry_voucher ON readmodel.coded_entry (voucher_id, programme, position);
CREATE INDEX coded_entry_enterprise ON readmodel.coded_entry (enterprise, programme, position);
CREATE INDEX coded_entry_provider ON readmodel.coded_entry (provider, programme, position);
CREATE INDEX coded_entry_code ON readmodel.coded_entry (code, programme, position);

CREATE TABLE readmodel.presence (
  programme text COLLATE "C" NOT NULL,
  attribute text COLLATE "C" NOT NULL,
  value text COLLATE "C" NOT NULL,
  chunk bigint NOT NULL,
  CONSTRAINT presence_pkey PRIMARY KEY (value, attribute, programme, chunk)
);

CREATE TABLE readmodel.activity (
  programme text COLLATE "C" NOT NULL,
  hour timestamptz NOT NULL,
  kind text COLLATE "C" NOT NULL,
  code text COLLATE "C" NOT NULL,
  entries bigint NOT NULL,
  amount numeric NOT NULL,
  granted numeric NOT NULL,
  CONSTRAINT activity_pkey PRIMARY KEY (programme, hour, kind, code)
)"""

# The services may empty it too: it is computed again from the entries.
RIGHTS = """
GRANT USAGE, CREATE ON SCHEMA readmodel TO voucher_ledger_owner;
GRANT USAGE ON SCHEMA readmodel TO voucher_ledger_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA readmodel TO voucher_ledger_service;
ALTER TABLE readmodel.cursor OWNER TO voucher_ledger_owner;
ALTER TABLE readmodel.coded_entry OWNER TO voucher_ledger_owner;
ALTER TABLE readmodel.presence OWNER TO voucher_ledger_owner;
ALTER TABLE readmodel.activity OWNER TO voucher_ledger_owner"""


def upgrade() -> None:
    """Make the schema and its tables, empty: whoever tails the ledger fills them."""
    for script in (TABLES, RIGHTS):
        # The driver takes one statement at a time.
        for statement in script.split(";\n"):
            op.execute(statement)


def downgrade() -> None:
    """Nothing that was written is taken back: restore a backup instead."""
    raise NotImplementedError
