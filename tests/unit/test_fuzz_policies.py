# ruff: noqa: E501  the values stand in rows
"""Policy files spoilt by the thousand: each is told wrong, in words, or is a policy that events can be decided by."""

import json
from datetime import date
from pathlib import Path

import pytest
from events_made import issue_event, redemption_event
from hypothesis import example, given
from hypothesis import strategies as st
from ledger_in_memory import LedgerInMemory
from many import many

from schemas.policy import REVISION_MAX, Policy
from services.cli.programmes import _problems
from services.programmes import SHIPPED, PolicyError, load_policy

CHENGDU = (SHIPPED / "chengdu-2024.toml").read_text(encoding="utf-8")
LINES = CHENGDU.splitlines()
RULES = [number for number, line in enumerate(LINES) if " = " in line and not line.startswith("#")]

VALUES = [
    "0", "1", "-1", "-0", "1.0", "-0.0", "1e3", "1e400", "nan", "-nan", "inf", "-inf", "true", "false", "1_000", "01", "+5", "0x10", "0b1", "2147483647", "2147483648",
    "99999999999999999999", "9" * 5_000, "-" + "9" * 5_000, "0x" + "f" * 5_000, "1." + "3" * 5_000, '""', '" "', '"0"', '"0.00"', '"1e3"', '"+5"', '"5."', '".5"', '"00.50"',
    '"-1.00"', '"1.005"', '"10000000000000.00"', '"10000000000000.01"', '"٣.00"', '"１"', '"0.5"', '"1"', '"1.0000000"', '"2"', '"NaN"', '"\\u0000"', '"\\ud800"', '"\\U00110000"',
    '"\\U0010ffff"', '"\\u202e"', '"\\x41"', '"a\\nb"', '"\x1b[31m"', "'\\u0000'", '"""a\nb"""', "'''a'''", '"' + "長" * 3_000 + '"', '"no"', '"yes"', '"2024-01-01"', "2024-01-01",
    "2024-02-30", "0000-01-01", "0001-01-01", "1999-12-31", "2099-12-31", "2100-01-01", "9999-12-31", "10000-01-01", "2024-01-01T00:00:00", "2024-01-01T00:00:00Z", "2024-01-01 25:00:00",
    "2024-01-01T00:00:60Z", "2024-01-01T00:00:00+24:00", "12:00:00", "86400", "[]", "[[]]", "{}", '[""]', '["cash"]', '["enterprise"]', '["compute", 1]', '["compute", "compute"]', "{a = 1}",
    '{source = "report"}', "[1, 2", "{a = ", "[" * 3_000, "[" * 3_000 + "]" * 3_000, "{a = " * 1_000 + "1" + "}" * 1_000, '"UTC"', '"Asia/Shanghai"', '"../../etc/passwd"', '"localtime"',
    '"cash"', '"in_kind"', '"issue"', '"payout"', '"refuse"', '"clamp"', '"year"', '"programme"', '"occurred_at"', '"recorded_at"', '"contract_signed_on"', '"computed"', '"granted"',
    '"91510100MA0000001L"', '"91510100MA0000001M"', '"９1510100MA0000001L"', '"91510100МA0000001L"', '"chengdu-2024"', '"chengdu-2024 "', '"сhengdu-2024"', '"report"', '"assumption"',
]  # fmt: skip
ADDED = [
    "[maximum]", "[[caps]]", "[[rates]]", "[validity]", "[returns]", "[kinds.in_kind]", "[sources.x]", "[a.b.c]", "[[a]]", "[", "]", "=", "a", "a =", "= 1", '"\\u001b[31m" = 1', "'' = 1", "a.a = 1",
    "[" + ".".join("a" * 3_000) + "]", ".".join("a" * 3_000) + " = 1", "#\x00", "\x00", "\ufeff", "\x0c", "\u2028", "months = 12", "days = 3660", "until = 2024-06-30", "on_cap = 'clamp'", "note = 'x'",
]  # fmt: skip


@st.composite
def spoilt_files(draw):
    """Return the bytes of Chengdu's file with up to three of its lines changed, left out, doubled or added, or its bytes."""
    lines, chosen = list(LINES), st.sampled_from(RULES)
    for _ in range(draw(st.integers(0, 3))):
        number = draw(chosen)
        match draw(st.sampled_from(["value", "value", "value", "left out", "double", "added", "move"])):
            case "value":
                lines[number] = f"{lines[number].split(' = ')[0]} = {draw(st.sampled_from(VALUES))}"
            case "left out":
                lines[number] = ""
            case "double":
                lines[number] += "\n" + lines[number]
            case "added":
                lines[number] += "\n" + draw(st.sampled_from(ADDED))
            case _:
                other = draw(chosen)
                lines[number], lines[other] = lines[other], lines[number]
    content = "\n".join(lines).encode(errors="surrogatepass")
    if draw(st.integers(0, 4)) == 4:
        start = draw(st.integers(0, len(content)))
        content = content[:start] + draw(st.binary(max_size=4)) + content[start + draw(st.integers(0, 4)) :]
    return content


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("p") / "chengdu-2024.toml"


@many(400)
@given(spoilt_files())
@example(CHENGDU.encode())
@example(CHENGDU.replace("revision = 1", "revision = " + "9" * 5_000).encode())
@example(CHENGDU.replace("revision = 1", "revision = " + "[" * 3_000).encode())
@example(b"")
@example(CHENGDU.encode("utf-16"))
def test_a_file_is_told_wrong_in_words_or_is_a_policy_to_decide_by(file, content):
    file.write_bytes(content)
    problems = _problems(file)
    try:
        policy = load_policy(file)
    except PolicyError as error:
        said = str(error)
        policy = None
    if policy is None:
        assert problems
        assert said.startswith(f"{file}: ")
        for problem in problems:
            problem.encode()
        return
    # The one thing that only `check` says, for it is of the folder: how the file has to be named.
    assert all(problem.startswith("code: is ") for problem in problems)
    assert Policy.model_validate_json(policy.canonical).digest == policy.digest
    assert "\0" not in policy.canonical
    assert 1 <= policy.revision <= REVISION_MAX
    ledger = LedgerInMemory(policy)
    most = "10000000000000.00"
    for event in (issue_event("V-1"), redemption_event("V-1"), issue_event("V-2", amount=most, fee=most)):
        ledger.take(event)
    assert all(row["granted"] is None or 0 < row["granted"] <= policy.budget.amount for row in ledger.rows)


@pytest.mark.parametrize(
    ("rule", "value", "where"),
    [
        *(("revision", value, "revision") for value in ("true", '"1"', "1.0", "2147483648", "0", "nan")),
        *(("opens_on", value, "period.opens_on") for value in ("0", "86400", '"0"', '"2024-1-1"', '"2024-02-30"', '"２０２４-01-01"', "2024-01-01T00:00:00Z", "true")),
        *(("one_voucher_each", value, "contract.one_voucher_each") for value in ('"no"', '"off"', "0", "1")),
    ],
)  # fmt: skip
def test_nothing_is_taken_for_a_number_a_truth_or_a_day_that_only_looks_like_one(file, rule, value, where):
    (line,) = (line for line in LINES if line.startswith(f"{rule} = "))
    file.write_text(CHENGDU.replace(line, f"{rule} = {value}"), encoding="utf-8")
    (problem,) = _problems(file)
    assert problem.startswith(f"{where}: ")


def test_days_and_truths_are_read_back_from_what_the_ledger_keeps(file):
    file.write_text(CHENGDU, encoding="utf-8")
    policy = Policy.model_validate_json(load_policy(file).canonical)
    assert policy.period.opens_on == date(2024, 1, 1)
    assert policy.contract.one_voucher_each is True
    assert json.loads(policy.canonical)["period"]["opens_on"] == "2024-01-01"
