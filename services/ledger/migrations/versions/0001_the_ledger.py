"""The ledger: entries, blocks and policies that cannot be changed, the heads, and what waits beside them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLES = """
DO $$
DECLARE wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['voucher_ledger_owner', 'voucher_ledger_service'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another database of this server was migrated at the same moment
      END;
    END IF;
  END LOOP;
END $$"""

TABLES = """
CREATE TABLE entry (
  programme text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  kind text COLLATE "C" NOT NULL,
  accepted boolean NOT NULL,
  code text COLLATE "C",
  key bytea NOT NULL,
  claim bytea,
  voucher_id text COLLATE "C",
  enterprise text COLLATE "C",
  provider text COLLATE "C",
  period text COLLATE "C" NOT NULL,
  amount bigint,
  granted bigint,
  valid_until date,
  voucher_remaining bigint,
  quota_used bigint,
  quota_limit bigint,
  budget_remaining bigint,
  payable bigint,
  event bytea NOT NULL,
  leaf bytea NOT NULL,
  CONSTRAINT entry_pkey PRIMARY KEY (programme, position),
  CONSTRAINT entry_position CHECK (position >= 1),
  CONSTRAINT entry_kind CHECK (kind IN ('issued', 'redeemed', 'exhausted')),
  CONSTRAINT entry_outcome CHECK (accepted OR (code IS NOT NULL AND granted IS NULL AND claim IS NULL)),
  CONSTRAINT entry_amount CHECK (amount > 0 AND granted > 0 AND granted <= amount),
  CONSTRAINT entry_figures CHECK (voucher_remaining >= 0 AND payable >= 0 AND quota_used >= 0),
  CONSTRAINT entry_cap CHECK (granted IS NULL OR quota_limit IS NULL OR quota_used <= quota_limit),
  CONSTRAINT entry_budget CHECK (granted IS NULL OR budget_remaining >= 0)
);
CREATE UNIQUE INDEX entry_key ON entry (programme, key);
CREATE UNIQUE INDEX entry_claim ON entry (programme, claim) WHERE claim IS NOT NULL;
CREATE UNIQUE INDEX entry_issue ON entry (programme, voucher_id) WHERE kind = 'issued' AND accepted;
CREATE INDEX entry_use ON entry (programme, voucher_id, position) WHERE kind = 'redeemed' AND accepted;
CREATE INDEX entry_quota ON entry (programme, enterprise, period, position) WHERE kind = 'issued' AND accepted;
CREATE INDEX entry_payable ON entry (programme, provider, position) WHERE kind = 'redeemed' AND accepted;
CREATE INDEX entry_closure ON entry (programme, position) WHERE kind = 'exhausted' AND accepted;

CREATE TABLE block (
  programme text COLLATE "C" NOT NULL,
  first bigint NOT NULL,
  last bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  policy bytea NOT NULL,
  issued text COLLATE "C" NOT NULL,
  root bytea NOT NULL,
  previous bytea NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT block_pkey PRIMARY KEY (programme, last)
);

CREATE TABLE policy (
  programme text COLLATE "C" NOT NULL,
  digest bytea NOT NULL,
  revision integer NOT NULL,
  content text COLLATE "C" NOT NULL,
  CONSTRAINT policy_pkey PRIMARY KEY (programme, digest)
);

CREATE TABLE head (
  programme text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  hash bytea NOT NULL,
  recorded_at timestamptz NOT NULL,
  policy bytea NOT NULL,
  revision integer NOT NULL,
  CONSTRAINT head_pkey PRIMARY KEY (programme)
) WITH (fillfactor = 50);

CREATE TABLE parked (
  programme text COLLATE "C" NOT NULL,
  key bytea NOT NULL,
  voucher_id text COLLATE "C" NOT NULL,
  provider text COLLATE "C" NOT NULL,
  event bytea NOT NULL,
  parked_at timestamptz NOT NULL,
  place integer NOT NULL,
  CONSTRAINT parked_pkey PRIMARY KEY (programme, key)
);
CREATE INDEX parked_voucher ON parked (programme, voucher_id);
CREATE INDEX parked_since ON parked (programme, parked_at)"""

REFUSAL = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$"""

# ENABLE ALWAYS: a session that calls itself a replica does not get past them either.
APPEND_ONLY = """
CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_change;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_truncate;
GRANT SELECT, INSERT ON {table} TO voucher_ledger_service"""

MOVING = """
GRANT SELECT, INSERT, UPDATE ON head TO voucher_ledger_service;
GRANT SELECT, INSERT, DELETE ON parked TO voucher_ledger_service;
GRANT SELECT ON alembic_version TO voucher_ledger_service"""

MEMBERSHIP = """
DO $$
BEGIN
  EXECUTE format('GRANT voucher_ledger_owner, voucher_ledger_service TO %I', current_user);
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO voucher_ledger_owner', current_schema());
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO voucher_ledger_service', current_schema());
END $$"""

OWNERSHIP = """
ALTER TABLE entry OWNER TO voucher_ledger_owner;
ALTER TABLE block OWNER TO voucher_ledger_owner;
ALTER TABLE policy OWNER TO voucher_ledger_owner;
ALTER TABLE head OWNER TO voucher_ledger_owner;
ALTER TABLE parked OWNER TO voucher_ledger_owner;
ALTER FUNCTION refuse_change() OWNER TO voucher_ledger_owner"""


def upgrade() -> None:
    """Make the roles, the tables, and what keeps them append-only."""
    op.execute(ROLES)
    _each(TABLES)
    op.execute(REFUSAL)
    for table in ("entry", "block", "policy"):
        _each(APPEND_ONLY.format(table=table))
    _each(MOVING)
    op.execute(MEMBERSHIP)
    _each(OWNERSHIP)


def _each(script: str) -> None:
    # The driver takes one statement at a time.
    for statement in script.split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    """Nothing that was written is taken back: restore a backup instead."""
    raise NotImplementedError
