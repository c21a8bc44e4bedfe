"""What was written stays: by privilege for the services, by trigger for everyone, and no wrong figure gets in."""

import asyncpg
import pytest
from events_made import as_inbound, exhausted_event, issue_event, redemption_event

CHENGDU = "chengdu-2024"
KEPT = ("entry", "block", "payable", "policy")
CHANGES = [
    f"{change} {table}{rest}"
    for table in KEPT
    for change, rest in (("UPDATE", " SET programme = programme"), ("DELETE FROM", ""), ("TRUNCATE", ""))
]


@pytest.fixture(autouse=True)
async def three_entries(ledger):
    events = [issue_event("V-1"), redemption_event("V-1"), exhausted_event()]
    await ledger.append(CHENGDU, [as_inbound(event) for event in events])


@pytest.fixture
async def entry(admin):
    """Return the columns of the issue, to be put in once more with some of them changed."""
    return dict(await admin.fetchrow("SELECT * FROM entry WHERE position = 1"))


async def insert(connection: asyncpg.Connection, row: dict[str, object]) -> None:
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(f"INSERT INTO entry ({', '.join(row)}) VALUES ({places})", *row.values())


def another(row: dict[str, object], **changes: object) -> dict[str, object]:
    """Return an entry that could be the fourth, but for the changes."""
    return row | {"position": 4, "key": bytes(16), "claim": bytes(16), "voucher_id": "V-2"} | changes


async def test_the_services_may_change_nothing_that_was_written(pool):
    for change in CHANGES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await pool.execute(change)


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_not_even_a_superuser_changes_it_in_passing(admin, role):
    await admin.execute(f"SET session_replication_role = '{role}'")
    for change in CHANGES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await admin.execute(change)


async def test_every_trigger_fires_always(admin):
    for table in KEPT:
        fires = await admin.fetch(
            "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal", table
        )
        assert [row[0] for row in fires] == ["A", "A"]


async def test_the_services_role_has_no_other_way(database_url, admin):
    """As a login that has the services' role and nothing else."""
    changes = [
        "DELETE FROM head",
        "TRUNCATE head",
        "TRUNCATE parked",
        "UPDATE parked SET provider = ''",
        "ALTER TABLE entry DISABLE TRIGGER ALL",
        "DROP TABLE entry",
        "DROP FUNCTION refuse_change() CASCADE",
        "CREATE TABLE mine (a int)",
        "SET ROLE voucher_ledger_owner",
        "UPDATE alembic_version SET version_num = '0000'",
    ]
    await admin.execute("CREATE ROLE a_service LOGIN IN ROLE voucher_ledger_service")
    try:
        login = await asyncpg.connect(
            database_url, user="a_service", server_settings={"role": "voucher_ledger_service"}
        )
        for change in changes:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await login.execute(change)
        await login.close()
    finally:
        await admin.execute("DROP ROLE a_service")


@pytest.mark.tampers
async def test_the_row_that_the_refusals_change_is_welcome_unchanged(pool, entry):
    await insert(pool, another(entry))


async def test_what_there_can_be_once_is_there_once(pool, entry):
    taken = {"entry_pkey": "position", "entry_key": "key", "entry_claim": "claim", "entry_issue": "voucher_id"}
    for constraint, column in taken.items():
        with pytest.raises(asyncpg.UniqueViolationError) as refused:
            await insert(pool, another(entry, **{column: entry[column]}))
        assert refused.value.constraint_name == constraint


WRONG_FIGURES = [
    ("entry_position", {"position": 0}),
    ("entry_kind", {"kind": "lost"}),
    ("entry_outcome", {"accepted": False, "code": None, "granted": None, "claim": None}),
    ("entry_outcome", {"accepted": False, "code": "below_minimum", "claim": None}),
    ("entry_outcome", {"accepted": False, "code": "below_minimum", "granted": None}),
    ("entry_amount", {"amount": 0, "granted": None}),
    ("entry_amount", {"amount": -1, "granted": None}),
    ("entry_amount", {"granted": 0}),
    ("entry_amount", {"granted": -1}),
    ("entry_amount", {"granted": 100_000_01}),
    ("entry_figures", {"voucher_remaining": -1}),
    ("entry_figures", {"payable": -1}),
    ("entry_figures", {"quota_used": -1}),
    ("entry_cap", {"quota_used": 1_000_000_01}),
    ("entry_cap", {"quota_limit": 99_999_99}),
    ("entry_budget", {"budget_remaining": -1}),
]


async def test_no_figure_is_negative_or_over_its_limit(pool, entry):
    for constraint, changes in WRONG_FIGURES:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await insert(pool, another(entry, **changes))
        assert refused.value.constraint_name == constraint, changes


async def test_what_every_entry_has_is_never_absent(pool, entry):
    for column in ("programme", "position", "recorded_at", "kind", "accepted", "key", "period", "event", "leaf"):
        with pytest.raises(asyncpg.NotNullViolationError):
            await insert(pool, another(entry, **{column: None}))
