"""A dead letter as it stands on its stream: the original bytes, why they could be no entry of a ledger, and where they came from."""

from typing import Annotated

from pydantic import BaseModel, Field

from schemas.codes import DeadLetterReason
from schemas.moments import Instant


class DeadLetter(BaseModel):
    """What could not be decided. Each of these is a field of the stream's entry."""

    event: Annotated[str, Field(description="as it was sent: any bytes, not only JSON")]
    stream: str
    entry_id: Annotated[str, Field(pattern="^[0-9]+-[0-9]+$", description="<milliseconds>-<number>")]
    reason: DeadLetterReason
    detail: Annotated[str, Field(max_length=500)]
    failed_at: Instant
