"""``publish``: events from a file to their streams, each validated first."""

import asyncio
import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated

import typer
from redis.asyncio import Redis
from rich.progress import Progress

from schemas.decoding import UndecodableError, decode
from services import broker
from services.broker import FIELD
from services.cli.app import CommandError, Json, app, do, err, print_json, settings
from services.placing import Places, stream_key_of
from services.served import served_policies

BATCH = 500
WRONG_LINES_TOLD_MAX = 20


@app.command()
def publish(
    file: Annotated[str, typer.Argument(help="NDJSON of CloudEvents, one a line; - for stdin.")],
    *,
    as_json: Json = False,
) -> None:
    """Send events to their streams. Every line is validated first; one wrong line, and nothing is sent."""
    chosen = settings()
    places = Places(served_policies(chosen), chosen.entry_bytes_max)
    with _opened(file) as lines:
        total = _validate(lines, places)
        lines.seek(0)
        sent = do(_send(chosen.require_redis_url(), lines, total))
    if as_json:
        print_json({"published": sum(sent.values()), "streams": sent})
    else:
        err.print(f"published {sum(sent.values())} events on {len(sent)} streams", markup=False)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file != "-":
        try:
            with Path(file).open("rb") as lines:
                yield lines
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}", 2) from None
        return
    # Read twice, once to validate and once to send: what comes through a pipe is kept meanwhile.
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.seek(0)
        yield spool


def _events(lines: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        if stripped := line.strip():
            yield number, stripped


def _validate(lines: IO[bytes], places: Places) -> int:
    total, wrong = 0, 0
    for number, line in _events(lines):
        total += 1
        try:
            places.read(line)
        except UndecodableError as error:
            wrong += 1
            if wrong <= WRONG_LINES_TOLD_MAX:
                err.print(f"line {number}: {error.reason}: {error.detail}", markup=False, highlight=False)
    if wrong:
        more = f" (the first {WRONG_LINES_TOLD_MAX} are shown)" if wrong > WRONG_LINES_TOLD_MAX else ""
        raise CommandError(f"{wrong} of {total} lines are wrong{more}; nothing was sent")
    return total


async def _send(redis_url: str, lines: IO[bytes], total: int) -> dict[str, int]:
    redis = broker.connect(redis_url)
    try:
        with Progress(console=err, disable=not err.is_terminal, transient=True) as progress:
            task = progress.add_task("publishing", total=total)
            return await _send_lines(redis, lines, lambda count: progress.advance(task, count))
    finally:
        await redis.aclose()


async def send_file(redis: Redis, file: Path) -> dict[str, int]:
    """Send a file of events that are known to be valid; return how many went to each stream."""
    with io.BytesIO(await asyncio.to_thread(file.read_bytes)) as lines:
        return await _send_lines(redis, lines, lambda _: None)


async def _send_lines(redis: Redis, lines: IO[bytes], advance: Callable[[int], None]) -> dict[str, int]:
    sent: dict[str, int] = {}
    batch: list[tuple[str, bytes]] = []
    for _, line in _events(lines):
        batch.append((stream_key_of(decode(line)), line))
        if len(batch) == BATCH:
            await _send_batch(redis, batch, sent)
            advance(len(batch))
            batch.clear()
    await _send_batch(redis, batch, sent)
    return sent


async def _send_batch(redis: Redis, batch: list[tuple[str, bytes]], sent: dict[str, int]) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for key, line in batch:
            pipeline.xadd(key, {FIELD: line})
        await pipeline.execute()
    for key, _ in batch:
        sent[key] = sent.get(key, 0) + 1
