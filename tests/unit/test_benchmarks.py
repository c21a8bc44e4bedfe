"""The benchmark's own sums: medians, spread, ratios, the order of a run; and that its events are what the ledger accepts."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from benchmarks.command import load
from benchmarks.interleaving import interleaved
from benchmarks.markdown import BEGIN, END, PROFILE_BEGIN, PROFILE_END, merged, put, runs
from benchmarks.programmes import derive
from benchmarks.registry import Contender, Sample, chosen
from benchmarks.report import AIMS, RATIOS, document, number, table
from benchmarks.results import Aim, Ratio, Results, percentile, spread
from benchmarks.stacks import shares
from benchmarks.workload import Ids, Producer, read
from schemas.events import EXHAUSTED, ISSUED, REDEEMED
from services.ledger.batch import Batch, Decided
from services.ledger.recompute import WholeBook
from services.programmes import load_policies


async def nothing(*_: object) -> list[Sample]:
    return []


def contender(name: str, *, bench: str = "b", quick: bool = True, once: bool = False) -> Contender:
    return Contender(bench, name, "Nothing.", nothing, quick, once)


def rate(value: float, of: str = "") -> Sample:
    return Sample(value, "events/s", {}, of)


def test_spread_has_the_middle_and_the_ends():
    found = spread([5, 1, 3])
    assert (found.count, found.median, found.lowest, found.highest, found.iqr) == (3, 3, 1, 5, None)
    assert spread([1, 2, 3, 4, 5]).iqr == 2


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_percentile_is_a_figure_that_was_measured(share: float, expected: int):
    assert percentile(range(1, 101), share) == expected


def test_percentile_of_one():
    assert percentile([7.0], 0.5) == 7.0


def test_contenders_take_turns_and_the_long_ones_come_last():
    a, long, b = contender("a"), contender("long", once=True), contender("b")
    order = [(number, one.name) for number, one in interleaved([a, long, b], 2)]
    assert order == [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (0, "long")]


def test_contenders_are_chosen_by_bench_and_by_pattern():
    a, b, slow = contender("a", bench="x"), contender("b", bench="y"), contender("c", bench="x", quick=False)
    everything = [a, b, slow]
    assert chosen(everything, [], quick=False) == everything
    assert chosen(everything, [], quick=True) == [a, b]
    assert chosen(everything, ["x"], quick=False) == [a, slow]
    assert chosen(everything, ["?/b"], quick=False) == [b]
    with pytest.raises(ValueError, match="no bench 'z'; there is x, y"):
        chosen(everything, ["z"], quick=False)


def test_ratio_is_taken_round_by_round():
    results, a, b = Results(), contender("a"), contender("b")
    for round_number, (of_a, of_b) in enumerate([(10, 20), (30, 40), (90, 100)]):
        results.take(a, round_number, [rate(of_a)])
        results.take(b, round_number, [rate(of_b)])
    results.take(a, 3, [rate(1)])  # b failed in this round
    ratio = Ratio("a / b", "b/a", "b/b")
    found = results.ratio(ratio)
    assert found is not None
    assert (found.count, found.lowest, found.median, found.highest) == (3, 0.5, 0.75, 0.9)
    assert results.aimed(Aim("a / b", at_least=0.6), [ratio]) == 0.75
    assert results.ratio(Ratio("?", "b/a", "b/none")) is None


def test_aim_is_at_least_or_under():
    assert Aim("x", at_least=40).reached(40)
    assert not Aim("x", at_least=40).reached(39.9)
    assert not Aim("x", under=50).reached(50)


def test_a_failure_is_shown_and_a_skip_is_no_failure():
    results = Results()
    results.trouble(contender("peer"), "not installed", skipped=True)
    assert not results.failed
    results.trouble(contender("ours"), "it [broke]")
    results.take(contender("fine"), 0, [rate(12.3, "x"), rate(4, "y")])
    assert results.failed
    assert table(results, quick=True).row_count == 4
    rows = document(results, machine={}, run={})["results"]
    assert [(row["contender"], row["figure"], row["status"]) for row in rows] == [
        ("peer", None, "skipped"), ("ours", None, "failed"), ("fine", "x", "ok"), ("fine", "y", "ok"),
    ]  # fmt: skip
    assert rows[2]["median"] == 12.3


def test_what_ratios_and_aims_are_about_exists():
    labels = {one.label for one in load()}
    named = {label for ratio in RATIOS for label in (ratio.numerator, ratio.denominator)}
    named |= {aim.of for aim in AIMS} - {ratio.name for ratio in RATIOS}
    assert {name for name in named if name.split(": ")[0] not in labels} == set()


@pytest.mark.parametrize(("value", "told"), [(41_234.5, "41,234"), (12.34, "12.3"), (0.615, "0.61"), (100.0, "100")])
def test_figures_are_told_with_the_digits_that_mean_something(value: float, told: str):
    assert number(value) == told


def test_shares_of_stacks():
    main, take, read_it = "run (services/cli/a.py:1)", "take (services/b.py:2)", "read (asyncio/c.py:3)"
    itself, below = shares(f"{main};{take};{read_it} 3\n{main};{take} 1\n{main} 4\n", 5)
    assert itself == {"run (services/cli/a.py)": 0.5, "read (asyncio/c.py)": 0.375, "take (services/b.py)": 0.125}
    assert below == {"take (services/b.py)": 0.5}


@pytest.mark.parametrize("ids", ["uuid7", "uuid4"])
@pytest.mark.parametrize("shared_provider", [False, True])
def test_the_events_are_accepted_by_the_derived_programmes(tmp_path: Path, ids: Ids, shared_provider: bool):
    programmes = derive(tmp_path, 2, shared_provider=shared_provider)
    assert (len({programme.provider for programme in programmes}) == 1) == shared_provider
    policies = load_policies(tmp_path)
    for programme in programmes:
        producer = Producer(programme, 1, ids)
        events = read(producer.issues(250), ISSUED)
        events += read(producer.redemptions(producer.picks(100)), REDEEMED)
        events += read(producer.redemptions(producer.picks(100, hot=True)), REDEEMED)
        events += read(producer.closures(3), EXHAUSTED)
        policy, now = policies[programme.code], datetime.now(UTC)
        batch = Batch(programme.code, policy, WholeBook(), now, known={}, waiting={})
        outcomes = list(map(batch.take, events))
        assert all(isinstance(outcome, Decided) and outcome.decision.accepted for outcome in outcomes)
        assert len({inbound.event.id for inbound in events}) == len(events)
        assert {inbound.event.id[14] for inbound in events} == {ids[-1]}


def test_the_events_follow_from_the_seed(tmp_path: Path):
    (programme,) = derive(tmp_path, 1)
    made = [partial(Producer, programme, seed) for seed in (1, 1, 2)]
    first, again, other = (list(one().issues(3)) for one in made)
    assert first == again != other


def test_hot_vouchers_are_hot(tmp_path: Path):
    (programme,) = derive(tmp_path, 1)
    producer = Producer(programme, 1)
    producer.issued = 1_000
    picks = producer.picks(10_000, hot=True)
    assert picks.count(0) > 20 * 10_000 / 1_000


DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_on_performance_has_the_figures_of_the_runs_beside_it():
    full, *later = runs(DOCS)
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert put(page, merged(full, *later)) == page
    assert not any(run["run"]["quick"] for run in (full, *later))
    assert {one["of"] for one in full["aims"] if one["value"] is not None} == {aim.of for aim in AIMS}


def run_of(started_at: str, *measured: tuple[str, str, float]) -> dict:
    rows = [
        {"bench": bench, "contender": name, "figure": None, "median": found, "status": "ok"}
        for bench, name, found in measured
    ]
    ratios = [{"name": bench, "median": found} for bench, _, found in measured]
    aims = [{"of": "latency", "value": None}, *({"of": bench, "value": found} for bench, _, found in measured)]
    return {"run": {"started_at": started_at}, "results": rows, "ratios": ratios, "aims": aims}


def test_what_a_later_run_measured_anew_takes_the_place_of_the_full_ones(tmp_path):
    full = run_of("2024-01-01", ("some", "a", 1.0), ("other", "b", 2.0))
    again, newest = (
        run_of("2024-01-02", ("some", "a", 3.0)),
        run_of("2024-01-03", ("some", "a", 4.0), ("more", "c", 5.0)),
    )
    for name, run in (("", full), ("-some", newest), ("-before", again)):
        (tmp_path / f"performance{name}.json").write_text(json.dumps(run))
    found = merged(*runs(tmp_path))
    assert [(row["bench"], row["median"]) for row in found["results"]] == [("some", 4.0), ("other", 2.0), ("more", 5.0)]
    assert [(one["name"], one["median"]) for one in found["ratios"]] == [("some", 4.0), ("other", 2.0), ("more", 5.0)]
    assert {one["of"]: one["value"] for one in found["aims"]} == {
        "latency": None,
        "some": 4.0,
        "other": 2.0,
        "more": 5.0,
    }
    (tmp_path / "performance-old.json").write_text(json.dumps(run_of("2023-12-31")))
    with pytest.raises(ValueError, match="out of date"):
        runs(tmp_path)


def test_figures_go_between_their_marks_and_nowhere_else():
    run = json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))
    page = f"before\n{BEGIN}OUTDATED{END}between{PROFILE_BEGIN}{PROFILE_END}after"
    found = put(page, run)
    assert put(found, run) == found
    assert found.startswith(f"before\n{BEGIN}\n")
    assert f"{END}between{PROFILE_BEGIN}" in found
    assert found.endswith(f"{PROFILE_END}after")
    assert "OUTDATED" not in found
    with pytest.raises(ValueError, match="has no"):
        put("a page without marks", run)
