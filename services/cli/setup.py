"""``migrate`` and ``doctor``: getting ready, and finding out why not."""

from dataclasses import asdict

from services.cli.app import FOUND_WRONG, Json, app, do, err, print_json, print_table, settings, stop
from services.doctor import examine
from services.ledger.migrate import migrate as bring_up_to_date
from services.served import served_policies
from services.settings import read_settings


@app.command()
def migrate(*, as_json: Json = False) -> None:
    """Bring the database's tables up to date, as the login of VOUCHER_LEDGER_MIGRATION_DATABASE_URL or DATABASE_URL."""
    database_url = read_settings().migration_database_url or settings(needs_redis=False).require_database_url()
    revision = do(bring_up_to_date(database_url))
    if as_json:
        print_json({"revision": revision})
    else:
        err.print(f"the tables are at revision {revision}", markup=False)


@app.command()
def doctor(*, as_json: Json = False) -> None:
    """Say what is configured, reachable and migrated, and what to do about what is not."""
    chosen = settings()
    findings = do(examine(chosen, served_policies(chosen)))
    well = all(finding.ok for finding in findings)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings], "ok": well})
    else:
        rows = ((one.what, "ok" if one.ok else "NOT OK", one.found, "" if one.ok else one.advice) for one in findings)
        print_table("Doctor", ("what", "", "found", "what to do"), rows)
    if not well:
        stop(FOUND_WRONG)
