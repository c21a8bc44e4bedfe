"""The bench `apply`: ``Ledger.append`` alone, from decoded events, against the limit: COPY of the very same rows."""

import contextlib
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from benchmarks.children import fire, measuring
from benchmarks.registry import EVENTS_PER_SECOND, Sample, contends
from benchmarks.scale import BATCH, Scale
from benchmarks.stage import Stage, programmes

APPLY: Final = (
    "Every rule, no event twice, running figures, hash chain, block and head: all but the broker and the decoding."
)
COPY: Final = (
    "The table's own constraints, indexes and append-only triggers, one synchronous commit a batch; it decides nothing, "
    "hashes nothing, and writes neither blocks nor heads: the limit, not a contender."
)


async def _run(mode: str, writers: int, stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(stage.place())
        found, folder = programmes(place, writers)
        task: dict[str, Any] = {
            "mode": mode,
            "database_url": place.database_url,
            "programmes_folder": str(folder),
            "vouchers": scale.vouchers,
            "events": scale.applied // BATCH * BATCH,
            "seed": seed,
        }
        if mode == "copy":
            task["source_url"] = await stack.enter_async_context(stage.database())
        children = [
            await stack.enter_async_context(
                measuring(
                    "benchmarks.writer",
                    task | {"programme": dataclasses.asdict(programme)},
                    place.folder,
                    programme.code,
                )
            )
            for programme in found
        ]
        figures = await fire(children)
    seconds = max(one["ended"] for one in figures) - min(one["began"] for one in figures)
    events = writers * task["events"]
    details = {
        "batch": BATCH,
        "writers": writers,
        "events_timed": events,
        "ledger_entries_at_end": events + writers * scale.vouchers,
        "batch_p99_ms": round(max(one["batch_p99_ms"] for one in figures), 1),
    }
    return [Sample(events / seconds, EVENTS_PER_SECOND, details)]


for _writers in (1, 2):
    _s = "" if _writers == 1 else "s"
    contends("apply", f"apply, {_writers} writer{_s}", APPLY)(partial(_run, "apply", _writers))
    contends("apply", f"COPY of the same rows, {_writers} writer{_s}", COPY)(partial(_run, "copy", _writers))
