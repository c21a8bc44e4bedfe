import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import date

import pytest
from stdnum.cn import uscc
from wire_events import REMOVED, changed

from schemas.policy import Policy
from services.programmes import SHIPPED, PolicyError, load_policies, load_policy

CODES = ["beijing-2023-2025", "chengdu-2024", "guizhou-2024", "hangzhou-2023", "henan-2023-2024"]
CHENGDU = (SHIPPED / "chengdu-2024.toml").read_text(encoding="utf-8")
RULES = tomllib.loads(CHENGDU)
ALL = {"enterprise", "research_institution", "university"}


@pytest.fixture(scope="module")
def shipped():
    return load_policies()


def spoilt(tmp_path, old, new, name="chengdu-2024.toml"):
    """Write Chengdu's file with one thing changed."""
    assert CHENGDU.count(old) == 1
    path = tmp_path / name
    path.write_text(CHENGDU.replace(old, new), encoding="utf-8")
    return path


def test_the_five_programmes_load(shipped):
    assert sorted(shipped) == CODES


@pytest.mark.parametrize(
    ("code", "budget", "per", "share", "cap"),
    [
        ("chengdu-2024", 10_000_000, "year", 500_000, 1_000_000),
        ("guizhou-2024", 100_000_000, "programme", 300_000, 2_000_000),
        ("hangzhou-2023", 50_000_000, "year", 300_000, 8_000_000),
        ("beijing-2023-2025", 100_000_000, "year", 200_000, 2_000_000),
        ("henan-2023-2024", 50_000_000, "programme", 200_000, 1_000_000),
    ],
)
def test_the_figures_of_each_in_yuan_and_millionths(shipped, code, budget, per, share, cap):
    policy = shipped[code]
    assert (policy.budget.amount, policy.budget.per) == (budget * 100, per)
    assert [rate.share for rate in policy.rates] == [share]
    assert [(one.amount, one.stage, one.period, one.on_cap) for one in policy.caps] == [
        (cap * 100, "issue", "year", "refuse")
    ]


def published(policy):
    return {where for where, rule in policy.rules() if rule.status == "published"}


def test_what_is_called_published_is_what_the_report_says(shipped):
    report = {"budget", "applicants"}
    assert published(shipped["chengdu-2024"]) == report | {"revenue", "providers", "rates[0]", "minimum", "caps[0]"}
    assert published(shipped["guizhou-2024"]) == report | {"kinds.cash", "kinds.in_kind"}
    assert published(shipped["hangzhou-2023"]) == report
    assert published(shipped["beijing-2023-2025"]) == published(shipped["henan-2023-2024"]) == set()
    for policy in shipped.values():
        for where, rule in policy.rules():
            assert (rule.source == "report") == (rule.status == "published"), f"{policy.code}: {where}"


def test_chengdu(shipped):
    policy = shipped["chengdu-2024"]
    assert policy.applicants.organisations == ALL
    assert policy.applicants.sizes is policy.applicants.industries is policy.applicants.regions is None
    assert policy.revenue is not None
    assert (policy.revenue.minimum, policy.revenue.binds) == (1_000_000_000, {"enterprise"})
    assert policy.minimum is not None
    assert (policy.minimum.amount, policy.minimum.binds) == (1_000_000, "granted")
    assert policy.smallest_voucher == 1_000_000
    assert {one.names.zh: one.uscc for one in policy.providers.accredited} == {
        "成都智算中心": "91510100MA0000001L",
        "国家超算成都中心": "91510100MA0000002P",
    }
    assert policy.providers.redeemed_by == "accredited"
    assert set(policy.kinds) == {"cash"}
    assert policy.period_of(date(2024, 12, 31)) == policy.budget_period_of("2024") == "2024"


def test_guizhou_has_two_kinds_of_voucher_and_says_why_its_cap_is_at_issue(shipped):
    policy = shipped["guizhou-2024"]
    assert policy.applicants.organisations == ALL
    assert policy.applicants.regions is None
    assert policy.kinds["cash"].covers == {"compute", "data_product"}
    assert policy.kinds["in_kind"].covers == {"goods"}
    platforms = policy.kinds["in_kind"].providers
    assert platforms
    assert not platforms & (policy.kinds["cash"].providers or set())
    assert policy.cap is not None
    assert policy.cap.note is not None
    assert "payout" in policy.cap.note
    assert "not yet enforce" in policy.cap.note


def test_hangzhou_is_for_small_and_medium_sized_enterprises(shipped):
    assert shipped["hangzhou-2023"].applicants.organisations == {"enterprise"}
    assert shipped["hangzhou-2023"].applicants.sizes == {"micro", "small", "medium"}


def test_beijing_looks_at_the_contract_and_spans_three_years(shipped):
    policy = shipped["beijing-2023-2025"]
    assert policy.contract.signed_from == date(2023, 9, 1)
    assert policy.contract.term_months_max == 12
    assert policy.contract.one_voucher_each
    assert (policy.period.opens_on.year, policy.period.closes_on.year) == (2023, 2025)
    assert "制造业" in (policy.applicants.industries or set())


def test_henan_is_for_those_registered_in_the_province(shipped):
    policy = shipped["henan-2023-2024"]
    assert (policy.period.opens_on, policy.period.closes_on) == (date(2023, 7, 28), date(2024, 6, 30))
    assert policy.applicants.regions == {"河南省"}


def test_made_up_codes_are_valid_said_to_be_made_up_and_used_once(shipped):
    codes = []
    for policy in shipped.values():
        codes += [policy.authority.uscc, *policy.providers.codes]
        assert "made up" in (policy.authority.note or "")
        assert re.search("made.up", policy.providers.note or "")
        assert policy.authority.uscc.startswith("11")
    assert all(uscc.is_valid(code) for code in codes)
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('per = "year" ', 'par = "year" ', "budget.par: Extra inputs are not permitted"),
        ("[revenue]", "[revenu]", "revenu: Extra inputs are not permitted"),
        ('on_cap = "refuse"', 'on_cap = "reject"', "caps.0.on_cap: Input should be 'refuse' or 'clamp'"),
        ("[sources.report]", "[sources.newspaper]", "budget: source 'report' is not under [sources]"),
        ('share = "0.50"', 'share = "1.5"', "rates.0.share: Value error, a share"),
        ('share = "0.50"', 'share = "0"', "rates.0.share: Value error, a share"),
        ('share = "0.50"', 'share = "-0.5"', "rates.0.share: Value error, a share"),
        ('share = "0.50"', 'share = "0.1234567"', "rates.0.share: Value error, a share"),
        ('share = "0.50"', 'share = "50 %"', "rates.0.share: Value error, a share"),
        ('share = "0.50"', 'share = "５"', "rates.0.share: Value error, a share"),
        ('share = "0.50"', 'share = "inf"', "rates.0.share: Value error, a share"),
        ('share = "0.50"', "share = 0.5", "rates.0.share: Value error, a share is a decimal string"),
        ('share = "0.50"', "share = 1", "rates.0.share: Value error, a share is a decimal string"),
        ('stage = "issue"', 'stage = "redeem"', "caps[0]: a cap at the stage 'redeem' is not yet enforced"),
        ('stage = "issue"', 'stage = "payout"', "caps[0]: a cap at the stage 'payout' is not yet enforced"),
        (
            'period = "year"',
            'period = "programme"',
            "budget: per 'year' together with a cap per 'programme' is not yet",
        ),
        (
            '"91510100MA0000002P"',
            '"91510100MA00000020"',
            "providers.accredited.1.uscc: Value error, '91510100MA00000020' is",
        ),
        ('"91510100MA0000002P"', '"91510100MA0000001L"', "accredited more than once: 91510100MA0000001L"),
        ('covers = ["compute"]', 'covers = ["compute"]\nproviders = ["91110000MA0000001L"]', "kinds.cash: not among"),
        ('covers = ["compute"]', "covers = []", "kinds.cash.covers: "),
        ('amount = "10000.00"', "amount = 10000", "minimum.amount: Value error, an amount is a decimal string"),
        ('amount = "10000.00"', 'amount = "0"', "minimum.amount: Value error, an amount is more than zero"),
        ("closes_on = 2024-12-31", "closes_on = 2023-12-31", "period: Value error, closes_on is before opens_on"),
        ('"Asia/Shanghai"', '"Asia/Chengdu"', "period.time_zone: Value error, 'Asia/Chengdu' is no time zone"),
        ('code = "chengdu-2024"', 'code = "Chengdu 2024"', "code: String should match pattern"),
        ("revision = 1", "revision = ", "not TOML"),
    ],
)
def test_a_wrong_file_is_told_with_its_place_and_the_fault(tmp_path, old, new, said):
    path = spoilt(tmp_path, old, new)
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    with pytest.raises(PolicyError, match="chengdu-2024"):
        load_policies(tmp_path)


def test_a_second_cap_at_issue_is_not_yet_enforced(tmp_path):
    cap = CHENGDU[CHENGDU.index("[[caps]]") : CHENGDU.index("# ---- Afterwards")]
    with pytest.raises(PolicyError, match="more than one cap at the stage 'issue' is not yet enforced"):
        load_policy(spoilt(tmp_path, cap, cap + cap))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(tmp_path / "chengdu-2024.toml")
    (tmp_path / "chengdu-2024.toml").write_bytes(CHENGDU.encode("gb18030"))
    with pytest.raises(PolicyError, match="not TOML"):
        load_policy(tmp_path / "chengdu-2024.toml")


def test_a_file_is_named_after_its_programme(tmp_path):
    spoilt(tmp_path, "revision = 1", "revision = 2", name="chengdu.toml")
    with pytest.raises(PolicyError, match=r"a file is named after its programme, chengdu-2024\.toml"):
        load_policies(tmp_path)


def test_a_folder_without_policies(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here", encoding="utf-8")
    with pytest.raises(PolicyError, match="no policy files"):
        load_policies(tmp_path)


def digest_of(rules):
    return Policy.model_validate(rules).digest


def turned(content):
    """Return the same tables and lists, each the other way round."""
    if isinstance(content, dict):
        return {key: turned(value) for key, value in reversed(content.items())}
    if isinstance(content, list):
        return [turned(item) for item in reversed(content)]
    return content


def test_the_digest_is_that_of_the_canonical_form(shipped):
    for policy in shipped.values():
        assert policy.digest == hashlib.sha256(policy.canonical.encode()).digest()
        assert json.loads(policy.canonical)["code"] == policy.code
    assert len({policy.digest for policy in shipped.values()}) == len(CODES)


@pytest.mark.parametrize("code", CODES)
def test_the_digest_does_not_depend_on_the_order_of_tables_and_lists(code):
    rules = tomllib.loads((SHIPPED / f"{code}.toml").read_text(encoding="utf-8"))
    assert json.dumps(turned(rules), default=str) != json.dumps(rules, default=str)
    assert digest_of(turned(rules)) == digest_of(rules)


def test_the_digest_does_not_depend_on_comments_or_spelling(tmp_path):
    bare = "\n".join(line for line in CHENGDU.splitlines() if line and not line.startswith("#"))
    path = tmp_path / "chengdu-2024.toml"
    path.write_text(bare.replace('"0.50"', '"0.5"').replace('"10000.00"', '"10000"'), encoding="utf-8")
    assert load_policy(path).digest == digest_of(RULES)


def test_the_order_of_rates_is_a_rule():
    first, second = RULES["rates"][0], {**RULES["rates"][0], "share": "0.6", "when": {"sizes": ["small"]}}
    assert digest_of({**RULES, "rates": [first, second]}) != digest_of({**RULES, "rates": [second, first]})


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("revision", 2),
        ("authority.uscc", "11520000MB0000001X"),
        ("period.closes_on", date(2024, 12, 30)),
        ("period.attribution", "recorded_at"),
        ("budget.amount", "10000000.01"),
        ("budget.per", "programme"),
        ("applicants.organisations", ["enterprise"]),
        ("applicants.sizes", ["small"]),
        ("revenue", REMOVED),
        ("revenue.binds", ["enterprise", "university"]),
        ("providers.redeemed_by", "contract"),
        ("contract.one_voucher_each", False),
        ("contract.signed_from", date(2024, 1, 1)),
        ("kinds.cash.covers", ["compute", "goods"]),
        ("rates", [{**RULES["rates"][0], "share": "0.500001"}]),
        ("minimum.amount", "10000.01"),
        ("minimum.binds", "computed"),
        ("maximum", {"source": "assumption", "status": "illustrative", "amount": "500000"}),
        ("caps", []),
        ("caps", [{**RULES["caps"][0], "on_cap": "clamp"}]),
        ("validity", {"source": "assumption", "status": "illustrative", "months": 12}),
        ("budget.status", "illustrative"),
    ],
    ids=str,
)
def test_the_digest_changes_with_any_rule(where, value):
    assert digest_of(changed(RULES, where, value)) != digest_of(RULES)


@pytest.mark.parametrize("code", CODES)
def test_the_canonical_form_is_read_back_as_the_same_policy(shipped, code):
    policy = shipped[code]
    again = Policy.model_validate_json(policy.canonical)
    assert again.canonical == policy.canonical
    assert again.digest == policy.digest
    assert again.rules() == policy.rules()


def test_the_digest_is_the_same_in_every_process(shipped):
    program = "from services.programmes import load_policies\nfor p in load_policies().values(): print(p.code, p.digest.hex())"
    wanted = "".join(f"{policy.code} {policy.digest.hex()}\n" for policy in shipped.values())
    for seed in ("0", "1", "4242"):
        answer = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=SHIPPED.parent.parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
            text=True,
        )
        assert answer.stdout == wanted
