"""Names of things: enterprises and providers (USCC), vouchers, programmes, and how a producer is written as a source."""

from functools import lru_cache
from typing import Annotated, Final

from pydantic import StringConstraints
from stdnum.cn import uscc

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"

VOUCHER_PATTERN: Final = r"^[A-Za-z0-9._-]{1,64}$"
PROGRAMME_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"
PERIOD_PATTERN: Final = r"^[0-9]{4}$|^programme$"

VoucherId = Annotated[str, StringConstraints(pattern=VOUCHER_PATTERN)]
"""A voucher's id, 1 to 64 of A–Z a–z 0–9 . _ -; unique in its programme."""

ProgrammeCode = Annotated[str, StringConstraints(pattern=PROGRAMME_PATTERN)]
"""A programme's code such as ``chengdu-2024``."""

ClaimedUscc = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE)]
"""What a producer says is a USCC. Whether it is one is a rule of the programme (``enterprise_invalid``), not of the form."""

Number = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
"""The number of a contract, an order or an invoice, or a redemption's id."""

PeriodName = Annotated[str, StringConstraints(pattern=PERIOD_PATTERN)]
"""What a cap counts over: a calendar year of the programme's time zone, or ``programme``."""

SOURCE_PREFIX: Final = "urn:uscc:"
LEDGER_PREFIX: Final = "urn:voucher-ledger:"


@lru_cache(maxsize=65536)
def is_uscc(text: str) -> bool:
    """Whether the text is a 统一社会信用代码 (GB 32100): 18 characters in capitals, with a right check digit."""
    return bool(uscc.is_valid(text)) and uscc.compact(text) == text


def check_uscc(text: str) -> str:
    """Return the text; raise ValueError when it is no USCC."""
    if not is_uscc(text):
        raise ValueError(
            f"{text!r} is not a unified social credit code (USCC, GB 32100): 18 characters, check digit last"
        )
    return text


def source_of(uscc_code: str) -> str:
    """Return the CloudEvents source of a producer, ``urn:uscc:<USCC>``."""
    return SOURCE_PREFIX + uscc_code


def ledger_source(programme: str) -> str:
    """Return the CloudEvents source of a programme's ledger, ``urn:voucher-ledger:<programme>``."""
    return LEDGER_PREFIX + programme
