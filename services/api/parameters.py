"""The parameters of the routes, each said once: its form, its limits, and what it means."""

from typing import Annotated, Final

from fastapi import Path, Query

from schemas.codes import Code
from schemas.identifiers import PRINTABLE, PROGRAMME_PATTERN, VOUCHER_PATTERN
from services.readmodel.entries import LIMIT_MAX

_POSITION_MAX: Final = 2**63 - 1
LIMIT: Final = 100

Programme = Annotated[
    str, Path(pattern=PROGRAMME_PATTERN, description="A programme's code.", examples=["chengdu-2024"])
]
VoucherPath = Annotated[str, Path(pattern=VOUCHER_PATTERN, description="A voucher's id.", examples=["CD-1"])]
UsccPath = Annotated[
    str,
    Path(
        min_length=1, max_length=64, pattern=PRINTABLE, description="A unified social credit code (USCC, GB 32100).",
        examples=["91510100MA0000001L"],
    ),
]  # fmt: skip
After = Annotated[int, Query(ge=0, le=_POSITION_MAX, description="Only what comes after this position.")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="So many at the most.")]
Enterprise = Annotated[
    str | None, Query(min_length=1, max_length=64, pattern=PRINTABLE, description="Only this enterprise's (USCC).")
]
Provider = Annotated[
    str | None, Query(min_length=1, max_length=64, pattern=PRINTABLE, description="Only this provider's (USCC).")
]
Voucher = Annotated[str | None, Query(pattern=VOUCHER_PATTERN, description="Only those that name this voucher.")]
OfCode = Annotated[Code | None, Query(alias="code", description="Only those with this code.")]
Refused = Annotated[bool, Query(description="Only refusals.")]
QuotaAfter = Annotated[
    str,
    Query(
        max_length=96, pattern=r"^$|^[^\x00-\x1f\x7f/]+/[0-9a-z]+$",
        description="Only what comes after this quota: `next` of the page before.",
    ),
]  # fmt: skip
LetterAfter = Annotated[
    str, Query(pattern=r"^[0-9]{1,15}(-[0-9]{1,15})?$", description="Only what comes after this letter's id.")
]
