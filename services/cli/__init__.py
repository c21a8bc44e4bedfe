"""The command line, ``voucher-ledger``. Each command is a module; this one puts them together."""

import sys

from services.cli import demo, letters, programmes, publishing, queues, quoting, reading, serving, setup, verifying  # noqa: F401  each adds its commands
from services.cli.app import app, run


def main() -> None:
    """Run the command line: exit 0 done, 1 found something wrong, 2 bad usage."""
    sys.exit(run(app))
