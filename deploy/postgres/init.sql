-- Run once by the superuser, when the database is made: the two logins that anyone but the superuser has.
--
-- The roles behind them are the migrations' (they make them where they are missing). They are made here already so that
-- the services' login can be a member of its role before the first migration has run.
\set migration_password `cat /run/secrets/postgres_migration_password`
\set service_password `cat /run/secrets/postgres_service_password`

BEGIN;

CREATE ROLE voucher_ledger_owner NOLOGIN;
CREATE ROLE voucher_ledger_service NOLOGIN;

-- Makes tables, and roles where a later migration needs one. ADMIN: the migrations grant their roles' membership.
CREATE ROLE voucher_ledger_migration LOGIN CREATEROLE PASSWORD :'migration_password';
GRANT voucher_ledger_owner, voucher_ledger_service TO voucher_ledger_migration WITH ADMIN OPTION;

-- The services' login: may do what its role may, which is to read and to append, and nothing else.
CREATE ROLE voucher_ledger LOGIN PASSWORD :'service_password';
GRANT voucher_ledger_service TO voucher_ledger;

-- The owner of the database is who may make tables in its schema.
SELECT format('ALTER DATABASE %I OWNER TO voucher_ledger_migration', current_database()) \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO voucher_ledger', current_database()) \gexec

COMMIT;
