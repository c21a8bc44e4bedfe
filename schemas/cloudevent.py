"""The CloudEvents 1.0 envelope, structured mode, as this project takes it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from schemas.identifiers import PRINTABLE
from schemas.moments import Instant


class CloudEvent(BaseModel):
    """The attributes that every inbound event carries. Unknown ones are allowed, and kept with the original bytes."""

    model_config = ConfigDict(extra="ignore")

    specversion: Literal["1.0"]
    id: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
    source: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE)]
    subject: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE)] | None = None
    time: Instant

    @property
    def subject_of_data(self) -> str | None:
        """What ``subject`` has to be, from the data; None where it may be anything."""
        return None

    @model_validator(mode="after")
    def _subject_agrees(self) -> Self:
        wanted = self.subject_of_data
        if wanted is not None and self.subject is not None and self.subject != wanted:
            raise ValueError(f"subject is {self.subject!r}, but the data is about {wanted!r}")
        return self
