"""Logs: lines of JSON, without a secret, and without what a failure says of an event; told in the documentation as they are."""

import ast
import contextlib
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog
from pydantic import ValidationError
from redis.exceptions import AuthenticationError

from services import logs
from services.failures import told, trace
from services.passwords import Hider, check_url, without_password
from services.settings import Settings, SettingsError, read_settings

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
EVERY_LINE = {"event", "level", "timestamp", "service"}

SETTINGS = Settings(
    database_url="postgresql://ledger:s3%2Fcret@db/ledger?password=qu3ry",
    migration_database_url="postgresql://owner:0wner-pass@db/ledger",
    redis_url="redis://ledger:br0ker-pass@broker:6379/0",
    log_json=True,
)  # fmt: skip
SECRETS = ["s3%2Fcret", "s3/cret", "qu3ry", "0wner-pass", "br0ker-pass"]
PERSONAL = "91350100M000100Y43 owes 123456.78"


@pytest.fixture
def lines() -> Iterator["Lines"]:
    """Set the logs up as a service does, and take that back."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    with contextlib.redirect_stderr(io.StringIO()) as written:
        logs.set_up(SETTINGS, "issued")
    yield Lines(written)
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, sys.excepthook = handlers, level, hook
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


class Lines:
    def __init__(self, written: io.StringIO) -> None:
        self._written = written

    def read(self) -> list[dict]:
        """Return the lines, each of which has to be JSON."""
        return [json.loads(line) for line in self._written.getvalue().splitlines()]


def fail(error: Exception) -> None:
    raise error


def raised(error: Exception) -> Exception:
    """Return the failure as one that was raised and caught."""
    with pytest.raises(type(error)):
        fail(error)
    return error


def refused_row() -> asyncpg.PostgresError:
    """Return what PostgreSQL says of a row that it refuses: its detail shows the row."""
    error = asyncpg.CheckViolationError('new row for relation "entry" violates check constraint "balance"')
    error.detail = f"Failing row contains ({PERSONAL})"
    return error


# ---- Lines -----------------------------------------------------------------------------------------------------------


def test_a_line_is_json_and_says_when_how_bad_and_of_which_service(lines):
    structlog.get_logger().info("decided", programmes=["chengdu-2024"], message="已受理")
    (line,) = lines.read()
    assert line.keys() >= EVERY_LINE
    assert (line["event"], line["level"], line["service"], line["message"]) == ("decided", "info", "issued", "已受理")
    assert list(line)[:4] == ["timestamp", "level", "service", "event"]
    assert line["timestamp"].endswith("Z")


TWO_LINES = """
import logging, structlog
from services import logs
from services.settings import Settings
logs.set_up(Settings(log_json=True), "issued")
structlog.get_logger().info("one")
logging.getLogger("some.library").warning("two")
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_line_and_its_end_are_one_write_so_that_services_can_share_a_file(unbuffered):
    """A datagram holds what was written at once."""
    written, read = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with written, read:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        subprocess.run([sys.executable, "-c", TWO_LINES], cwd=ROOT, env=environment, stderr=written, check=True)
        read.setblocking(False)
        lines = [read.recv(65_536) for _ in range(2)]
        with pytest.raises(BlockingIOError):
            read.recv(65_536)
    assert [json.loads(line)["event"] for line in lines] == ["one", "two"]
    assert all(line.endswith(b"}\n") for line in lines)


def test_libraries_speak_the_same_way_and_only_of_trouble(lines):
    other = logging.getLogger("some.library")
    other.info("nothing of interest")
    other.warning("connecting to %s", "redis://ledger:br0ker-pass@broker:6379")
    (line,) = lines.read()
    assert (line["event"], line["logger"]) == ("connecting to redis://ledger:***@broker:6379", "some.library")
    assert line.keys() >= EVERY_LINE


def test_a_warning_of_python_s_is_a_line(lines):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("something is old", stacklevel=1)
    (line,) = lines.read()
    assert "something is old" in line["event"]


def test_the_last_words_of_a_process_are_a_line(lines):
    error = raised(KeyError(PERSONAL))
    sys.excepthook(type(error), error, error.__traceback__)
    (line,) = lines.read()
    assert (line["event"], line["level"]) == ("ended by a mistake", "critical")
    assert line["exception"].startswith("KeyError\n  tests/unit/test_logs.py:")


# ---- Secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("shape", ["{}", "a {} b", "postgresql://x:{}@y/z", "host=a password={} user=b"])
def test_a_secret_is_nowhere_in_a_line(lines, secret, shape):
    said = shape.format(secret)
    structlog.get_logger().warning(said, field=said, deep={"of": [said, {said: (said,)}]}, error=OSError(said))
    logging.getLogger("a.library").error("%s", said, exc_info=raised(OSError(said)))
    try:
        fail(ConnectionError(said))
    except ConnectionError:
        structlog.get_logger().exception("failed")
    found = lines.read()
    assert len(found) == 3
    assert secret not in json.dumps(found, ensure_ascii=False)
    assert "***" in json.dumps(found)


def test_a_short_password_is_hidden_in_urls_only():
    hide = Hider(["redis://:abc@host"])
    assert hide("redis://:abc@host gave abc") == "redis://:***@host gave abc"


def test_what_is_no_secret_stays_as_it_is():
    hide = Hider([SETTINGS.database_url])
    value = {
        "positions": {"chengdu-2024": [1, 2]},
        "seconds": 0.5,
        "because": None,
        "ok": True,
        "at": "unix:///run/valkey.sock",
    }
    assert hide(value) == value
    assert (
        without_password("postgresql://postgres@/ledger?host=/run&port=1")
        == "postgresql://postgres@/ledger?host=/run&port=1"
    )
    assert without_password("redis://user:p@ss@host:1/0") == "redis://user:***@host:1/0"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:password@host:5432/ledger",
        "postgresql://user:pass%2Fword@one:5432,two:5433/ledger?target_session_attrs=any",
        "postgresql://postgres@/ledger?host=/run/it&port=5432",
        "redis://host",
        "rediss://:p@ss@[::1]:6379/0",
        "unix://user:password@/run/valkey.sock?db=0",
    ],
)
def test_what_servers_are_named_by_is_a_url(url):
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "host:5432",
        "redis://user:pl/anted@host",
        "redis://user:pl#anted@h",
        "redis://user:pl?anted@h",
        "redis://u:12/34@h",
    ],
)
def test_a_url_whose_password_would_be_taken_for_a_host_is_refused_without_telling_it(url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(SettingsError, match=r"REDIS_URL.*is no URL") as caught:
        read_settings()
    with pytest.raises(ValidationError) as raw:
        Settings()
    for said in (str(caught.value), str(raw.value)):
        assert not re.search("anted|5432|12|34", said.replace("%2F, %40", ""))


# ---- Failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "ConnectionRefusedError: [Errno 111] Connect call failed"),
        (TimeoutError(), "TimeoutError"),
        (AuthenticationError("invalid username-password pair"), "AuthenticationError: invalid username-password pair"),
        (asyncpg.DeadlockDetectedError("deadlock detected"), "DeadlockDetectedError: deadlock detected"),
        (asyncpg.InterfaceError("connection is closed"), "InterfaceError: connection is closed"),
        (SettingsError("DATABASE_URL is not set"), "SettingsError: DATABASE_URL is not set"),
        (refused_row(), 'CheckViolationError: new row for relation "entry" violates check constraint "balance"'),
        (asyncpg.StringDataRightTruncationError(PERSONAL), "StringDataRightTruncationError: 22001"),
        (asyncpg.exceptions._base.DataError(PERSONAL), "DataError"),
        (KeyError(PERSONAL), "KeyError"),
        (ValueError(PERSONAL), "ValueError"),
        (UnicodeEncodeError("utf-8", PERSONAL, 0, 1, PERSONAL), "UnicodeEncodeError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_of_a_failure_only_what_cannot_be_about_an_event_is_told(error, text):
    assert told(error) == text


def test_what_a_failure_came_of_is_told_without_its_words():
    def inner():
        raise KeyError(PERSONAL)

    try:
        try:
            inner()
        except KeyError as error:
            raise ExceptionGroup(PERSONAL, [ValueError(PERSONAL), refused_row()]) from error
    except ExceptionGroup as group:
        group.exceptions[0].__cause__ = group  # a circle does not go round for ever
        text = trace(group)
    assert PERSONAL not in text
    here = r"  tests/unit/test_logs.py:\d+ in "
    wanted = rf"ExceptionGroup\n{here}\w+\nof\nValueError\nof\nCheckViolationError: .*balance\"\nof\nKeyError\n{here}\w+\n{here}inner"
    assert re.fullmatch(wanted, text), text


def test_what_a_library_says_of_a_failure_is_told_without_its_words(lines):
    for error in (KeyError(PERSONAL), refused_row()):
        logging.getLogger("a.library").error(f"{type(error).__name__}: {error}", exc_info=raised(error))  # noqa: G004
    try:
        fail(ValueError(PERSONAL))
    except ValueError:
        structlog.get_logger().exception("undecidable")
    found = lines.read()
    assert [line["exception"].splitlines()[0].partition(":")[0] for line in found] == [
        "KeyError",
        "CheckViolationError",
        "ValueError",
    ]
    assert PERSONAL not in json.dumps(found)


# ---- The documentation -----------------------------------------------------------------------------------------------


def lines_in_the_code() -> dict[str, tuple[str, frozenset[str]]]:
    """Return the level and the fields of every line that the services can write, by its name."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    ast.Attribute(ast.Name("log") | ast.Call(ast.Attribute(_, "get_logger")), level),
                    [ast.Constant(str(name))],
                    keywords,
                ):
                    if level not in LEVELS:
                        continue
                    fields = {"exception" if one.arg == "exc_info" else one.arg for one in keywords}
                    if level == "exception":
                        level, fields = "error", fields | {"exception"}
                    assert name not in found, f"two lines are called {name!r}"
                    found[name] = level, frozenset(fields)
    return found


def test_the_documentation_has_every_line_with_its_level_and_its_fields():
    text = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("| `")]
    documented = {row[0].strip("`"): (row[1], frozenset(re.findall("`(.*?)`", row[3]))) for row in rows}
    assert documented == lines_in_the_code()


def test_the_documentation_s_example_has_the_fields_that_it_says():
    text = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)\n```", text)
    line = json.loads(example)
    assert line.keys() == lines_in_the_code()[line["event"]][1] | EVERY_LINE
