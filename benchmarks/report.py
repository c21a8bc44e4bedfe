"""The table and the JSON of a run."""

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.results import Aim, Ratio, Results, Row, as_json, spread

RATIOS: Final = (
    Ratio("apply / COPY of the same rows, 1 writer", "apply/apply, 1 writer", "apply/COPY of the same rows, 1 writer"),
    Ratio(
        "apply / COPY of the same rows, 2 writers", "apply/apply, 2 writers", "apply/COPY of the same rows, 2 writers"
    ),
    Ratio(
        "end to end / naive 10-way", "end_to_end/redemptions, 1 process", "naive/one message one transaction, 10-way"
    ),
    Ratio("end to end / naive 1-way", "end_to_end/redemptions, 1 process", "naive/one message one transaction, 1-way"),
    Ratio("apply / eventsourcing, best", "apply/apply, 1 writer", "peers/eventsourcing, 100 events a transaction"),
    Ratio("apply / django-hordak, best", "apply/apply, 1 writer", "peers/django-hordak, 100 a transaction"),
    Ratio("growth: largest ledger / fresh", "growth/append: at the largest", "growth/append: fresh"),
    Ratio(
        "growth: COPY alone, largest ledger / fresh",
        "growth/append: COPY alone, at the largest",
        "growth/append: COPY alone, fresh",
    ),
    Ratio(
        "looking: looked at / nobody looking",
        "looking/redemptions, 1 process: looked at",
        "looking/redemptions, 1 process: nobody looking",
    ),
)
AIMS: Final = (
    Aim("end_to_end/redemptions, 1 process", at_least=40_000),
    Aim("apply / COPY of the same rows, 1 writer", at_least=0.6),
    Aim("end to end / naive 10-way", at_least=100),
    Aim("growth: largest ledger / fresh", at_least=0.85),
    Aim("latency/XADD to notification: p99 at 5000/s", under=50),
    Aim("memory/consumer: RSS", under=500),
    Aim("poison/a flood of bad entries: within", under=2),
    Aim("looking: looked at / nobody looking", at_least=0.95),
)
"""What is wanted of a full run, on two cores."""

_SHOWN: Final = {
    "batch_mean": "batch {}", "batch": "batch {}", "ledger_entries_at_end": "ledger {:,}", "batch_p99_ms": "p99 {} ms a batch",
    "consumer_cpu_us_per_event": "{} µs CPU/event", "cores_busy": "{} cores busy",
    "notified_events_per_second": "{:,} notified/s", "asked": "{} requests",
    "monitor_cores": "monitor {} cores", "answered_ms": "answers in {} ms", "note": "{}",
    "page_updates": "{:,} updates of open pages",
}  # fmt: skip


def number(value: float) -> str:
    """Return a figure with three or so digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def told(details: dict[str, Any]) -> str:
    """Return what is worth a word of a sample's details."""
    return ", ".join(words.format(details[name]) for name, words in _SHOWN.items() if name in details)


def table(results: Results, *, quick: bool) -> Table:
    """Return the figures of a run as one table: contenders, ratios, aims."""
    shown = Table(title="Medians of interleaved rounds", title_justify="left")
    shown.add_column("bench")
    shown.add_column("contender", overflow="fold")
    shown.add_column("median", justify="right")
    shown.add_column("min – max", justify="right")
    shown.add_column("unit")
    shown.add_column("n", justify="right")
    shown.add_column("notes (last round)", overflow="fold")
    before = None
    for row in results.rows.values():
        bench = row.contender.bench
        if bench != before and before is not None:
            shown.add_section()
        before = bench
        name = f"{row.contender.name}: {row.of}" if row.of else row.contender.name
        if row.trouble is not None:
            word = "skipped" if row.skipped else "[red]FAILED[/red]"
            shown.add_row(bench, name, word, "", "", str(len(row.samples)), row.trouble.replace("[", r"\["))
            continue
        found = spread(list(row.values.values()))
        unit = next(iter(row.samples.values())).unit
        between = f"{number(found.lowest)} – {number(found.highest)}"
        shown.add_row(
            bench,
            name,
            number(found.median),
            between,
            unit,
            str(found.count),
            told(row.samples[max(row.samples)].details),
        )
    shown.add_section()
    for ratio in RATIOS:
        if (times := results.ratio(ratio)) is not None:
            between = f"{number(times.lowest)} – {number(times.highest)}"
            shown.add_row("ratio", ratio.name, number(times.median), between, "×", str(times.count), "round by round")
    shown.add_section()
    for aim in AIMS:
        if (value := results.aimed(aim, RATIOS)) is not None:
            wanted = f"≥ {number(aim.at_least)}" if aim.at_least is not None else f"< {number(aim.under or 0)}"
            verdict = "too small a run to tell" if quick else "reached" if aim.reached(value) else "NOT reached"
            shown.add_row("aim", aim.of, number(value), wanted, "", "", verdict)
    return shown


def document(results: Results, *, machine: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """Return everything that a run found, as a JSON object."""
    return {
        "schema": 1,
        "run": run,
        "machine": machine,
        "results": [_row(row) for row in results.rows.values()],
        "ratios": [{"name": ratio.name, **as_json(results.ratio(ratio))} for ratio in RATIOS],
        "aims": [
            {
                "of": aim.of, "at_least": aim.at_least, "under": aim.under, "value": value,
                "reached": None if value is None else aim.reached(value),
            }
            for aim in AIMS
            for value in [results.aimed(aim, RATIOS)]
        ],
    }  # fmt: skip


def _row(row: Row) -> dict[str, Any]:
    status = "ok" if row.trouble is None else "skipped" if row.skipped else "failed"
    return {
        "bench": row.contender.bench,
        "contender": row.contender.name,
        "figure": row.of or None,
        "enforces": row.contender.enforces,
        "status": status,
        "because": row.trouble,
        "unit": next((sample.unit for sample in row.samples.values()), None),
        **(as_json(spread(list(row.values.values()))) if row.samples else {}),
        "samples": [
            {"round": number, "value": sample.value, "details": sample.details}
            for number, sample in row.samples.items()
        ],
    }


def show(results: Results, *, machine: dict[str, Any], quick: bool, console: Console) -> None:
    """Print the machine, the table, and what each contender enforces."""
    console.print(
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory']} memory, fdatasync of 8 kB "
        f"{machine['fdatasync_8kB_microseconds']} µs, load {machine['load_average_at_start']:.1f} at the start; "
        f"PostgreSQL {machine['postgresql']['server_version']}, {machine['valkey']['server']} {machine['valkey']['version']}, "
        f"Python {machine['python']}",
        highlight=False, markup=False,
    )  # fmt: skip
    console.print(table(results, quick=quick))
    enforced: Sequence[str] = list(
        dict.fromkeys(f"{row.contender.bench}: {row.contender.enforces}" for row in results.rows.values())
    )
    for sentence in enforced:
        console.print(sentence, highlight=False, markup=False)
