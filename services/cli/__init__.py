"""The command line, ``voucher-ledger``. Each command is a module; this one puts them together."""

import sys
from types import ModuleType
from typing import Final

from services.cli import (
    demo,
    keys,
    letters,
    producers,
    programmes,
    publishing,
    queues,
    quoting,
    reading,
    readmodel,
    running,
    serving,
    setup,
    telling,
    verifying,
)
from services.cli.app import app, run

COMMANDS: Final[tuple[ModuleType, ...]] = (
    demo, serving, running, setup, publishing, quoting, programmes, reading, queues, letters, telling, verifying, producers, keys,
    readmodel,
)  # fmt: skip
"""The modules that add their commands to the app by being imported."""


def main() -> None:
    """Run the command line: exit 0 done, 1 found something wrong, 2 bad usage."""
    sys.exit(run(app))
