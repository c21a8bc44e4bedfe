"""The figures of a run as Markdown, put into a page between two marks: ``python -m benchmarks.markdown docs``.

No figure of the documentation is written by hand; a test compares the page with the runs beside it: a full one, ``performance.json``,
and those of single benches after it, ``performance-*.json``, which had more rounds, or code that had changed.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.report import number, told

BEGIN: Final = "<!-- figures: made by benchmarks.markdown -->"
END: Final = "<!-- end of the figures -->"
PROFILE_BEGIN: Final = "<!-- profile: made by benchmarks.markdown -->"
PROFILE_END: Final = "<!-- end of the profile -->"

Document = dict[str, Any]


def runs(folder: Path) -> list[Document]:
    """Return the runs that a page is made of: the full one, then the others, the oldest first. Raises ValueError for an older one."""
    full, *later = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / "performance.json", *folder.glob("performance-*.json"))
    )
    ordered = sorted(later, key=_started)
    if ordered and _started(ordered[0]) < _started(full):
        raise ValueError("the run of a single bench is older than the full one: it is out of date")
    return [full, *ordered]


def merged(full: Document, *later: Document) -> Document:
    """Return the full run, with what a later one measured anew in its place; ``later`` of it says which runs those are."""
    whole = {**full, "later": later}
    for run in later:
        for part, names in (("results", ("bench", "contender", "figure")), ("ratios", ("name",)), ("aims", ("of",))):
            whole[part] = list(_renewed(whole[part], run[part], names))
    return whole


def _renewed(rows: list[Document], newer: list[Document], names: tuple[str, ...]) -> Iterator[Document]:
    found = {
        tuple(row[name] for name in names): row for row in newer if row.get("value", row.get("median")) is not None
    }
    for row in rows:
        yield found.pop(tuple(row[name] for name in names), row)
    yield from found.values()


def _started(run: Document) -> str:
    return str(run["run"]["started_at"])


def markdown(run: Document) -> str:
    """Return the tables of a run: where it ran, aims, ratios, figures, and what each contender enforces."""
    return "\n".join([*_machine(run), "", *_aims(run), "", *_ratios(run), "", *_figures(run), "", *_enforced(run)])


def put(page: str, run: Document) -> str:
    """Return the page with the run's figures between its marks. Raises ValueError when it has none."""
    return _between(_between(page, BEGIN, END, markdown(run)), PROFILE_BEGIN, PROFILE_END, "\n".join(_profile(run)))


def _between(page: str, begin: str, end: str, text: str) -> str:
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page has no {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _machine(run: Document) -> Iterator[str]:
    machine = run["machine"]
    packages = machine["packages"]
    named = (
        "asyncpg",
        "faststream",
        "msgspec",
        "pydantic",
        "redis",
        "sqlmodel",
        "uvloop",
        "eventsourcing",
        "django-hordak",
    )
    yield (
        f"{machine['cores']} cores of {machine['cpu']}, {int(machine['memory'].split()[0]) // 2**20} GiB of memory, fdatasync of "
        f"8 kB {machine['fdatasync_8kB_microseconds']:.0f} µs; PostgreSQL {machine['postgresql']['server_version']}, "
        f"{machine['valkey']['server'].capitalize()} {machine['valkey']['version']}, Python {machine['python']}; "
        f"{', '.join(f'{name} {packages[name]}' for name in named if name in packages)}. Run on {_started(run)[:10]}, "
        f"{_told(run)}."
    )
    for later in run.get("later", ()):
        measured = dict.fromkeys(f"`{row['bench']}/{row['contender']}`" for row in later["results"])
        yield f"\nOf a later run: {', '.join(measured)}, on {_started(later)[:10]}, {_told(later)}."


def _told(run: Document) -> str:
    ran = run["run"]
    return f"{ran['repeats']} rounds, {ran['seconds'] / 60:.0f} minutes, seed {ran['seed']}"


def _aims(run: Document) -> Iterator[str]:
    yield "| aim | wanted | found | |\n|---|---:|---:|---|"
    for aim in run["aims"]:
        if aim["value"] is not None:
            wanted = f"≥ {number(aim['at_least'])}" if aim["at_least"] is not None else f"< {number(aim['under'])}"
            yield f"| {aim['of']} | {wanted} | {number(aim['value'])} | {'reached' if aim['reached'] else '**not reached**'} |"


def _ratios(run: Document) -> Iterator[str]:
    yield "| ratio, round by round | median | min – max |\n|---|---:|---:|"
    for ratio in run["ratios"]:
        if "median" in ratio:
            between = f"{number(ratio['lowest'])} – {number(ratio['highest'])}"
            yield f"| {ratio['name']} | {number(ratio['median'])} | {between} |"


def _figures(run: Document) -> Iterator[str]:
    yield "| bench | contender | median | min – max | unit | n | notes (last round) |\n|---|---|---:|---:|---|---:|---|"
    for row in run["results"]:
        if row["bench"] == "profiling":
            continue
        name = f"{row['contender']}: {row['figure']}" if row["figure"] else row["contender"]
        if row["status"] != "ok":
            yield f"| {row['bench']} | {name} | {row['status']} | | | | {row['because']} |"
            continue
        between = f"{number(row['lowest'])} – {number(row['highest'])}" if row["count"] > 1 else ""
        notes = told(row["samples"][-1]["details"])
        yield f"| {row['bench']} | {name} | {number(row['median'])} | {between} | {row['unit']} | {row['count']} | {notes} |"


def _profile(run: Document) -> Iterator[str]:
    yield "| of | what | | notes |\n|---|---|---:|---|"
    for row in run["results"]:
        if row["bench"] == "profiling" and row["status"] == "ok" and row["figure"]:
            notes = told(row["samples"][-1]["details"])
            yield f"| {row['contender']} | {row['figure']} | {number(row['median'])} {row['unit']} | {notes} |"


def _enforced(run: Document) -> Iterator[str]:
    yield "What each enforces, and what it leaves out:\n"
    yield from dict.fromkeys(
        f"- {row['bench']}: {row['enforces']}" for row in run["results"] if row["bench"] != "profiling"
    )


def main() -> None:
    """Put the figures of the runs in a folder into the page beside them."""
    folder = Path(sys.argv[1])
    page = folder / "performance.md"
    page.write_text(put(page.read_text(encoding="utf-8"), merged(*runs(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
