"""Who may do what: the broker's users on a real Valkey, the database's logins on a real PostgreSQL, as a deployment makes them."""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import wire_events
from eventually import eventually
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import NoPermissionError, ResponseError
from ruamel.yaml import YAML

from services import letters
from services.backlog import Backlog
from services.broker import inbound_streams, issued_streams
from services.consumers import exhausted, issued, redeemed
from services.consumers.claims import Claimer
from services.consumers.service import Consumer
from services.consumers.trims import Trimmer
from services.doctor import examine
from services.embedded import Embedded, binaries
from services.ledger.migrate import migrate
from services.notifier import Notifier
from services.programmes import load_policies
from services.publishing import publish
from services.queues import queues
from services.settings import Settings
from services.trimming import trim

ROOT = Path(__file__).parents[2]
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

TRIM = "XTRIM {key} MAXLEN 0"
TRIMMED = STREAMS[:7]
"""The streams that the services' user trims: all but the dead letters."""

# Every command that changes a stream, or makes something else of it. {key} is the stream.
CHANGES = (
    "DEL {key}", "UNLINK {key}", "EXPIRE {key} 1", "RENAME {key} other", "COPY {key} other", "RESTORE {key} 0 x REPLACE",
    "SET {key} x", TRIM, "XSETID {key} 1-0", "XGROUP DESTROY {key} ledger", "XGROUP SETID {key} ledger 0",
)  # fmt: skip
READS = (
    "XRANGE {key} - +", "XREVRANGE {key} + -", "XREAD STREAMS {key} 0", "XLEN {key}", "XINFO STREAM {key}", "GET {key}", "DUMP {key}",
)  # fmt: skip
SCRIPT = "return redis.call('XADD', KEYS[1], '*', 'event', 'x')"


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


def make_secrets(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["sh", DEPLOY / "make-secrets.sh", "--dir", folder, *arguments], check=True, capture_output=True,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def deployed(tmp_path_factory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
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


def prepare_database(superuser_url: str, secrets: Path, folder: Path) -> None:
    """Run the deployment's script as the container does, but for where the secrets are mounted."""
    script = folder / "init.sql"
    script.write_text((DEPLOY / "postgres" / "init.sql").read_text().replace("/run/secrets/", f"{secrets}/"))
    psql = binaries.find_postgres() / "psql"
    subprocess.run([psql, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--quiet", "-f", script, superuser_url], check=True)


@pytest.fixture(scope="module")
async def migrated(deployed) -> Deployed:
    await migrate(deployed.migration_database_url)
    return deployed


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


async def clean_up(deployed: Deployed) -> None:
    """Take away what the trials left, from outside: nobody of a deployment could."""
    deployed.embedded.valkey.stop()
    for file in (deployed.embedded._home.path / "valkey" / "appendonlydir").iterdir():
        file.unlink()
    deployed.embedded.valkey.start()


def commands_on(keys: tuple[str, ...], *forms: str) -> list[str]:
    return [form.format(key=key) for key in keys for form in forms]


async def test_nobody_comes_in_without_a_name_and_a_password(deployed):
    socket = quote(str(deployed.socket))
    urls = (
        f"unix://{socket}",
        f"unix://:x@{socket}",
        f"unix://ledger:x@{socket}",
        f"unix://ledger:@{socket}",
        f"unix://default:@{socket}",
    )
    for url in urls:
        client = Redis.from_url(url)
        # What redis-py calls a connection error here is the server's answer to the first words of a client.
        with pytest.raises((NotConnectedError, ResponseError), match=r"authenticated|Authentication|invalid username"):
            await client.ping()
        await client.aclose()


async def test_nobody_may_look_after_the_server_itself(deployed):
    users = [line.split()[1] for line in (deployed.secrets / "valkey_users").read_text().splitlines()]
    assert "default" in users
    for user in set(users) - {"default"}:
        async with deployed.as_user(user) as client:
            assert await client.ping()
            assert await let_through(client, *FOR_NOBODY) == [], user
            trimmed = TRIMMED if user == "ledger" else ()
            assert await let_through(client, *commands_on(STREAMS, *CHANGES)) == commands_on(trimmed, TRIM), user


async def test_no_password_stands_in_the_file_of_users(deployed):
    text = (deployed.secrets / "valkey_users").read_text()
    users = [line.split()[1] for line in text.splitlines()]
    assert len(set(users)) == len(users)
    for user in set(users) - {"default"}:
        assert deployed.password(user) not in text
    assert ">" not in text
    assert "nopass" not in text


async def test_a_provider_writes_its_own_stream_and_nothing_else(deployed):
    async with deployed.as_user(PROVIDER_USER) as client:
        assert await writable(client) == [REDEEMED]
        assert await let_through(client, *commands_on(STREAMS, *READS, "XACK {key} ledger 1-1", "XDEL {key} 1-1")) == []
        assert await let_through(client, f"XGROUP CREATE {REDEEMED} mine 0") == []
        assert await let_through(client, f"XREADGROUP GROUP ledger me STREAMS {REDEEMED} >") == []
        with pytest.raises(NoPermissionError):
            await client.eval(SCRIPT, 1, REDEEMED)


async def test_an_authority_writes_what_is_of_its_programme_and_nothing_else(deployed):
    async with deployed.as_user(AUTHORITY_USER) as client:
        assert await writable(client) == [ISSUED, EXHAUSTED]
        assert await let_through(client, *commands_on(STREAMS, *READS, "XACK {key} ledger 1-1", "XDEL {key} 1-1")) == []
        with pytest.raises(NoPermissionError):
            await client.eval(SCRIPT, 1, ISSUED)


async def test_a_platform_reads_notifications_and_writes_nothing(deployed):
    async with deployed.as_user("platform") as client:
        assert await writable(client) == []
        allowed = (
            "XRANGE {key} - +",
            "XREVRANGE {key} + -",
            "XREAD STREAMS {key} 0",
            "XLEN {key}",
            "XINFO STREAM {key}",
        )
        assert await let_through(client, *commands_on(STREAMS, *READS)) == commands_on((NOTIFICATIONS,), *allowed)
        assert await let_through(client, f"XREAD STREAMS {NOTIFICATIONS} {DEAD_LETTERS} 0 0") == []
        writing = (
            "XDEL {key} 1-0",
            "XGROUP CREATE {key} mine 0",
            "XREADGROUP GROUP ledger me STREAMS {key} >",
            "XACK {key} ledger 1-0",
        )
        assert await let_through(client, *commands_on((NOTIFICATIONS,), *writing)) == []
        with pytest.raises(NoPermissionError):
            await client.eval("return redis.call('XLEN', KEYS[1])", 1, NOTIFICATIONS)


async def test_the_healthcheck_only_pings(deployed):
    async with deployed.as_user("health") as client:
        assert await client.ping()
        assert await writable(client) == []
        assert await let_through(client, *commands_on(STREAMS, *READS), "INFO", "TIME") == []


async def test_the_limit_of_it_who_may_write_to_a_stream_may_also_shorten_it(deployed):
    # No ACL can forbid an argument. It is why every producer has a stream of its own.
    async with deployed.as_user(PROVIDER_USER) as client, deployed.as_user("operator") as operator:
        for _ in range(3):
            await client.xadd(REDEEMED, {"event": "{}"})
        await client.xadd(REDEEMED, {"event": "{}"}, maxlen=1, approximate=False)
        assert await operator.xlen(REDEEMED) == 1


async def test_the_services_do_all_their_work_as_their_own_user(migrated):
    await clean_up(migrated)
    async with (
        migrated.as_user("ledger") as ledger,
        migrated.as_user(AUTHORITY_USER) as authority,
        migrated.as_user(PROVIDER_USER) as provider,
        migrated.as_user("platform") as platform,
        migrated.as_user("operator") as operator,
    ):
        # What an earlier consumer took and never acknowledged is there to be taken over.
        await authority.xadd(ISSUED, {"event": wire_events.on_wire(wire_events.ISSUED)})
        await ledger.xgroup_create(ISSUED, "ledger", id="0", mkstream=True)
        assert await ledger.xreadgroup("ledger", "killed", {ISSUED: ">"})
        async with services_of(migrated):
            await eventually(lambda: count(platform, NOTIFICATIONS, 1))
            await provider.xadd(REDEEMED, {"event": wire_events.on_wire(wire_events.REDEEMED)})
            await eventually(lambda: count(platform, NOTIFICATIONS, 2))
            await authority.xadd(EXHAUSTED, {"event": wire_events.on_wire(wire_events.EXHAUSTED)})
            await eventually(lambda: count(platform, NOTIFICATIONS, 3))
            told = {
                entry_id: json.loads(fields[b"event"])["type"]
                for entry_id, fields in await platform.xrange(NOTIFICATIONS)
            }
            assert told == {
                b"1-0": "voucher.issued.accepted.v1",
                b"2-0": "voucher.redeemed.accepted.v1",
                b"3-0": "quota.exhausted.accepted.v1",
            }
            for producer, stream in ((authority, ISSUED), (provider, REDEEMED), (authority, EXHAUSTED)):
                await producer.xadd(stream, {"event": b"not an event"})
            await eventually(lambda: count(operator, DEAD_LETTERS, 3))
            # The notifier closes a quota that an issue has used up.
            await use_up_a_quota(authority)
            await eventually(lambda: count(operator, EXHAUSTED, 3))
            await eventually(lambda: count(platform, NOTIFICATIONS, 5))
            await eventually(lambda: nothing_pending(operator))
        # A consumer that is gone is taken off its group: hours later, so it is not waited for.
        (stream,) = issued_streams({PROGRAMME: load_policies()[PROGRAMME]})
        assert await Trimmer(ledger, [stream], timedelta(), 1, {}).trim(stream) == 0
        assert await trim(ledger, NOTIFICATIONS, "4-0") == 0
        assert await Claimer(ledger, None, "me", 1, 1, 1).forget_gone(stream, after_ms=0)
        # What the metrics are made of.
        backlog = Backlog(ledger, inbound_streams({PROGRAMME: load_policies()[PROGRAMME]}))
        await backlog.at_streams()
        await backlog.at_broker()
        # Whatever was refused is in the server's log of refusals, also where a client thought nothing of it.
        refusals = await operator.execute_command("ACL LOG")
        assert [entry for entry in refusals if entry["username"] == "ledger"] == []


async def use_up_a_quota(authority: Redis) -> None:
    whole = wire_events.ISSUED
    for where, value in (
        ("id", "issue-2"), ("subject", "CD-2"), ("data.voucher_id", "CD-2"), ("data.amount", "1000000.00"),
        ("data.contract.fee", "2000000.00"), ("data.contract.number", "HT-2"), ("data.enterprise.uscc", "91510100MA0000002P"),
    ):  # fmt: skip
        whole = wire_events.changed(whole, where, value)
    await authority.xadd(ISSUED, {"event": wire_events.on_wire(whole)})


async def test_the_services_user_cannot_issue_or_redeem_and_cannot_erase(deployed):
    async with deployed.as_user("ledger") as client:
        assert await writable(client) == [EXHAUSTED, OTHER_EXHAUSTED, NOTIFICATIONS, DEAD_LETTERS]
        assert await let_through(client, *commands_on(STREAMS, "XDEL {key} 1-1")) == []
        with pytest.raises(NoPermissionError):
            await client.execute_command("XADD", ISSUED, "*", "event", "{}")
        script = client.register_script(SCRIPT)
        for key in (ISSUED, REDEEMED, "anything-else"):
            with pytest.raises(ResponseError, match="permission"):
                await script([key])


async def test_an_operator_sees_the_queues_and_looks_after_dead_letters(migrated):
    await clean_up(migrated)
    policies = load_policies()
    async with migrated.as_user("ledger") as ledger, migrated.as_user("operator") as operator:
        for stream in (ISSUED, REDEEMED, EXHAUSTED, REDEEMED):
            await ledger.xadd(DEAD_LETTERS, {"event": "{}", "stream": stream, "entry_id": "1-0", "reason": "not_json"})
        *to_replay, to_discard = [letter async for letter in letters.letters(operator)]
        for letter in to_replay:
            assert await letters.replay(operator, letter)
        assert await letters.discard(operator, to_discard)
        await ledger.xgroup_create(REDEEMED, "ledger", id="0")
        assert await ledger.xreadgroup("ledger", "me", {REDEEMED: ">"})
        rows = {row.stream: row for row in await queues(operator, policies)}
        assert rows[REDEEMED].pending == 1
        assert rows[DEAD_LETTERS].length == 0
        assert await writable(operator) == [ISSUED, OTHER_ISSUED, REDEEMED, OTHER_REDEEMED, EXHAUSTED, OTHER_EXHAUSTED]
        inbound = (ISSUED, REDEEMED, EXHAUSTED, NOTIFICATIONS)
        assert await let_through(operator, *commands_on(inbound, "XDEL {key} 1-1", "XACK {key} ledger 1-1")) == []
        assert await let_through(operator, *commands_on(inbound, "XREADGROUP GROUP ledger me STREAMS {key} >")) == []
    findings = {finding.what: finding for finding in await examine(migrated.settings("operator"), {})}
    for what in ("database", "append-only", "broker", "broker keeps events", "broker evicts nothing"):
        assert findings[what].ok, findings[what]


async def test_the_monitor_shows_the_queues_and_sends_what_came_in_over_http(migrated):
    await clean_up(migrated)
    async with migrated.as_user("ledger") as ledger, migrated.as_user("monitor") as monitor:
        sent = await publish(monitor, [(ISSUED, b"{}"), (REDEEMED, b"{}"), (EXHAUSTED, b"{}")], wait_seconds=20)
        assert (len(sent.entry_ids), sent.durable) == (3, True)
        for stream in (ISSUED, REDEEMED):
            await ledger.xadd(DEAD_LETTERS, {"event": "{}", "stream": stream, "entry_id": "1-0", "reason": "not_json"})
        to_replay, to_discard = await letters.letters_after(monitor, "0", 10)
        assert [head.id for head in await letters.heads(monitor, None, 10)] == [to_replay.id, to_discard.id]
        assert await letters.replay(monitor, to_replay)
        assert await letters.discard(monitor, to_discard)
        rows = {row.stream: row for row in await queues(monitor, load_policies())}
        assert (rows[ISSUED].length, rows[DEAD_LETTERS].length) == (2, 0)
        assert await writable(monitor) == [ISSUED, OTHER_ISSUED, REDEEMED, OTHER_REDEEMED, EXHAUSTED, OTHER_EXHAUSTED]
        inbound = (ISSUED, REDEEMED, EXHAUSTED, NOTIFICATIONS)
        assert await let_through(monitor, *commands_on(inbound, "XDEL {key} 1-1", "XACK {key} ledger 1-1")) == []
        assert await let_through(monitor, "ACL LOAD", "ACL LOG", "INFO", "XGROUP DESTROY x y", *FOR_NOBODY) == []


async def test_a_password_is_rotated_without_cutting_anyone_off_and_a_user_is_revoked(deployed):
    old_url = deployed.redis_url(PROVIDER_USER)

    async def comes_in(url: str) -> bool:
        client = Redis.from_url(url)
        try:
            return await client.ping()
        except NotConnectedError:
            return False
        finally:
            await client.aclose()

    async with deployed.as_user("operator") as operator:
        deployed.make_secrets("--rotate", PROVIDER_USER)
        new_url = deployed.redis_url(PROVIDER_USER)
        assert await operator.execute_command("ACL LOAD")
        assert await comes_in(old_url)
        assert await comes_in(new_url)
        deployed.make_secrets("--retire", PROVIDER_USER)
        await operator.execute_command("ACL LOAD")
        assert not await comes_in(old_url)
        assert await comes_in(new_url)
        deployed.make_secrets("--revoke", PROVIDER_USER)
        deployed.make_secrets()  # which does not let it in again
        await operator.execute_command("ACL LOAD")
        assert not await comes_in(new_url)
        deployed.make_secrets("--rotate", PROVIDER_USER)
        await operator.execute_command("ACL LOAD")
        assert await comes_in(deployed.redis_url(PROVIDER_USER))


async def test_the_compose_files_valkey_keeps_events_and_evicts_nothing(deployed, tmp_path):
    compose = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())
    server, *arguments = compose["services"]["valkey"]["command"]
    assert server == "valkey-server"
    arguments[arguments.index("--aclfile") + 1] = str(deployed.secrets / "valkey_users")
    where = ["--dir", str(tmp_path), "--port", "0", "--unixsocket", str(tmp_path / "s")]
    process = await asyncio.create_subprocess_exec(
        binaries.find_valkey(), *arguments, *where, stdout=subprocess.DEVNULL
    )
    client = Redis.from_url(f"unix://operator:{deployed.password('operator')}@{tmp_path / 's'}")
    try:
        await eventually((tmp_path / "s").exists)
        info = await client.info()
        assert info["aof_enabled"] == 1
        assert info["maxmemory_policy"] == "noeviction"
        assert info["maxmemory"] == 1024**3
    finally:
        await client.aclose()
        process.terminate()
        await process.wait()


async def test_the_database_knows_passwords_by_their_scram_verifier_only(deployed):
    superuser = await asyncpg.connect(deployed.database_url.replace("voucher_ledger@", "postgres@"))
    try:
        rows = await superuser.fetch(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL"
        )
    finally:
        await superuser.close()
    assert {row["rolname"] for row in rows} == {"voucher_ledger", "voucher_ledger_migration"}
    assert all(row["rolpassword"].startswith("SCRAM-SHA-256$") for row in rows)


async def test_the_services_login_appends_and_no_more(migrated):
    connection = await asyncpg.connect(migrated.database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM entry") >= 0
        for statement in (
            "CREATE TABLE mine (a int)", "CREATE TEMPORARY TABLE mine (a int)", "CREATE ROLE mine", "DROP TABLE entry",
            "UPDATE entry SET amount = 1", "DELETE FROM block", "TRUNCATE policy", "DELETE FROM head",
            "ALTER TABLE entry DISABLE TRIGGER no_change", "SET ROLE voucher_ledger_owner",
            "GRANT voucher_ledger_owner TO voucher_ledger",
        ):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_migrations_login_is_no_superuser_and_migrating_again_changes_nothing(migrated):
    assert await migrate(migrated.migration_database_url)
    connection = await asyncpg.connect(migrated.migration_database_url)
    try:
        assert not await connection.fetchval(
            "SELECT rolsuper OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        owners = await connection.fetch(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('entry', 'block', 'head')"
        )
        assert [row["tableowner"] for row in owners] == ["voucher_ledger_owner"]
    finally:
        await connection.close()


def test_a_template_line_is_one_user_with_a_password(deployed):
    lines = [
        line for line in (DEPLOY / "users.acl.template").read_text().splitlines() if line and not line.startswith("#")
    ]
    for line in lines:
        assert re.match(r"user (default off resetpass|\S+ on \{password\}) resetkeys resetchannels -@all", line), line


@contextlib.asynccontextmanager
async def services_of(deployed: Deployed) -> AsyncIterator[None]:
    """All four services, in this process, as the deployment's user and login."""
    settings = deployed.settings("ledger")
    consumers: list[Consumer] = [module.build(settings) for module in (issued, redeemed, exhausted)]
    notifier = Notifier(settings, consumers[0].policies)
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    notifying = asyncio.create_task(notifier.run())
    try:
        await eventually(
            lambda: asyncio.sleep(0, all(consumer.ready().ok for consumer in consumers) and notifier.ready().ok)
        )
        yield
        assert all(consumer.ready().ok for consumer in consumers), [consumer.ready() for consumer in consumers]
        assert notifier.ready().ok, notifier.ready()
    finally:
        notifying.cancel()
        for consumer in consumers:
            consumer.app.exit()
        await asyncio.gather(*tasks, notifying, return_exceptions=True)


async def count(client: Redis, stream: str, wanted: int) -> bool:
    return await client.xlen(stream) >= wanted


async def nothing_pending(client: Redis) -> bool:
    waiting = [(await client.xpending(stream, "ledger"))["pending"] for stream in (ISSUED, REDEEMED, EXHAUSTED)]
    return waiting == [0, 0, 0]
