"""What the answers' forms have in common, and what a route says of itself in the OpenAPI document.

The forms are what the documents of ``services.ledger`` and ``services.readmodel`` look like: those of ledgers in ``told_of_ledgers``,
of streams in ``told_of_streams``. The documents are made there, and not read through these; tests hold each answer against them.
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, StringConstraints

from services.api.problems import Problem

Yuan = Annotated[str, StringConstraints(pattern=r"^-?[0-9]+\.[0-9]{2}$")]
"""CNY, a decimal string with two decimals."""
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Message(Answer):
    """One sentence for people, in both languages."""

    zh: str
    en: str


_PROBLEMS: Final = {
    400: "The body cannot be read.",
    401: "No key, or an unknown one.",
    403: "The key is not good for this.",
    404: "There is none.",
    413: "The body is too large.",
    415: "Another media type is wanted.",
    422: "The request is not valid, or nothing in it is.",
    503: "A server behind this one is away: try again.",
}

Responses = dict[int | str, dict[str, Any]]


def answers(form: type[BaseModel], *problems: int, status: int = 200) -> Responses:
    """Return what a route answers: its form, and the problems that there can be; those of every route are added."""
    found: Responses = {status: {"model": form}}
    for number in sorted({401, 403, 422, 503, *problems}):
        found[number] = {"model": Problem, "description": _PROBLEMS[number]}
    return found
