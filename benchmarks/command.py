"""The command line: which benches, how large, and where the JSON goes."""

import argparse
import asyncio
import importlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import machine, report
from benchmarks.interleaving import interleaved
from benchmarks.registry import CONTENDERS, Contender, SkippedError, chosen
from benchmarks.results import Results
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.stage import Stage, staged
from services.cli.running import fast_loop

BENCHES: Final = (
    "end_to_end",
    "apply",
    "naive",
    "peers",
    "latency",
    "growth",
    "looking",
    "looked_at",
    "memory",
    "poison",
    "profiling",
)
"""The modules that register contenders, in the order of the table."""

_TOLD_LENGTH: Final = 300

err = Console(stderr=True, highlight=False, soft_wrap=True)


def load() -> list[Contender]:
    """Return all contenders."""
    for name in BENCHES:
        importlib.import_module(f"benchmarks.{name}")
    return CONTENDERS


def main() -> None:
    """Run what the arguments say; exit with 1 when a contender failed, with 2 when the arguments are wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="benches, or bench/contender with * (all without)")
    parser.add_argument("--quick", action="store_true", help="small sizes, under two minutes in all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to this file")
    parser.add_argument("--seed", type=int, default=1, help="of the events (default 1)")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds (5, quick 1)")
    parser.add_argument("--profile-to", type=Path, metavar="FOLDER", help="where the flame graph goes")
    parser.add_argument("--list", action="store_true", help="name the contenders and end")
    asked = parser.parse_args()
    try:
        contenders = chosen(load(), asked.names, quick=asked.quick)
    except ValueError as error:
        parser.error(str(error))
    if asked.list:
        print("\n".join(contender.label for contender in contenders))
        return
    scale = QUICK if asked.quick else FULL
    repeats = asked.repeats or scale.repeats
    began, started_at = time.monotonic(), datetime.now(UTC)
    try:
        with fast_loop() as runner:
            results, described = runner.run(_run(contenders, scale, repeats, asked.seed, asked.profile_to))
    except (KeyboardInterrupt, asyncio.CancelledError):
        parser.exit(130, "ended before its time; servers and processes are stopped\n")
    report.show(
        results, machine=described, quick=asked.quick, console=Console(width=None if sys.stdout.isatty() else 160)
    )
    if asked.json:
        run = {
            "started_at": started_at.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - began, 1),
            "quick": asked.quick, "seed": asked.seed, "repeats": repeats, "names": asked.names,
        }  # fmt: skip
        found = report.document(results, machine=described, run=run)
        asked.json.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if results.failed else 0)


async def _run(
    contenders: Sequence[Contender], scale: Scale, repeats: int, seed: int, output: Path | None
) -> tuple[Results, dict[str, Any]]:
    task = asyncio.current_task()
    if task is not None:  # told to end, all is cleaned up on the way out
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results, off = Results(), set[str]()
    touched = machine.touch_memory(scale.memory_touched)
    async with staged(output=output) as stage:
        described = await machine.described(stage.database_url, stage.redis_url, stage.folder)
        described["memory_touched_first_bytes"] = touched
        for number, contender in interleaved(contenders, repeats):
            if contender.label in off:
                continue
            if not await _round(stage, scale, contender, number, seed + number, results):
                off.add(contender.label)
    return results, described


async def _round(stage: Stage, scale: Scale, contender: Contender, number: int, seed: int, results: Results) -> bool:
    """Run a contender once; return whether it is worth running again."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(scale.patience):
            samples = await contender.run(stage, scale, seed)
    except SkippedError as because:
        results.trouble(contender, str(because), skipped=True)
        err.print(f"round {number + 1}  {contender.label}  skipped: {because}", markup=False)
        return False
    except Exception as error:  # noqa: BLE001  the others still run
        results.trouble(contender, f"{type(error).__name__}: {error}"[:_TOLD_LENGTH])
        err.print(f"round {number + 1}  {contender.label}  FAILED: {type(error).__name__}: {error}", markup=False)
        return False
    finally:
        # Told to end: whatever became of the contender, and whoever swallowed it, the run is over.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
    results.take(contender, number, samples)
    figures = "; ".join(f"{one.of} {report.number(one.value)} {one.unit}".strip() for one in samples)
    err.print(f"round {number + 1}  {contender.label}  {figures}  ({time.monotonic() - began:.0f} s)", markup=False)
    return True
