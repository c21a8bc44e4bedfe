"""What was judged, in a reader's words: states, names of streams, kinds and outcomes of entries. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from markupsafe import Markup

from schemas.codes import ACCEPTED, MESSAGES, Code
from schemas.policy import Policy
from services.ledger.statements import EntryRow
from services.ledger.verifications import Verified
from services.monitor import figures
from services.monitor.chinese import CHINESE
from services.monitor.english import ENGLISH
from services.monitor.live import Cell, code, link, prose, state, two_lines
from services.monitor.preferences import Language
from services.monitor.verdict import State, Verdict, Why
from services.monitor.words import Words

_KINDS = {
    State.IDLE: "idle", State.KEEPING_UP: "ok", State.CATCHING_UP: "notice", State.FALLING_BEHIND: "notice",
    State.UNREAD: "alarm", State.STUCK: "alarm",
}  # fmt: skip

WORDS: Final[Mapping[Language, Words]] = {"en": ENGLISH, "zh": CHINESE}
LATELY_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells in one language, with the names that the policies give."""

    words: Words
    language: Language
    policies: Mapping[str, Policy]

    def age(self, seconds: float | None) -> str:
        """Return how long ago or for how long."""
        return figures.age(seconds, self.language)

    def since(self, at: datetime) -> str:
        """Return how long ago a moment was."""
        return self.age(max((datetime.now(UTC) - at).total_seconds(), 0.0))

    def seen(self, seconds: float | None) -> str:
        """Return when a consumer last asked for entries; one that asks all the time is not said to the tenth of a second."""
        if seconds is None:
            return ""
        return self.words.last_seen.format(
            age=f"< {self.age(LATELY_SECONDS)}" if seconds < LATELY_SECONDS else self.age(seconds)
        )

    def verdict(self, verdict: Verdict) -> Markup:
        """Return a verdict: the state, and what there is to say of it."""
        return state(_KINDS[verdict.state], str(getattr(self.words, verdict.state)), self._because(verdict))

    def _because(self, verdict: Verdict) -> str:
        words = self.words
        match verdict.state:
            case State.CATCHING_UP:
                return words.empty_in.format(time=self.age(verdict.seconds))
            case State.FALLING_BEHIND if verdict.growth is not None:
                shrinks_not = figures.rate(verdict.growth) == figures.rate(0)
                return (
                    words.does_not_shrink
                    if shrinks_not or verdict.growth < 0
                    else words.grows_by.format(rate=figures.rate(verdict.growth))
                )
        return "" if verdict.why is None else self._why(verdict.why, verdict)

    def _why(self, why: Why, verdict: Verdict) -> str:
        sentence: str = getattr(self.words, why)
        return sentence.format(age=self.age(verdict.seconds), times=verdict.times)

    def programme(self, programme: str) -> str:
        """Return a programme's name."""
        names = self.policies[programme].names
        return names.zh if self.language == "zh" else names.en

    def provider(self, uscc: str) -> str:
        """Return the name of a provider that any programme accredits, its code where none does."""
        for policy in self.policies.values():
            for one in policy.providers.accredited:
                if one.uscc == uscc:
                    return one.names.zh if self.language == "zh" else one.names.en
        return uscc

    def stream(self, key: str) -> str:
        """Return what a stream is, in words; its key where nobody here knows it."""
        kind, _, owner = key.partition(":")
        words = self.words
        if kind == "voucher.redeemed":
            return words.redeemed_stream.format(name=self.provider(owner))
        if owner in self.policies:
            sentence = words.issued_stream if kind == "voucher.issued" else words.exhausted_stream
            return sentence.format(name=self.programme(owner))
        return key

    def owner(self, stream: str) -> str:
        """Return who writes to a stream."""
        kind, _, owner = stream.partition(":")
        if kind == "voucher.redeemed":
            return self.provider(owner)
        if owner in self.policies:
            names = self.policies[owner].authority.names
            return names.zh if self.language == "zh" else names.en
        return stream

    def verified(self, verified: Verified | None, *, advice: bool = True) -> Markup:
        """Return what the last verification came to, and when; or that there was none, with what to do about it."""
        words = self.words
        if verified is None:
            return state("idle", words.never_verified, prose(words.verify_it) if advice else "")
        ago = words.ago.format(age=self.since(verified.ended_at))
        if verified.ok:
            return state("ok", words.right_up_to.format(position=figures.count(verified.entries)), ago)
        wrong = words.wrong_at.format(position=figures.count(verified.first_bad_position))
        return state("alarm", wrong, f"{verified.reason} · {ago}")

    def message(self, code_: str | None) -> str:
        """Return a code's sentence; that of an acceptance without one."""
        message = ACCEPTED if code_ is None else MESSAGES[Code(code_)]
        return message.zh if self.language == "zh" else message.en

    def outcome(self, entry: EntryRow) -> Markup:
        """Return whether an entry stands, and the code it bears with what that means."""
        words = self.words
        name = words.accepted if entry.accepted else words.refused
        more = "" if entry.code is None else f"{entry.code} · {self.message(entry.code)}"
        return state("ok" if entry.accepted else "notice", name, more)

    def kind(self, kind: str) -> str:
        """Return what an entry is."""
        names: dict[str, str] = {
            "issued": self.words.kind_issued, "redeemed": self.words.kind_redeemed, "exhausted": self.words.kind_exhausted,
        }  # fmt: skip
        return names[kind]

    def entry(self, programme: str, entry: EntryRow, zone: ZoneInfo) -> list[Cell]:
        """Return an entry's cells: position, when, kind, outcome, voucher, of whom, amount, granted, what it left."""
        return [
            figures.count(entry.position),
            figures.moment(entry.recorded_at, zone),
            self.kind(entry.kind),
            self.outcome(entry),
            "" if entry.voucher_id is None else self.voucher_link(programme, entry.voucher_id),
            self._of_whom(programme, entry),
            figures.yuan(entry.amount) if entry.amount is not None else "",
            figures.yuan(entry.granted) if entry.granted is not None else "",
            self._after(entry),
        ]

    def entry_columns(self) -> list[tuple[Cell, str]]:
        """Return the headings of an entry's cells, with their classes."""
        words = self.words
        return [
            (words.position, "number"), (words.recorded_at, "moment"), (words.kind, ""), (words.outcome, "wide"), (words.voucher, ""),
            (Markup("{}<br>{}").format(words.enterprise, words.provider), ""), (words.amount, "number"),
            (words.granted, "number"), (words.after_it, "number"),
        ]  # fmt: skip

    def voucher_link(self, programme: str, voucher_id: str) -> Markup:
        """Return a voucher's number, which leads to its page."""
        return link(f"/programmes/{programme}/vouchers/{quote(voucher_id, safe='')}", code(voucher_id))

    def enterprise_link(self, programme: str, uscc: str) -> Markup:
        """Return an enterprise's code, which leads to its page."""
        return link(f"/programmes/{programme}/enterprises/{quote(uscc, safe='')}", code(uscc))

    def _of_whom(self, programme: str, entry: EntryRow) -> Cell:
        if entry.kind != "redeemed" and entry.enterprise is not None:
            return self.enterprise_link(programme, entry.enterprise)
        return "" if entry.provider is None else two_lines(self.provider(entry.provider), code(entry.provider))

    def _after(self, entry: EntryRow) -> Cell:
        words = self.words
        if not entry.accepted:
            return ""
        if entry.voucher_remaining is not None and entry.kind == "redeemed":
            return two_lines(figures.yuan(entry.voucher_remaining), f"{words.voucher} {words.remaining}")
        if entry.budget_remaining is not None:
            return two_lines(figures.yuan(entry.budget_remaining), f"{words.budget} {words.left}")
        return ""
