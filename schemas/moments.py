"""Moments and days as RFC 3339 writes them, and nothing else that a parser would also take for one (``"1714528800"``)."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
_OFFSET: Final = r"([Zz]|[+-][0-9]{2}:[0-9]{2})"

# Bounds keep every conversion between time zones, and every year of a cap, inside what a calendar can say.
_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_END: Final = datetime(2100, 1, 1, tzinfo=UTC)


class _Written:
    """A string of one form first, then read as what it says: both steps run inside pydantic-core."""

    def __init__(self, form: str, pattern: str, then: CoreSchema) -> None:
        self.form, self.pattern, self.then = form, pattern, then

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from_text = core_schema.chain_schema([core_schema.str_schema(pattern=self.pattern), self.then])
        return core_schema.json_or_python_schema(
            json_schema=from_text,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(source), from_text]),
            serialization=core_schema.to_string_ser_schema() if self.form == "date" else None,
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": self.form, "pattern": self.pattern}


Instant = Annotated[
    datetime,
    _Written(
        "date-time",
        f"^{_DAY}[Tt ]{_TIME}{_OFFSET}$",
        core_schema.datetime_schema(tz_constraint="aware", ge=_FIRST, lt=_END),
    ),
]
"""A moment with its offset (RFC 3339), from 2000 to 2099."""

Day = Annotated[date, _Written("date", f"^{_DAY}$", core_schema.date_schema(ge=_FIRST.date(), lt=_END.date()))]
"""A calendar day, from 2000 to 2099."""
