"""What the pages are made of without a server: words, figures, charts, preferences, the event of a dead letter."""

import re
import string
from dataclasses import asdict

import pytest
from markupsafe import Markup

from services.monitor import charts, figures
from services.monitor.chinese import CHINESE
from services.monitor.english import ENGLISH
from services.monitor.pages.letters import readable
from services.monitor.preferences import local, spoken
from services.monitor.verdict import State, Why


def filled_in(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_both_languages_fill_in_the_same_and_say_something() -> None:
    for name, sentence in asdict(ENGLISH).items():
        other = asdict(CHINESE)[name]
        assert sentence.strip(), name
        assert other.strip(), name
        assert filled_in(sentence) == filled_in(other), name


def test_every_state_and_reason_has_its_words() -> None:
    for name in (*State, *Why):
        assert getattr(ENGLISH, name), name


def test_chinese_is_chinese() -> None:
    for name, sentence in asdict(CHINESE).items():
        if name != "other_language":
            assert re.search("[一-鿿]", sentence), name


@pytest.mark.parametrize(
    ("fen", "said"),
    [(0, "0.00"), (5, "0.05"), (123_456_789, "1,234,567.89"), (-50, "−0.50"), (-123_456, "−1,234.56"), (10**15, "10,000,000,000,000.00")],
)  # fmt: skip
def test_money_has_all_its_digits(fen: int, said: str) -> None:
    assert figures.yuan(fen) == said


@pytest.mark.parametrize(
    ("seconds", "en", "zh"),
    [
        (0.04, "0.0 s", "0.0 秒"), (9.94, "9.9 s", "9.9 秒"), (75, "75 s", "75 秒"),
        (150, "2 min", "2 分钟"), (9_000, "2 h", "2 小时"), (400_000, "5 d", "5 天"),
    ],
)  # fmt: skip
def test_ages(seconds: float, en: str, zh: str) -> None:
    assert (figures.age(seconds, "en"), figures.age(seconds, "zh")) == (en, zh)


def test_a_share_is_never_rounded_up_to_the_whole() -> None:
    assert figures.share(99_999, 100_000) == "99.9 %"
    assert figures.share(1, 0) == figures.NOTHING


def test_rates() -> None:
    assert [figures.rate(value) for value in (None, 0.0, 0.25, 9.96, 12_345.6)] == ["–", "0", "0.2", "10.0", "12,346"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,en;q=0.9", "en"), ("fr,en;q=0.5,zh;q=0.7", "zh"), ("", "zh"),
        ("de", "zh"), ("en;q=0.1,zh-TW;q=0.2", "zh"), ("en;q=x", "zh"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_that_the_browser_puts_first(header: str, language: str) -> None:
    assert spoken(header) == language


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nX: y"]
)
def test_one_is_only_sent_back_to_a_page_of_ours(elsewhere: str) -> None:
    assert local(elsewhere) == "/"


def test_a_path_of_ours_stays() -> None:
    assert (
        local("/dead-letters?stream=voucher.issued:chengdu-2024") == "/dead-letters?stream=voucher.issued:chengdu-2024"
    )


def test_a_line_is_not_drawn_through_what_was_not_measured() -> None:
    drawn = charts.sparkline([1.0, 2.0, None, None, 4.0], [None] * 5, "<told>")
    assert drawn.count("<polygon") == 2
    assert "<polyline" not in drawn
    assert "&lt;told&gt;" in drawn
    assert isinstance(charts.sparkline([], [], ""), Markup)


def test_the_highest_is_at_the_top_and_nothing_leaves_the_picture() -> None:
    drawn = charts.sparkline([0.0, 50.0, 100.0], [100.0, 0.0, 25.0], "")
    heights = [float(y) for points in re.findall(r'points="([^"]+)"', drawn) for y in re.findall(r",([\d.]+)", points)]
    assert (min(heights), max(heights)) == (2, 24)


def test_a_budget_is_drawn_in_steps_under_its_ceiling() -> None:
    series = charts.Series("issued", "Issued", [(0.0, 25), (50.0, 100)])
    drawn = charts.steps([series, charts.Series("none", "", [])], 100, 100.0, "told")
    assert 'points="0.0,200 0.0,200.0 0.0,151.0 400.0,151.0 400.0,4.0 800,4.0"' in drawn
    assert drawn.count("<polyline") == 1


def test_a_bar_stays_within_its_whole() -> None:
    assert "width:100.00%" in charts.bar([("issued", 300)], 100, "")
    assert "<i" not in charts.bar([("issued", 300)], 0, "")


def test_an_event_is_laid_out_and_what_is_none_is_shown_by_its_bytes() -> None:
    assert readable('{"a":["算力"]}'.encode()) == (True, '{\n  "a": [\n    "算力"\n  ]\n}')
    is_json, shown = readable(b"\x00<b>not json</b>")
    assert not is_json
    assert shown == "000000  00 3c 62 3e 6e 6f 74 20 6a 73 6f 6e 3c 2f 62 3e  ·<b>not json</b>"
    assert readable(b"[" * 200_000)[0] is False
    assert len(readable(b'"' + b"x" * 1_000_000 + b'"')[1]) < 25_000
