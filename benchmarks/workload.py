"""The events: valid ones, all of which the derived programmes accept, as bytes for a stream. Deterministic by the seed.

A redemption is about 435 bytes, an issue about 750.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, Literal

from benchmarks.programmes import Programme, enterprise
from schemas.decoding import decode
from services.ledger.entry import Inbound, inbound

Ids = Literal["uuid7", "uuid4"]

VOUCHERS_EACH: Final = 100
"""Vouchers of one enterprise."""
ZIPF_EXPONENT: Final = 0.99
"""As in YCSB: of 10,000 vouchers the hottest has a tenth of all redemptions."""
_STARTS_MS: Final = 1_714_528_800_000
_EVENTS_A_MS: Final = 50
_CLOSED_FROM: Final = 5_000_000
"""Enterprises from this number on have no vouchers: closing their quotas refuses nothing."""


class Producer:
    """Makes the events of one programme; each call goes on where the one before stopped."""

    def __init__(self, programme: Programme, seed: int, ids: Ids = "uuid7") -> None:
        self.programme = programme
        self.issued = 0
        self._random = random.Random(f"{seed}/{programme.code}")
        self._ids = ids
        self._redeemed = 0
        self._ids_made = 0

    def issues(self, count: int) -> Iterator[bytes]:
        """Yield issues of new vouchers, of 1,000,000 yuan each."""
        code, source, provider = self.programme.code, self.programme.authority, self.programme.provider
        for _ in range(count):
            number = self.issued
            self.issued += 1
            holder = enterprise(number // VOUCHERS_EACH)
            yield (
                f'{{"specversion":"1.0","id":"{self._id()}","source":"urn:uscc:{source}","type":"voucher.issued.v1",'
                f'"subject":"V-{number}","time":"2024-05-01T10:00:00+08:00","datacontenttype":"application/json",'
                f'"data":{{"voucher_id":"V-{number}","programme":"{code}","kind":"cash","amount":"1000000.00",'
                f'"enterprise":{{"uscc":"{holder}","name":"示例科技有限公司","organisation":"enterprise","size":"small",'
                f'"industry":"软件和信息服务业","region":"四川省","prior_year_revenue":"50000000.00"}},'
                f'"contract":{{"number":"HT-2024-{number:07d}","provider":"{provider}","fee":"2000000.00",'
                f'"signed_on":"2024-04-15"}}}}}}'
            ).encode()

    def redemptions(self, vouchers: Sequence[int]) -> Iterator[bytes]:
        """Yield a redemption of 0.01 yuan on each of the vouchers, by their numbers."""
        code, provider = self.programme.code, self.programme.provider
        for voucher in vouchers:
            self._redeemed += 1
            number = self._redeemed
            yield (
                f'{{"specversion":"1.0","id":"{self._id()}","source":"urn:uscc:{provider}","type":"voucher.redeemed.v1",'
                f'"subject":"V-{voucher}","time":"2024-06-01T10:00:00.250+08:00","datacontenttype":"application/json",'
                f'"data":{{"redemption_id":"R-2024-{number:09d}","voucher_id":"V-{voucher}","programme":"{code}",'
                f'"provider":"{provider}","amount":"0.01","order_number":"DD{number:012d}","item":"compute"}}}}'
            ).encode()

    def closures(self, count: int) -> Iterator[bytes]:
        """Yield closures of the quotas of enterprises that have no vouchers."""
        code, source = self.programme.code, self.programme.authority
        for number in range(count):
            holder = enterprise(_CLOSED_FROM + number)
            yield (
                f'{{"specversion":"1.0","id":"{self._id()}","source":"urn:uscc:{source}","type":"quota.exhausted.v1",'
                f'"subject":"{holder}","time":"2024-06-01T18:00:00+08:00","datacontenttype":"application/json",'
                f'"data":{{"programme":"{code}","scope":"enterprise","enterprise":"{holder}","period":"2024"}}}}'
            ).encode()

    def picks(self, count: int, *, hot: bool = False) -> list[int]:
        """Return numbers of issued vouchers, drawn uniformly, or with a few hot ones (Zipf)."""
        if not hot:
            return self._random.choices(range(self.issued), k=count)
        weights = list(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, self.issued + 1)))
        return self._random.choices(range(self.issued), cum_weights=weights, k=count)

    def _id(self) -> str:
        draw = self._random.getrandbits
        if self._ids == "uuid4":
            text = f"{draw(48):012x}4{draw(12):03x}{8 | draw(2):x}{draw(60):015x}"
        else:
            moment = _STARTS_MS + self._ids_made // _EVENTS_A_MS
            text = f"{moment:012x}7{draw(12):03x}{8 | draw(2):x}{draw(60):015x}"
        self._ids_made += 1
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def read(raws: Iterator[bytes], kind: str) -> list[Inbound]:
    """Return the events as the ledger takes them; ``kind`` is the type that their stream carries."""
    return [inbound(decode(raw, kind), raw) for raw in raws]
