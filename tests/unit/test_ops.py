"""The alerts and the dashboard: every query can be read, asks for metrics and labels that there are, and alerts do what they say."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML

from services.metrics import CATALOGUE

ROOT = Path(__file__).parents[2]
OPS = ROOT / "deploy" / "ops"
OPERATIONS = ROOT / "docs" / "operations.md"
TRIALS = ("alerts.test.yml", "alerts.slow.test.yml")
SECTIONS = {
    "queues-fall-behind",
    "a-consumer-is-stuck",
    "dead-letters",
    "the-notifier-is-behind",
    "verify-found-something",
    "the-broker-is-nearly-full",
}
OF_THE_SCRAPE = {"job", "instance", "service"}
OF_A_HISTOGRAM = {"_bucket": {"le"}, "_sum": set(), "_count": set()}


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml(OPS / "alerts.yml")["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads((OPS / "grafana" / "voucher-ledger.json").read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query with whose it is; Grafana's variables as values that they can have."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$programme", ".*")


def known() -> dict[str, set[str]]:
    """Return the labels of every series that can be asked for."""
    found = {"up": set(OF_THE_SCRAPE)}
    found |= {name: set(OF_THE_SCRAPE) for name in ("process_resident_memory_bytes", "process_cpu_seconds_total")}
    for one in CATALOGUE:
        labels = {*one.labels, *OF_THE_SCRAPE}
        if one.type == "histogram":
            found |= {one.name + suffix: labels | more for suffix, more in OF_A_HISTOGRAM.items()}
        else:
            found[one.name] = labels
    return found


def parts(expression: Any) -> Iterator[Any]:
    yield expression
    below = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "vector_selector", "param")]
    for part in [*below, *getattr(expression, "args", [])]:
        if isinstance(part, promql_parser.Expr):
            yield from parts(part)


@pytest.mark.parametrize(("whose", "query"), list(queries()))
def test_a_query_asks_for_series_and_labels_that_there_are(whose, query):
    series = known()
    expression = promql_parser.parse(query)
    asked = [part for part in parts(expression) if isinstance(part, promql_parser.VectorSelector)]
    assert asked
    labels: set[str] = set()
    for selector in asked:
        assert selector.name in series, query
        assert {matcher.name for matcher in selector.matchers.matchers} <= series[selector.name], query
        labels |= series[selector.name]
    for part in parts(expression):
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            assert set(part.modifier.labels) <= labels, query


def test_the_check_of_queries_finds_a_wrong_name_and_a_wrong_label():
    for wrong in (
        "voucher_ledger_entries",
        'sum(rate(up{job="x"}[1m])) + sum by (kind) (nothing)',
        'up{stream="s"}',
        "sum(up",
    ):
        with pytest.raises((AssertionError, ValueError)):
            test_a_query_asks_for_series_and_labels_that_there_are("", wrong)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_happened_what_to_do_and_where_there_is_more(rule):
    assert rule["labels"]["severity"] in {"critical", "warning"}
    told = rule["annotations"]
    assert told.keys() == {"summary", "do", "runbook"}
    assert all(text.strip() for text in told.values())
    page, section = told["runbook"].split("#")
    assert page == "docs/operations.md"
    assert section in SECTIONS
    # A label that the query does not leave is empty in what a person reads.
    named = set(re.findall(r"\$labels\.(\w+)", told["summary"] + told["do"]))
    left = {
        label
        for part in parts(promql_parser.parse(rule["expr"]))
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None
        for label in part.modifier.labels
    }
    assert named <= (left or OF_THE_SCRAPE), named


def test_every_section_has_an_alert():
    assert {rule["annotations"]["runbook"].split("#")[1] for rule in rules()} == SECTIONS


def test_the_sections_that_alerts_name_are_headings():
    if not OPERATIONS.exists():
        pytest.skip("docs/operations.md is not written yet")
    headings = re.findall(r"^#+ (.+)$", OPERATIONS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    assert anchors >= SECTIONS


def test_every_alert_is_tried():
    tried = " ".join((OPS / name).read_text(encoding="utf-8") for name in TRIALS)
    fired = set(re.findall(r'labels: .ALERTS\{alertname="(\w+)"', tried))
    assert fired == {rule["alert"] for rule in rules()}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{Path('/usr/bin')}") or shutil.which(
        "promtool"
    )
    if found is None:
        pytest.skip("no promtool here: `sh requirements/promtool.sh` gets it")
    return found


def run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_reads_its_configuration_and_the_rules(promtool):
    run(promtool, "check", "config", str(OPS / "prometheus.yml"))


@pytest.mark.parametrize("trials", TRIALS)
def test_alerts_fire_when_they_should_and_not_before(promtool, trials):
    run(promtool, "test", "rules", str(OPS / trials))


def test_the_trials_find_an_alert_that_is_wrong(promtool, tmp_path):
    shutil.copytree(OPS, tmp_path / "ops")
    wrong = (OPS / "alerts.yml").read_text(encoding="utf-8").replace("> 0.95", "> 0.99").replace("< 0\n", "< -5\n")
    (tmp_path / "ops" / "alerts.yml").write_text(wrong, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"(?s)FAILED.*VoucherLedgerNotifierAhead.*VoucherLedgerBrokerFull"):
        run(promtool, "test", "rules", str(tmp_path / "ops" / "alerts.test.yml"))


def test_the_dashboard_is_put_together_right():
    board = dashboard()
    (source,) = yaml(OPS / "grafana" / "datasources.yml")["datasources"]
    (provider,) = yaml(OPS / "grafana" / "dashboards.yml")["providers"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels():
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == source["uid"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
    cells = [
        (panel["gridPos"]["y"] + row, panel["gridPos"]["x"] + column)
        for panel in board["panels"]
        for row in range(panel["gridPos"]["h"])
        for column in range(panel["gridPos"]["w"])
    ]
    assert len(set(cells)) == len(cells), "panels lie on one another"
    mounts = yaml(ROOT / "docker-compose.yml")["services"]["grafana"]["volumes"]
    assert f"./deploy/ops/grafana/voucher-ledger.json:{provider['options']['path']}/voucher-ledger.json:ro" in mounts
    variables = {variable["name"] for variable in board["templating"]["list"]}
    named = set(re.findall(r"\$([a-z]\w*)", json.dumps([panel["targets"] for panel in panels()])))
    assert named <= variables


def test_the_dashboard_shows_every_metric_of_the_catalogue():
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    shown += json.dumps(dashboard()["templating"])
    asked_elsewhere = {
        "voucher_ledger_service",
        "voucher_ledger_looks_failed_total",
        "voucher_ledger_verified_position",
    }
    missing = {one.name for one in CATALOGUE if one.name not in shown}
    assert missing == asked_elsewhere
