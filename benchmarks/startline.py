"""A measuring child's side: its task, the start that it shares with others, its figures."""

import json
import sys
from typing import Any


def task() -> dict[str, Any]:
    """Return what this process was asked to measure."""
    document: dict[str, Any] = json.loads(sys.argv[1])
    return document


def wait_for_start() -> None:
    """Say that all is prepared, and return when the others are too."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        raise SystemExit("nobody is there to start this")


def tell(figures: dict[str, Any]) -> None:
    """Give the figures to the process that asked for them; moments are of the clock ``time.monotonic``, which processes share."""
    print(json.dumps(figures), flush=True)
