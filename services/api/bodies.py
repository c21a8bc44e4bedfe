"""Bodies of CloudEvents: one in structured mode, or a batch. Their size is limited before they are read, and each event keeps its bytes."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Request

from schemas.forms import ADAPTERS
from services.api.problems import ProblemError
from services.api.resources import Shared

ONE: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode


async def events_of(request: Request, shared: Shared) -> Sequence[bytes]:
    """Return the bytes of each event of the body, in their order.

    Raises ProblemError: 415 for another media type, 413 for a larger body, 400 for a batch that is no JSON array, 422 for none or more
    events than are taken.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in {ONE, BATCH}:
        raise ProblemError(415, "media_type", f"Send one event as {ONE}, or several as {BATCH}.")
    body = await _limited(request, shared.settings.body_bytes_max)
    if media_type == ONE:
        return [body.strip()]
    try:
        events = [bytes(one).strip() for one in _batch(body)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProblemError(400, "not_a_batch", f"A batch is a JSON array of events: {error}") from None
    at_most = shared.settings.posted_events_max
    if not 1 <= len(events) <= at_most:
        raise ProblemError(422, "batch_size", f"A batch has 1 to {at_most} events, this one {len(events)}.")
    return events


Events = Annotated[Sequence[bytes], Depends(events_of)]
"""The parameter of a route that takes events."""


async def _limited(request: Request, at_most: int) -> bytes:
    length = request.headers.get("content-length", "0")
    body = bytearray()
    if not length.isdigit() or int(length) <= at_most:
        async for part in request.stream():
            body += part
            if len(body) > at_most:
                break
        else:
            return bytes(body)
    raise ProblemError(413, "too_large", f"A body has at most {at_most} bytes.")


def request_body() -> dict[str, Any]:
    """Return what OpenAPI has to say of such a body."""
    event = {"$ref": "#/components/schemas/InboundEvent"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                ONE: {"schema": event},
                BATCH: {"schema": {"type": "array", "minItems": 1, "items": event}},
            },
        }
    }


def schemas() -> dict[str, Any]:
    """Return the forms of the inbound events as components of an OpenAPI document."""
    components: dict[str, Any] = {}
    for name, adapter in ADAPTERS.items():
        form = adapter.json_schema(ref_template="#/components/schemas/Inbound.{model}")
        components |= {f"Inbound.{part}": schema for part, schema in form.pop("$defs", {}).items()}
        components[f"Inbound.{name}"] = form
    one_of = [{"$ref": f"#/components/schemas/Inbound.{name}"} for name in ADAPTERS]
    components["InboundEvent"] = {"title": "InboundEvent", "oneOf": one_of}
    return components
