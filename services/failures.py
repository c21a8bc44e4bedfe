"""What is told of a failure: enough to mend it, and nothing of an event. A failure's own text may have the event in it.

PostgreSQL's details show the row that it refused, Python's messages the value that was wrong. So only those texts are told that can
be about nothing but servers and settings; of any other failure its kind, and where it happened. What an event's failure said is kept
with the event, in its dead letter.
"""

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
from redis.exceptions import RedisError

_ROOT: Final = Path(__file__).parents[1]
_LIBRARIES: Final = "site-packages/"
_GROUP_GONE: Final = "StreamGroupNotFoundError"
"""FastStream's, which names a stream and a group. By its name, since its module takes long to import."""


def told(error: BaseException) -> str:
    """Return a failure in one line: its kind, with its text where that is about servers or settings."""
    kind, text = type(error).__name__, _text(error)
    return f"{kind}: {text}" if text else kind


def trace(error: BaseException) -> str:
    """Return a failure as it is told, where it came from, the outermost call first, and then the same of those that it came of."""
    return "\n".join(_lines(error, set()))


def place(filename: str) -> str:
    """Return a file's path from this project's root, or from that of the library it is of."""
    path = Path(filename)
    if path.is_relative_to(_ROOT) and _LIBRARIES not in filename:
        return path.relative_to(_ROOT).as_posix()
    return filename.rpartition(_LIBRARIES)[2]


def _text(error: BaseException) -> str:
    if type(error).__module__.startswith("services.") or type(error).__name__ == _GROUP_GONE:
        return str(error)
    match error:
        case asyncpg.DataError():
            return str(error.sqlstate)
        case asyncpg.PostgresError():
            # Its detail, which str() would add, may show the row.
            return str(error.args[0])
        case ValueError():
            return ""
        case OSError() | RedisError() | asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return str(error)
    return ""


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    yield told(error)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {place(frame.filename)}:{frame.lineno} in {frame.name}"
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for came_of in (*parts, before):
        if came_of is not None and id(came_of) not in seen:
            yield "of"
            yield from _lines(came_of, seen)
