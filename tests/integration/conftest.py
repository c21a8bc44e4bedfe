"""The servers that the integration tests share: one PostgreSQL and one Valkey a run, a database of its own for each test.

The servers are the embedded ones. A test may do to its database what it likes; the template that it was made from stays.
"""

import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from deployed import Deployed, deployed_in
from inside import Run, run_inside
from servers_used import Make
from sqlalchemy.engine import make_url
from tampered import make_ledger, take_protection_away
from verified import verify_all_of

from schemas.policy import Policy
from services import broker
from services.embedded import Embedded, Servers
from services.ledger.append import Ledger
from services.ledger.database import connect
from services.ledger.migrate import migrate
from services.programmes import load_policies

TEMPLATE = "template_ledger"

_numbers = itertools.count(1)
_used: list[str] = []
"""Databases of tests that are over; each is dropped with the next, when its last sessions had the time to end."""


def in_database(database_url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return make_url(database_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One PostgreSQL and one Valkey for the whole run; nothing of theirs outlives it."""
    with Embedded(tmp_path_factory.mktemp("s"), durable=False) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(servers: Servers) -> str:
    """Migrate the database that each test's is a copy of; return its name."""
    administrator = await asyncpg.connect(servers.database_url)
    await administrator.execute(f"CREATE DATABASE {TEMPLATE}")
    await administrator.close()
    await migrate(in_database(servers.database_url, TEMPLATE))
    return TEMPLATE


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(servers: Servers, template_database: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Make a migrated database of the test's own; afterwards every ledger in it is verified, unless the test tampers."""
    name = f"test_{next(_numbers)}"
    administrator = await asyncpg.connect(servers.database_url)
    while _used:
        await administrator.execute(f"DROP DATABASE {_used.pop()} WITH (FORCE)")
    await administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY FILE_COPY")
    await administrator.close()
    yield in_database(servers.database_url, name)
    _used.append(name)
    if request.node.get_closest_marker("tampers") is None:
        await verify_all_of(in_database(servers.database_url, name))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stored(servers, template_database) -> AsyncIterator[asyncpg.Connection]:
    """Make the ledger that the changes are made to; return a connection that has power over it."""
    administrator = await asyncpg.connect(servers.database_url)
    await administrator.execute(f"CREATE DATABASE tampered TEMPLATE {template_database}")
    url = in_database(servers.database_url, "tampered")
    pool = await connect(url)
    await make_ledger(pool)
    await pool.close()
    connection = await asyncpg.connect(url)
    await take_protection_away(connection)
    yield connection
    await connection.close()
    await administrator.execute("DROP DATABASE tampered WITH (FORCE)")
    await administrator.close()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Start servers as a deployment has them, with its users and logins."""
    with deployed_in(tmp_path_factory.mktemp("deployed")) as servers:
        yield servers


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def migrated(deployed: Deployed) -> Deployed:
    """Migrate the deployment's database as its own login for that."""
    await migrate(deployed.migration_database_url)
    return deployed


@pytest_asyncio.fixture(loop_scope="session")
async def pool(database_url: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Connect as the services do to the test's database, in the services' role."""
    opened = await connect(database_url)
    yield opened
    opened.terminate()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect as a superuser to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    connection.terminate()


@pytest.fixture(scope="session")
def policies() -> Mapping[str, Policy]:
    """Return the shipped policies, by programme."""
    return load_policies()


@pytest_asyncio.fixture(loop_scope="session")
async def ledger(pool: "asyncpg.Pool[asyncpg.Record]", policies: Mapping[str, Policy]) -> Ledger:
    """Open a ledger of all shipped programmes on the test's database."""
    opened = Ledger(pool, policies)
    await opened.open()
    return opened


@pytest_asyncio.fixture(loop_scope="session")
async def ledgers(database_url: str, policies: Mapping[str, Policy]) -> AsyncIterator[list[Ledger]]:
    """Make four ledgers as four processes would have them, each with a pool and a book of its own."""
    pools = [await connect(database_url, connections_max=4) for _ in range(4)]
    yield [Ledger(pool, policies) for pool in pools]
    for pool in pools:
        pool.terminate()


@pytest_asyncio.fixture(loop_scope="session")
async def redis_url(servers: Servers) -> str:
    """Empty the broker, and return its URL."""
    client = broker.connect(servers.redis_url)
    await client.flushall()
    await client.aclose()
    return servers.redis_url


@pytest_asyncio.fixture(loop_scope="session")
async def redis(redis_url: str) -> AsyncIterator[broker.Redis]:
    """Connect to the empty broker; what it gives is bytes."""
    client = broker.connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make an Embedded that is stopped after the test, together with what a killed keeper left in its home."""
    made: list[tuple[Path, Embedded]] = []

    def make_one(path: Path = tmp_path / "home", **options) -> Embedded:
        embedded = Embedded(path, **{"durable": False, **options})
        made.append((path, embedded))
        return embedded

    yield make_one
    for _, embedded in made:
        embedded.stop()
    for path, embedded in made:
        if path.exists():
            embedded._home.take()
            embedded.postgres.stop_orphans()
            embedded.valkey.stop_orphans()
            embedded.stop()


@pytest.fixture
def command(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return what runs a command as its process would, but in this one, on the test's database and the empty broker."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    return run_inside(monkeypatch, capsys)
