"""``dead-letters``: list, show, replay, discard, and the log of who did."""

from typing import Annotated

import typer
from redis.exceptions import ResponseError

from services import broker
from services.acts import Act, Action, Actor, Through, carry_out, recent, user_of_the_system
from services.cli.app import FOUND_WRONG, CommandError, Json, app, do, err, out, print_json, print_table, settings, stop
from services.ledger.database import connect
from services.letters import Letter, find, letters

commands = typer.Typer(help="What could not be decided: read it, send it again, or discard it.", no_args_is_help=True)
app.add_typer(commands, name="dead-letters")

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Ids of letters.")]
All = Annotated[bool, typer.Option("--all", help="All that the filters let through.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only letters of this reason.")]
Stream = Annotated[str | None, typer.Option("--stream", help="Only letters from this stream.")]

Limit = Annotated[int, typer.Option("--limit", help="At most so many.")]


@commands.command("list")
def list_letters(
    *,
    reason: Reason = None,
    stream: Stream = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List dead letters, the oldest first."""
    found = do(_found(reason, stream, limit))
    if as_json:
        print_json({"dead_letters": [letter.to_json() for letter in found]})
        return
    columns = ("id", "failed at", "stream", "reason", "detail")
    print_table(
        "Dead letters", columns, ((one.id, one.failed_at[:19], one.stream, one.reason, one.detail) for one in found)
    )


@commands.command()
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: Json = False) -> None:
    """Show one dead letter whole, with the original bytes."""
    (letter,) = do(_named([letter_id]))
    if as_json:
        print_json(letter.to_json())
        return
    for name, value in letter.to_json().items():
        out.print(f"{name:>9}  {value}", markup=False, highlight=False)


@commands.command("replay")
def replay_letters(
    ids: Ids = None, *, every: All = False, reason: Reason = None, stream: Stream = None, as_json: Json = False
) -> None:
    """Send events to their streams again, and take their letters off. Written to the log, as you."""
    _act(Action.REPLAY, "replayed", ids, every=every, reason=reason, stream=stream, as_json=as_json)


@commands.command("discard")
def discard_letters(
    ids: Ids = None, *, every: All = False, reason: Reason = None, stream: Stream = None, as_json: Json = False
) -> None:
    """Take letters off for good. Written to the log, as you."""
    _act(Action.DISCARD, "discarded", ids, every=every, reason=reason, stream=stream, as_json=as_json)


@commands.command("log")
def show_log(*, limit: Limit = 100, as_json: Json = False) -> None:
    """Show who replayed or discarded letters, when, and by which way, the newest first."""

    async def ask() -> list[Act]:
        pool = await connect(settings(needs_redis=False).require_database_url(), connections_max=1)
        try:
            return await recent(pool, limit)
        finally:
            await pool.close()

    acts = do(ask())
    if as_json:
        print_json({"acts": [act.to_json() for act in acts]})
        return
    columns = ("at", "who", "through", "action", "outcome", "letter", "stream", "reason")
    print_table("Acts", columns, (_cells(act) for act in acts))


def _cells(act: Act) -> tuple[object, ...]:
    outcome = act.to_json()["outcome"]
    moment = f"{act.at:%Y-%m-%d %H:%M:%S}"
    return moment, act.who, act.through, act.action, outcome, act.letter_id, act.stream, act.reason


def _act(
    action: Action,
    done: str,
    ids: list[str] | None,
    *,
    every: bool,
    reason: str | None,
    stream: str | None,
    as_json: bool,
) -> None:
    if bool(ids) == every:
        raise CommandError(
            "name letters by their ids, or say --all (with --reason or --stream to choose among them)", 2
        )

    async def work() -> list[str]:
        chosen = [letter.id for letter in await (_named(ids) if ids else _found(reason, stream, None))]
        actor, acted = Actor(user_of_the_system(), Through.COMMAND_LINE), list[str]()
        redis = broker.connect(settings().require_redis_url())
        try:
            pool = await connect(settings().require_database_url(), connections_max=1)
            try:
                async for some in carry_out(pool, redis, actor, action, chosen):
                    acted += some
            finally:
                await pool.close()
        finally:
            await redis.aclose()
        return acted

    acted = do(work())
    if as_json:
        print_json({done: acted})
    else:
        err.print(f"{done} {len(acted)} dead letters", markup=False)
    if ids and len(acted) < len(ids):
        stop(FOUND_WRONG)


async def _found(reason: str | None, stream: str | None, limit: int | None) -> list[Letter]:
    redis, found = broker.connect(settings().require_redis_url()), list[Letter]()
    try:
        async for letter in letters(redis):
            if (reason is None or letter.reason == reason) and (stream is None or letter.stream == stream):
                found.append(letter)
                if limit is not None and len(found) >= limit:
                    break
    finally:
        await redis.aclose()
    return found


async def _named(ids: list[str]) -> list[Letter]:
    redis, found = broker.connect(settings().require_redis_url()), list[Letter]()
    try:
        for letter_id in ids:
            try:
                letter = await find(redis, letter_id)
            except ResponseError:
                raise CommandError(
                    f"{letter_id!r} is no id of a dead letter (`dead-letters list` has them)", 2
                ) from None
            if letter is None:
                raise CommandError(f"no dead letter {letter_id} (`dead-letters list` has them)")
            found.append(letter)
    finally:
        await redis.aclose()
    return found
