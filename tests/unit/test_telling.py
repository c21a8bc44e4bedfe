"""What was judged, in words: every verdict in both languages, verifications, and nothing that a name brings along."""

from datetime import UTC, datetime, timedelta

import pytest
from events_made import providers_of, shipped

from services.ledger.verifications import Verified
from services.monitor.live import code, prose, state
from services.monitor.telling import WORDS, Teller
from services.monitor.verdict import State, Verdict, Why

CHENGDU = "chengdu-2024"


def teller(language: str = "en") -> Teller:
    return Teller(WORDS[language], language, shipped())


SAID = [
    (Verdict(State.IDLE), "Quiet", "空闲"),
    (Verdict(State.CATCHING_UP, seconds=42.0), "empty in about 42 s", "约 42 秒后清空"),
    (Verdict(State.FALLING_BEHIND, growth=12.0), "12 more come than go, a second", "每秒净增 12"),
    (Verdict(State.FALLING_BEHIND, growth=0.0), "it does not get less", "积压没有减少"),
    (Verdict(State.FALLING_BEHIND, growth=-0.4), "it does not get less", "积压没有减少"),
    (Verdict(State.FALLING_BEHIND), "Falling behind", "积压增加"),
    (Verdict(State.UNREAD, Why.READERS_SILENT, 300.0), "no consumer has asked for 5 min", "已有 5 分钟没有消费者读取"),
    (Verdict(State.STUCK, Why.HELD, 90.0, times=7), "handed out 7 times and never acknowledged, for 90 s", "已分发 7 次，90 秒未确认"),
    (Verdict(State.STUCK, Why.NOTIFIER_AHEAD), "was it restored from a backup?", "是否从备份恢复"),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "en", "zh"), SAID)
def test_a_verdict_says_its_state_and_why_in_words(verdict: Verdict, en: str, zh: str) -> None:
    assert en in teller("en").verdict(verdict)
    assert zh in teller("zh").verdict(verdict)


@pytest.mark.parametrize("why", list(Why))
def test_every_reason_can_be_told_of_whatever_is_known(why: Why) -> None:
    for language in ("en", "zh"):
        assert "{" not in teller(language).verdict(Verdict(State.STUCK, why))


def test_streams_and_their_owners_have_the_names_of_the_policies() -> None:
    provider = providers_of(CHENGDU)[0]
    assert teller("zh").stream(f"voucher.issued:{CHENGDU}") == "发放 · 成都市算力券（2024年）"
    assert teller("en").stream(f"voucher.redeemed:{provider}") == "Redemptions · Chengdu Intelligent Computing Centre"
    assert teller("en").owner(f"voucher.redeemed:{provider}") == "Chengdu Intelligent Computing Centre"
    assert teller("en").owner(f"quota.exhausted:{CHENGDU}") == shipped()[CHENGDU].authority.names.en
    for unknown in ("elsewhere", "voucher.issued:atlantis", ""):
        assert teller().stream(unknown) == teller().owner(unknown) == unknown


def test_a_verification_says_when_and_up_to_where_or_that_there_was_none() -> None:
    began = datetime.now(UTC) - timedelta(hours=3)
    right = Verified(CHENGDU, began, began, 1_234, ok=True, first_bad_position=None, reason=None)
    wrong = Verified(CHENGDU, began, began, 16, ok=False, first_bad_position=17, reason="its hash is <another>")
    assert "right, up to 1,234" in teller().verified(right)
    assert "3 h ago" in teller().verified(right)
    assert "WRONG at 17" in teller().verified(wrong)
    assert "&lt;another&gt;" in teller().verified(wrong)
    assert "<code>voucher-ledger verify</code>" in teller().verified(None)
    assert "verify" not in teller().verified(None, advice=False)


def test_names_are_shown_and_never_run() -> None:
    hostile = "<script>alert(1)</script>\"'"
    links = teller().voucher_link(CHENGDU, hostile) + teller().enterprise_link(CHENGDU, "a/../../login?x#y")
    shown = links + code(hostile) + state("ok", hostile, hostile) + prose(hostile)
    assert "<script" not in shown
    assert "/enterprises/a%2F..%2F..%2Flogin%3Fx%23y" in shown
