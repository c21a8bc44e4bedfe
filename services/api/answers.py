"""Answers as bytes: the documents that the command line prints, as JSON."""

import msgspec
from starlette.responses import JSONResponse

encoded = msgspec.json.Encoder().encode
"""From a document to bytes."""


class Document(JSONResponse):
    """A JSON document."""

    def render(self, content: object) -> bytes:
        """Return the document's bytes."""
        return encoded(content)
