"""``demo``: the main job on the sample of all five programmes, on servers of its own, shown step by step."""

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import asyncpg
import typer
from redis.asyncio import Redis

from schemas.codes import MESSAGES, Code
from schemas.money import format_yuan
from services import broker, logs
from services.broker import FIELD, notification_stream
from services.cli.app import FOUND_WRONG, CommandError, Json, app, out, print_json, print_table, stop
from services.cli.home import DEFAULT, Running, remove_note, write_note
from services.cli.publishing import send_file
from services.cli.running import fast_loop
from services.cli.serving import free_address, servers, variables_of
from services.cli.supervise import Supervisor
from services.ledger.database import connect
from services.ledger.migrate import migrate_now
from services.ledger.verify import Verification, verify
from services.letters import Letter, letters
from services.programmes import SHIPPED
from services.queues import queues
from services.served import served_policies
from services.settings import Settings, read_settings

SAMPLES: Final = SHIPPED / "samples"
SETTLED_WITHIN_SECONDS: Final = 60
WIDTH_WITH_MESSAGES: Final = 120
COLUMNS: Final = ("#", "event", "voucher", "amount>", "outcome", "why", "left>")
_GARBAGE: Final = b'{"specversion":"1.0","id":"broken-1","type":"voucher.issued.v1"'
_ENTRIES = "SELECT * FROM entry WHERE programme = $1 ORDER BY position"
_HEADS = "SELECT programme, position FROM head"


@app.command()
def demo(
    *,
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up until Ctrl-C.")] = False,
    home: Annotated[
        Path | None, typer.Option("--home", help="Keep the data here instead of in a temporary folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run everything on the sample of all five programmes: what is decided, why, and what platforms are told."""
    began = time.monotonic()
    settings = read_settings(log_level="error")
    logs.set_up(settings, "demo")
    signal.signal(signal.SIGTERM, lambda *_: stop(0))
    with tempfile.TemporaryDirectory(prefix="voucher-ledger-") as temporary, fast_loop() as runner:
        kept = home or Path(temporary) / DEFAULT.name.lstrip(".")
        # Never the servers of the environment: a demonstration writes into nobody's ledger.
        with servers(Settings(database_url=None, redis_url=None), kept) as started:
            running = started._replace(monitor_url=free_address(settings))
            migrate_now(running.database_url)
            chosen = settings.model_copy(update={"database_url": running.database_url, "redis_url": running.redis_url})
            write_note(kept, running)
            try:
                well = runner.run(_Demo(chosen, running, began, as_json=as_json).run(kept if stay else None))
            finally:
                remove_note(kept)
    if not well:
        stop(FOUND_WRONG)


class _Demo:
    def __init__(self, settings: Settings, running: Running, began: float, *, as_json: bool) -> None:
        self._settings = settings
        self._policies = served_policies(settings)
        self._environment = {**variables_of(running), "VOUCHER_LEDGER_LOG_LEVEL": "error"}
        self._monitor_url = running.monitor_url
        self._as_json = as_json
        self._began = began

    async def run(self, stay_at: Path | None) -> bool:
        stopping = asyncio.Event()
        supervisor = Supervisor(
            self._environment, graceful_seconds=self._settings.graceful_seconds, health_port=self._settings.health_port
        )
        services = asyncio.create_task(supervisor.run(stopping))
        redis = broker.connect(self._settings.require_redis_url())
        pool = await connect(self._settings.require_database_url())
        try:
            well = await self._show(redis, pool)
            if stay_at is not None:
                out.print(
                    f"Still up. In another terminal: VOUCHER_LEDGER_HOME={stay_at} voucher-ledger queues\n"
                    f"The monitor and the HTTP API: {self._monitor_url}",
                    markup=False,
                )
                for number in (signal.SIGTERM, signal.SIGINT):
                    asyncio.get_running_loop().add_signal_handler(number, stopping.set)
                await stopping.wait()
            return well
        finally:
            stopping.set()
            await services
            await pool.close()
            await redis.aclose()

    async def _show(self, redis: Redis, pool: "asyncpg.Pool[asyncpg.Record]") -> bool:
        self._say(f"1. PostgreSQL, Valkey and five services are up ({self._seconds()}).")
        sent = 0
        for sample in sorted(SAMPLES.glob("*.ndjson")):
            sent += sum((await send_file(redis, sample)).values())
            await self._settled(redis, pool)
        await redis.xadd("voucher.issued:chengdu-2024", {FIELD: _GARBAGE})
        await self._settled(redis, pool)
        self._say(f"2. {sent} events of five programmes were published, and one broken one ({self._seconds()}).")
        decided = {programme: await pool.fetch(_ENTRIES, programme) for programme in self._policies}
        dead = [letter async for letter in letters(redis)]
        notified = {programme: await redis.xlen(notification_stream(programme)) for programme in self._policies}
        verified = [await verify(pool, programme) for programme in self._policies]
        well = all(one.ok for one in verified) and notified == {name: len(rows) for name, rows in decided.items()}
        if self._as_json:
            print_json(_summary(decided, notified, dead, verified, sent))
        else:
            self._tell(decided, dead, verified)
            await self._tell_notification(redis, decided)
            out.print(f"\n{'All is well' if well else 'SOMETHING IS WRONG'} ({self._seconds()}).", markup=False)
        return well

    def _say(self, sentence: str) -> None:
        if not self._as_json:
            out.print(sentence, markup=False, highlight=False)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"

    async def _settled(self, redis: Redis, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Wait until nothing waits, nothing is pending, and every entry is notified."""
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            rows = await queues(redis, self._policies)
            heads = {row["programme"]: row["position"] for row in await pool.fetch(_HEADS)}
            told = {row.stream: row.length for row in rows}
            busy = [row.stream for row in rows if (row.consumers is None and row.lag) or row.lag or row.pending]
            behind = [name for name in self._policies if heads.get(name, 0) != told[notification_stream(name)]]
            if heads and not busy and not behind:
                return
            await asyncio.sleep(0.05)
        raise CommandError(f"not settled within {SETTLED_WITHIN_SECONDS} s: {busy + behind}")

    def _tell(
        self, decided: Mapping[str, Sequence[asyncpg.Record]], dead: Sequence[Letter], verified: Sequence[Verification]
    ) -> None:
        self._say("\n3. What was decided, and why:\n")
        for programme, rows in decided.items():
            policy = self._policies[programme]
            print_table(f"{policy.names.zh} {programme}", COLUMNS, (_cells(row) for row in rows))
        self._say("4. What could not be decided is a dead letter, with its bytes and the reason:\n")
        print_table(
            "Dead letters", ("stream", "reason", "detail"), ((one.stream, one.reason, one.detail) for one in dead)
        )
        self._say("5. Every decision, figure and hash was computed again from position 1:\n")
        columns = ("programme", "entries>", "")
        print_table(
            "Verified", columns, ((one.programme, one.entries, "ok" if one.ok else one.reason) for one in verified)
        )

    async def _tell_notification(self, redis: Redis, decided: Mapping[str, Sequence[asyncpg.Record]]) -> None:
        programme = "chengdu-2024"
        position = next(row["position"] for row in decided[programme] if row["code"] == Code.QUOTA_CLOSED)
        key = notification_stream(programme)
        ((_, fields),) = await broker.entries_between(redis, key, f"{position}-0", f"{position}-0")
        told = json.dumps(json.loads(fields[FIELD]), ensure_ascii=False, indent=2)
        self._say(f"6. What platforms were told of Chengdu's entry {position}, on {key} as {position}-0:\n\n{told}")


def _cells(row: asyncpg.Record) -> tuple[object, ...]:
    code = row["code"]
    wide = out.width >= WIDTH_WITH_MESSAGES
    why = "" if code is None else f"{code}: {MESSAGES[Code(code)].en}" if wide else code
    left = row["voucher_remaining"] if row["kind"] == "redeemed" else row["budget_remaining"]
    amount = row["granted"] if row["granted"] is not None else row["amount"]
    return (
        row["position"], row["kind"], row["voucher_id"] or row["enterprise"] or "(all)", _yuan(amount),
        "accepted" if row["accepted"] else "refused", why, _yuan(left),
    )  # fmt: skip


def _yuan(fen: int | None) -> str:
    return "" if fen is None else format_yuan(fen)


def _summary(
    decided: Mapping[str, Sequence[asyncpg.Record]], notified: Mapping[str, int], dead: Sequence[Letter],
    verified: Sequence[Verification], sent: int,
) -> dict[str, Any]:  # fmt: skip
    return {
        "published": sent,
        "programmes": [
            {
                "programme": name,
                "entries": len(rows),
                "accepted": sum(row["accepted"] for row in rows),
                "refused": sum(not row["accepted"] for row in rows),
                "notified": notified[name],
            }
            for name, rows in decided.items()
        ],
        "dead_letters": [letter.to_json() for letter in dead],
        "verified": all(one.ok for one in verified),
    }
