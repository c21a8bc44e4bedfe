"""The catalogue of metrics: documented as it is, bounded, and safe to count by."""

import asyncio
import random
import re
from collections import Counter
from math import isnan
from pathlib import Path

import pytest
from events_made import issue_event, policy_with, redemption_event, uscc
from ledger_in_memory import LedgerInMemory
from prometheus_client.parser import text_string_to_metric_families

from schemas.codes import Code, DeadLetterReason
from services import metrics
from services.ledger.measures import Lookup, Measures
from services.metrics import CATALOGUE, Look, metrics_response

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
BOUNDED = {
    "programme", "stream",  # by the policies
    "kind", "outcome", "code", "reason",  # by the contract
    "step", "of", "held", "what", "name", "version",  # by the code
}  # fmt: skip


def value(name: str, **labels: str) -> float:
    found = metrics.REGISTRY.get_sample_value(name, labels)
    return 0.0 if found is None else found


def test_the_documentation_tells_every_metric_in_its_order():
    rows = [
        f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels)} | {one.told} |"
        for one in CATALOGUE
    ]
    table = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert table == rows


def test_every_metric_of_the_registry_is_in_the_catalogue():
    registered = {family.name for family in metrics.REGISTRY.collect()}
    named = {one.name.removesuffix("_total") for one in CATALOGUE}
    assert {name for name in registered if not name.startswith("process_")} == named


def test_labels_are_of_few_values_and_name_nobody():
    for one in CATALOGUE:
        assert set(one.labels) <= BOUNDED, one.name


def test_names_and_units_are_as_prometheus_has_them():
    for one in CATALOGUE:
        assert re.fullmatch(r"voucher_ledger_[a-z_]+", one.name)
        assert one.name.endswith("_total") == (one.type == "counter"), one.name
        assert not re.search(r"_(ms|us|millis|kb|mb)\b", one.name), one.name
        assert one.told.endswith(".")
        assert "|" not in one.told


def test_what_a_batch_came_to_is_counted_by_kind_outcome_and_code():
    metrics.observe_append(
        Measures(
            "unit-2024",
            seconds={"wait": 0.5, "decide": 0.25},
            counted={
                ("issued", None): 3,
                ("issued", Code.CLAMPED_TO_CAP): 2,
                ("issued", Code.EXCEEDS_BUDGET): 4,
                ("redeemed", None): 1,
            },
            duplicates=5,
            lookups=[Lookup("voucher", 10, 3), Lookup("quota", 0, 0)],
            vouchers_held=7,
        )
    )
    entries = {
        tuple(sample.labels.values()): sample.value
        for family in metrics.ENTRIES.collect()
        for sample in family.samples
        if sample.labels["programme"] == "unit-2024"
    }
    assert entries == {
        ("unit-2024", "issued", "accepted", ""): 3,
        ("unit-2024", "issued", "accepted", "clamped_to_cap"): 2,
        ("unit-2024", "issued", "refused", "exceeds_budget"): 4,
        ("unit-2024", "redeemed", "accepted", ""): 1,
    }
    assert value("voucher_ledger_duplicates_total", programme="unit-2024") == 5
    assert value("voucher_ledger_book_vouchers", programme="unit-2024") == 7


def test_names_asked_for_are_counted_as_held_or_not():
    before = {held: value("voucher_ledger_book_lookups_total", of="voucher", held=held) for held in ("yes", "no")}
    metrics.observe_append(Measures("unit-2024", lookups=[Lookup("voucher", 10, 3)]))
    after = {held: value("voucher_ledger_book_lookups_total", of="voucher", held=held) for held in ("yes", "no")}
    assert {held: after[held] - before[held] for held in after} == {"yes": 7, "no": 3}


def test_a_consumer_begins_every_reason_at_0():
    metrics.expect("kind-of-a-test", ["begun-2024"])
    found = {
        sample.labels["reason"]: sample.value
        for family in metrics.DEAD_LETTERS.collect()
        for sample in family.samples
        if sample.labels["kind"] == "kind-of-a-test"
    }
    assert found == dict.fromkeys(map(str, DeadLetterReason), 0)
    metrics.observe_dead_letters("kind-of-a-test", [DeadLetterReason.NOT_JSON, DeadLetterReason.NOT_JSON])
    assert value("voucher_ledger_dead_letters_total", kind="kind-of-a-test", reason="not_json") == 2


async def test_a_look_that_fails_or_hangs_takes_nothing_else_along(monkeypatch):
    async def fails() -> None:
        raise ConnectionError("redis://ledger:secret@broker")

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def works() -> None:
        metrics.VERIFIED.labels("looked-at").set(1)

    monkeypatch.setattr(metrics, "LOOK_SECONDS_MAX", 0.05)
    before = [value("voucher_ledger_looks_failed_total", what=what) for what in ("fails", "hangs", "works")]
    page = await metrics_response(Look("fails", fails), Look("hangs", hangs), Look("works", works))
    after = [value("voucher_ledger_looks_failed_total", what=what) for what in ("fails", "hangs", "works")]
    assert [later - earlier for earlier, later in zip(before, after, strict=True)] == [1, 1, 0]
    families = {family.name for family in text_string_to_metric_families(page.body.decode())}
    assert "voucher_ledger_verified" in families
    assert page.content_type.startswith("text/plain")


@pytest.mark.parametrize("name", ["dead_letters_kept", "broker_memory_bytes", "held_seconds"])
def test_what_was_never_looked_at_is_not_0(name):
    gauge = metrics._gauge("of_a_test", "Not one of the catalogue.")
    try:
        assert isnan(gauge._value.get())
    finally:
        metrics.REGISTRY.unregister(gauge)
        CATALOGUE.pop()
    assert any(one.name == f"voucher_ledger_{name}" and not one.labels for one in CATALOGUE)


def test_a_batch_counts_its_entries_by_kind_and_code_whatever_comes_first():
    chance = random.Random(1)
    for _ in range(50):
        ledger = LedgerInMemory(policy_with())
        events = [redemption_event("V1", n, amount=chance.choice(["1.00", "9000000.00"])) for n in range(5)]
        events += [
            issue_event(f"V{n}", enterprise=uscc(n), amount=chance.choice(["1.00", "10000.00"])) for n in range(5)
        ]
        chance.shuffle(events)
        for event in events:
            ledger.take(event)
        assert ledger.batch.counted() == Counter((row["kind"], row["code"]) for row in ledger.rows)


def test_a_batch_without_an_entry_counts_nothing():
    assert LedgerInMemory(policy_with()).batch.counted() == {}
