"""Servers as a deployment makes them: its users on a real Valkey, its logins on a real PostgreSQL; and trying what they may do."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from services.embedded import Embedded, binaries
from services.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROGRAMME, OTHER_PROGRAMME = "chengdu-2024", "guizhou-2024"
PROVIDER, OTHER_PROVIDER = "91510100MA0000001L", "91510100MA0000002P"

ISSUED, OTHER_ISSUED = f"voucher.issued:{PROGRAMME}", f"voucher.issued:{OTHER_PROGRAMME}"
REDEEMED, OTHER_REDEEMED = f"voucher.redeemed:{PROVIDER}", f"voucher.redeemed:{OTHER_PROVIDER}"
EXHAUSTED, OTHER_EXHAUSTED = f"quota.exhausted:{PROGRAMME}", f"quota.exhausted:{OTHER_PROGRAMME}"
NOTIFICATIONS, DEAD_LETTERS = f"notification:{PROGRAMME}", "dead-letter"
STREAMS = (
    ISSUED, OTHER_ISSUED, REDEEMED, OTHER_REDEEMED, EXHAUSTED, OTHER_EXHAUSTED, NOTIFICATIONS, DEAD_LETTERS,
    "anything-else",
)  # fmt: skip

AUTHORITY_USER, PROVIDER_USER = f"authority-{PROGRAMME}", f"provider-{PROVIDER}"

# What nobody needs, whatever the keys. The operator has ACL LOAD, which says nothing and takes no rules.
FOR_NOBODY = (
    "CONFIG GET *", "CONFIG SET maxmemory 1", "FLUSHALL", "FLUSHDB", "SHUTDOWN NOSAVE", "SAVE", "BGREWRITEAOF",
    "ACL LIST", "ACL USERS", "ACL GETUSER default", "ACL SETUSER me on", "ACL SAVE", "KEYS *", "SCAN 0", "MONITOR",
    "CLIENT KILL ID 1", "CLIENT LIST", "REPLICAOF NO ONE", "SCRIPT FLUSH", "FUNCTION LIST", "MODULE LIST", "SELECT 1",
    "PUBLISH channel message", "SUBSCRIBE channel",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deployed:
    """Servers as a deployment has them, and its secrets."""

    embedded: Embedded
    socket: Path
    secrets: Path
    database_url: str
    migration_database_url: str

    def password(self, user: str) -> str:
        own = self.secrets / f"{user}_redis_url"
        if own.exists():
            return own.read_text().split(":")[2].split("@")[0]
        if user == "health":
            return (self.secrets / "valkey_health_password").read_text().strip()
        rows = [line.split("\t") for line in (self.secrets / "credentials.tsv").read_text().splitlines()]
        return next(password for name, password, _ in rows if name == user)

    def redis_url(self, user: str) -> str:
        return f"unix://{user}:{self.password(user)}@{quote(str(self.socket))}"

    def make_secrets(self, *arguments: str) -> None:
        make_secrets(self.secrets, *arguments)

    @contextlib.asynccontextmanager
    async def as_user(self, user: str) -> AsyncIterator[Redis]:
        client = Redis.from_url(self.redis_url(user))
        try:
            yield client
        finally:
            await client.aclose()

    def settings(self, user: str, **changes: Any) -> Settings:
        return Settings(
            database_url=self.database_url, redis_url=self.redis_url(user), programmes=frozenset({PROGRAMME}), readers=1,
            block_ms=50, claim_idle_seconds=0.2, claim_every_seconds=0.1, log_level="critical", **changes,
        )  # fmt: skip


@contextlib.contextmanager
def deployed_in(folder: Path) -> Iterator[Deployed]:
    """Make the secrets, start the servers and prepare the database as the deployment's instructions say."""
    secrets = folder / "secrets"
    make_secrets(secrets)
    embedded = Embedded(folder / "home", durable=False, aclfile=secrets / "valkey_users")
    with embedded as servers:
        prepare_database(servers.database_url, secrets, folder)
        url = servers.database_url.replace("//postgres@", "//{login}@")
        yield Deployed(
            embedded, Path(servers.redis_url.removeprefix("unix://")), secrets,
            url.format(login="voucher_ledger"), url.format(login="voucher_ledger_migration"),
        )  # fmt: skip


def make_secrets(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["sh", DEPLOY / "make-secrets.sh", "--dir", folder, *arguments], check=True, capture_output=True,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def prepare_database(superuser_url: str, secrets: Path, folder: Path) -> None:
    """Run the deployment's script as the container does, but for where the secrets are mounted."""
    script = folder / "init.sql"
    script.write_text((DEPLOY / "postgres" / "init.sql").read_text().replace("/run/secrets/", f"{secrets}/"))
    psql = binaries.find_postgres() / "psql"
    subprocess.run([psql, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--quiet", "-f", script, superuser_url], check=True)


async def clean_up(deployed: Deployed) -> None:
    """Take away what the trials left, from outside: nobody of a deployment could."""
    deployed.embedded.valkey.stop()
    for file in (deployed.embedded._home.path / "valkey" / "appendonlydir").iterdir():
        file.unlink()
    deployed.embedded.valkey.start()


async def refused(client: Redis, command: str) -> bool:
    """Whether the server refuses the command for want of permission; any other answer, also an error, means it was let through."""
    try:
        await client.execute_command(*command.split())
    except NoPermissionError:
        return True
    except ResponseError:
        return False
    return False


async def let_through(client: Redis, *commands: str) -> list[str]:
    """Return the commands that the server does not refuse."""
    return [command for command in commands if not await refused(client, command)]


async def writable(client: Redis) -> list[str]:
    return [key for key in STREAMS if not await refused(client, f"XADD {key} * event {{}}")]


def commands_on(keys: tuple[str, ...], *forms: str) -> list[str]:
    return [form.format(key=key) for key in keys for form in forms]
