"""What is published in a campaign: made from the seed and the length alone, and byte for byte the same each time.

Enterprises come near their caps, vouchers near zero, budgets near their end. Redemptions come before their issue, events come
twice and respelt, other contents come under an id that is taken, and some entries are no events at all.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Final

from events_made import STRANGER, Wire, changed, exhausted_event, issue_event, redemption_event, shipped, uscc

from chaos.messages import Message, of_event, written
from chaos.programmes import AMOUNT_MEAN_FEN, ENTERPRISES, PROGRAMMES
from chaos.spoilt import spoilt
from schemas.events import Kind
from schemas.money import format_yuan

PER_SECOND: Final = 60
MESSAGES_MAX: Final = 30_000
"""The model that a campaign is replayed through asks each time for all that was before: more would take it an hour."""
_MESSAGES_A_VOUCHER = 3.6
_BURST_SECONDS = 0.1

_YEARS = {"beijing-2023-2025": ("2023-11", "2024-05", "2025-03")}
_BREAKS: list[Wire] = [
    {"data__enterprise__organisation": "university", "data__enterprise__prior_year_revenue": None},
    {"data__enterprise__prior_year_revenue": "9999999.99"},
    {"data__contract__fee": "10000.00"},
    {"data__contract__number": "HT-again"},
    {"data__contract__provider": STRANGER},
    {"data__enterprise__uscc": "91510100MA0000001M"},  # its check digit is wrong
    {"data__amount": "9999.99"},
    {"data__kind": "in_kind"},
    {"data__valid_until": "2024-05-31"},
    {"time": "2022-05-06T10:00:00+08:00"},
]


def vouchers_of(seconds: float) -> int:
    """Return how many vouchers each programme issues in a campaign of this length."""
    messages = min(seconds * PER_SECOND, MESSAGES_MAX)
    return max(int(messages / _MESSAGES_A_VOUCHER / len(PROGRAMMES)), 20)


def write_history(seed: int, seconds: float) -> list[Message]:
    """Return the messages in the order of their moments."""
    author = _Author(random.Random(f"history {seed}"), seconds)
    messages = [message for programme in PROGRAMMES for message in author.programme(programme, vouchers_of(seconds))]
    return sorted(messages, key=lambda message: message.at)


def digest(messages: list[Message]) -> str:
    """Return the SHA-256 of a history, in hexadecimal."""
    return hashlib.sha256(repr(messages).encode()).hexdigest()


class _Author:
    def __init__(self, chance: random.Random, seconds: float) -> None:
        self._chance = chance
        self._seconds = seconds
        self._bursts = [chance.uniform(0, seconds) for _ in range(max(int(seconds / 4), 1))]
        self._number = 0

    def programme(self, programme: str, vouchers: int) -> Iterator[Message]:
        for number in range(vouchers):
            for message in self._voucher(programme, f"V-{number}"):
                yield message
                yield from self._again(message)
            if self._chance.random() < 0.12:
                self._number += 1
                yield spoilt(self._chance, self._number, self._moment(), programme)
        yield from self._closures(programme)

    def _moment(self) -> float:
        chance = self._chance
        if chance.random() < 0.5:
            return chance.uniform(0, self._seconds)
        return self._within(chance.choice(self._bursts) + chance.uniform(0, _BURST_SECONDS))

    def _within(self, at: float) -> float:
        return round(min(max(at, 0.0), self._seconds), 4)

    def _voucher(self, programme: str, voucher_id: str) -> Iterator[Message]:
        """Yield an issue (but sometimes none) and the uses that are made of the voucher, some of them before it."""
        chance, at = self._chance, self._moment()
        amount = round(AMOUNT_MEAN_FEN * chance.uniform(0.4, 1.6))
        kind: Kind = "in_kind" if programme == "guizhou-2024" and chance.random() < 0.2 else "cash"
        if chance.random() < 0.97:
            yield of_event(at, self._issue(programme, voucher_id, amount, kind))
        for number, part in enumerate(self._parts(amount)):
            early = chance.random() < 0.25
            after = -chance.expovariate(1 / 4) if early else chance.expovariate(1 / 8)
            yield of_event(self._within(at + after), self._use(programme, voucher_id, number, part, kind))

    def _issue(self, programme: str, voucher_id: str, amount: int, kind: Kind) -> Wire:
        chance = self._chance
        # Some enterprises ask for much more than others.
        enterprise = uscc(min(chance.randrange(ENTERPRISES), chance.randrange(ENTERPRISES)))
        month = chance.choice(_YEARS.get(programme, ("2024-05",)))
        event = issue_event(
            voucher_id, programme=programme, amount=format_yuan(amount), enterprise=enterprise, data__kind=kind,
            provider=chance.choice(_providers(programme, kind)), time=f"{month}-06T10:00:00+08:00",
        )  # fmt: skip
        if chance.random() < 0.08:
            return changed(event, chance.choice(_BREAKS))
        if chance.random() < 0.02:
            # Another voucher has this number.
            other = f"V-{chance.randrange(20)}"
            return changed(event, {"id": f"{event['id']}-again", "subject": other, "data__voucher_id": other})
        return event

    def _parts(self, amount: int) -> list[int]:
        """Return uses of a voucher, in fen: none, some of it, all of it, a fen more than that, or far more."""
        chance = self._chance
        ending = chance.choice(["none", "some", "some", "all", "all", "a fen more", "far more"])
        if ending == "none":
            return []
        cuts = sorted(chance.sample(range(1, amount), chance.randint(0, 3)))
        parts = [high - low for low, high in zip([0, *cuts], [*cuts, amount], strict=True)]
        if ending == "some":
            return parts[:-1] or [amount // 2]
        if ending == "a fen more":
            return [*parts, 1]
        return [*parts, amount] if ending == "far more" else parts

    def _use(self, programme: str, voucher_id: str, number: int, amount: int, kind: Kind) -> Wire:
        chance = self._chance
        odd = chance.random()
        redemption_id = "R-again" if odd < 0.02 else None
        item = "goods" if (kind == "in_kind") != (0.02 < odd < 0.04) else "compute"
        providers = sorted(shipped()[programme].providers.codes) if 0.04 < odd < 0.06 else _providers(programme, kind)
        return redemption_event(
            voucher_id, number, programme=programme, amount=format_yuan(amount), provider=chance.choice(providers),
            redemption_id=redemption_id, data__item=item,
        )  # fmt: skip

    def _again(self, message: Message) -> Iterator[Message]:
        """Yield the message again, now and then: as it was, respelt, or with another content under its id."""
        chance = self._chance
        what = chance.random()
        at = self._within(message.at + chance.choice([chance.uniform(-0.05, 0.05), chance.uniform(0, 20)]))
        if what < 0.08:
            yield Message(at, message.stream, message.data, message.identity)
        elif what < 0.13:
            event = _event(message)
            event = dict(reversed(event.items())) if chance.random() < 0.5 else {**event, "traceparent": "00-1"}
            yield Message(at, message.stream, written(event), message.identity)
        elif what < 0.15:
            event = changed(_event(message), {"time": "2024-06-07T07:07:07Z"})
            yield Message(at, message.stream, written(event), message.identity, content=1)

    def _closures(self, programme: str) -> Iterator[Message]:
        """Yield what the authority closes: some enterprises half-way, of one programme everything at the end."""
        chance = self._chance
        for number in range(3):
            period = chance.choice(_YEARS.get(programme, ("2024-05",)))[:4]
            event = exhausted_event(uscc(number * 3 + 2), programme=programme, period=period)
            message = of_event(self._within(self._seconds * chance.uniform(0.4, 1)), event)
            yield message
            yield from self._again(message)
        if programme == chance.choice(PROGRAMMES):
            yield of_event(self._seconds * 0.97, exhausted_event(programme=programme, period="2024"))


def _providers(programme: str, kind: Kind) -> list[str]:
    policy = shipped()[programme]
    return sorted(policy.kinds[kind].providers or policy.providers.codes)


def _event(message: Message) -> Wire:
    event: Wire = json.loads(message.data)
    return event
