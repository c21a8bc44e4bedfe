"""Logs: structlog to stderr, JSON lines in production, readable ones on a terminal. Never a secret, never a person's details.

Each line and its fields are in ``docs/logs.md``. What other packages log comes the same way, when it is a warning or worse.
"""

import logging
import sys
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Final

import stamina.instrumentation
import structlog

from services.failures import told, trace
from services.passwords import Hider
from services.settings import Settings

Line = MutableMapping[str, Any]

_FIRST: Final = ("timestamp", "level", "service", "event")


def set_up(settings: Settings, service: str) -> None:
    """Send this process's logs to stderr, each line naming the service; what ends the process is a line of it too."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    as_json = settings.log_json if settings.log_json is not None else not sys.stderr.isatty()
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False) if as_json else structlog.dev.ConsoleRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _tell_failure,
        _Hide(Hider((settings.database_url, settings.migration_database_url, settings.redis_url))),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # A line and its end in one write, also where Python does not buffer (PYTHONUNBUFFERED, as in the image): services
        # that share one file or pipe would otherwise break each other's lines.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[
        structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer,
    ], foreign_pre_chain=[_name_logger, *shared]))  # fmt: skip
    # Libraries speak only when something is wrong.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)
    # Whoever tries again says so itself.
    stamina.instrumentation.set_on_retry_hooks(())
    sys.excepthook = _ended


def _ended(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, where)
    else:
        structlog.get_logger().critical("ended by a mistake", exc_info=error)


def _tell_failure(_: object, __: str, line: Line) -> Line:
    """Put where a failure came from in the place of the failure itself. Its text is not told where it may be about an event."""
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        line["exception"] = trace(error)
        # Other packages put a failure's text into their message.
        if text := str(error):
            line["event"] = str(line["event"]).replace(text, told(error))
    return line


def _name_logger(_: object, __: str, line: Line) -> Line:
    line["logger"] = line["_record"].name
    return line


class _Hide:
    """The last to see a line before it is written: without secrets, and what every line has comes first in it."""

    def __init__(self, hide: Hider) -> None:
        self._hide = hide

    def __call__(self, _: object, __: str, line: Line) -> Line:
        ordered = {**{name: line[name] for name in _FIRST if name in line}, **line}
        # What structlog hands on for itself begins with an underscore.
        return {name: value if name.startswith("_") else self._hide(value) for name, value in ordered.items()}
