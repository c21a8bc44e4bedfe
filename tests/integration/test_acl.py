"""Who may do what at the broker: its users on a real Valkey, as a deployment makes them."""

import asyncio
import re
import subprocess
from urllib.parse import quote

import pytest
from deployed import (
    AUTHORITY_USER,
    DEAD_LETTERS,
    DEPLOY,
    EXHAUSTED,
    FOR_NOBODY,
    ISSUED,
    NOTIFICATIONS,
    OTHER_EXHAUSTED,
    PROVIDER_USER,
    REDEEMED,
    ROOT,
    STREAMS,
    commands_on,
    let_through,
    writable,
)
from eventually import eventually
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import NoPermissionError, ResponseError
from ruamel.yaml import YAML

from services.embedded import binaries

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


def test_a_template_line_is_one_user_with_a_password(deployed):
    lines = [
        line for line in (DEPLOY / "users.acl.template").read_text().splitlines() if line and not line.startswith("#")
    ]
    for line in lines:
        assert re.match(r"user (default off resetpass|\S+ on \{password\}) resetkeys resetchannels -@all", line), line
