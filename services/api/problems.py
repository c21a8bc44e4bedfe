"""What goes wrong, as RFC 9457 has it: ``application/problem+json``, with a type that a program can go by."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.api.answers import encoded
from services.failures import told
from services.keys import KeysError
from services.ledger.heads import ProgrammeUnknownError

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:voucher-ledger:problem:"
RETRY_AFTER_SECONDS: Final = 2


class Problem(BaseModel):
    """What went wrong (RFC 9457). ``type`` ends in a code; ``detail`` is for people."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


class ProblemError(Exception):
    """The request cannot be answered: the status, a code, and a sentence for people; ``more`` goes into the document too."""

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.more = more


def respond(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """Return the answer that says a problem."""
    title = HTTPStatus(status).phrase
    body = encoded({"type": TYPE_PREFIX + code, "title": title, "status": status, "detail": detail, **more})
    headers = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="voucher-ledger"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    return Response(body, status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let the app tell every failure as a problem."""
    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
        ProblemError: _told,
        HTTPException: _http,
        RequestValidationError: _invalid,
        ProgrammeUnknownError: _programme_unknown,
        KeysError: _keys,
        asyncpg.PostgresError: _away,
        asyncpg.InterfaceError: _away,
        RedisError: _away,
        OSError: _away,
        Exception: _mistake,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _told(_: Request, error: ProblemError) -> Response:
    return respond(error.status, error.code, error.detail, **error.more)


async def _http(_: Request, error: HTTPException) -> Response:
    code = HTTPStatus(error.status_code).name.lower()
    return respond(error.status_code, code, str(error.detail), dict(error.headers or {}))


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return respond(422, "invalid_request", "; ".join(wrong))


async def _programme_unknown(_: Request, error: ProgrammeUnknownError) -> Response:
    return respond(404, "programme_unknown", str(error.args[0]))


async def _keys(_: Request, error: KeysError) -> Response:
    log.error("keys cannot be read", because=str(error))
    return respond(503, "keys_unreadable", "The file of keys cannot be read: nobody is let in until it can.")


async def _away(_: Request, error: Exception) -> Response:
    """Say that a server is away, and to the log only what it said."""
    log.warning("not answered", because=told(error))
    what = "broker" if isinstance(error, RedisError) else "database"
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.InvalidSchemaNameError):
        return respond(503, "not_migrated", "The database's tables are not up to date: `voucher-ledger migrate`.")
    return respond(503, f"{what}_away", f"The {what} is away, or refuses us: try again.")


async def _mistake(request: Request, error: Exception) -> Response:
    log.error("a mistake of ours", path=request.url.path, exc_info=error)
    return respond(500, "mistake", "This is a mistake of ours; it was logged.")
