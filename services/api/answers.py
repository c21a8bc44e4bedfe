"""Answers as bytes: the documents that the command line prints, as JSON."""

import msgspec
from starlette.responses import Response

encoded = msgspec.json.Encoder().encode
"""From a document to bytes."""


class Document(Response):
    """A JSON document."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the document's bytes."""
        return encoded(content)
