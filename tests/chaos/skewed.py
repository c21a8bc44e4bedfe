"""A service whose clock is wrong: ``python -m chaos.skewed SECONDS run SERVICE`` runs it with the ledger's clock so far ahead.

The clock of one process cannot be moved from outside without a library made for it, so it is moved where the ledger reads it; the
rest of the process keeps the machine's time.
"""

import sys
from datetime import datetime, timedelta, tzinfo

from services.cli import main
from services.ledger import append


def move_clock(seconds: float) -> None:
    """Let the ledger of this process take it to be so much later."""
    ahead = timedelta(seconds=seconds)

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Moved":
            return cls.fromtimestamp((datetime.now(tz) + ahead).timestamp(), tz)

    setattr(append, "datetime", Moved)  # noqa: B010  the module names it for itself alone, and looks it up each time


if __name__ == "__main__":
    move_clock(float(sys.argv.pop(1)))
    main()
