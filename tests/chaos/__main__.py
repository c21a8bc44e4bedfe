"""``python -m chaos``, with ``tests`` on the path: one campaign, its report, and 1 as the exit status when anything is wrong."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chaos.campaign import run
from chaos.check import check
from chaos.report import report


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="The fault campaign: docs/testing.md tells of it."
    )
    parser.add_argument("--seconds", type=float, default=300, help="for how long events are published (default 300)")
    parser.add_argument("--seed", type=int, help="what everything done on purpose follows from (default: the time)")
    parser.add_argument(
        "--keep", action="store_true", help="leave the folder with the data and the logs, also when all is well"
    )
    asked = parser.parse_args()
    seed = int(time.time()) if asked.seed is None else asked.seed
    again = f"make chaos SECONDS={asked.seconds:g} SEED={seed}"
    home = Path(tempfile.mkdtemp(prefix="vl-chaos-"))
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {what}", file=sys.stderr, flush=True)

    tell(again)
    try:
        course, found = asyncio.run(run(seed, asked.seconds, home, tell))
        tell("checking")
        print(report(course, found))
        check(found)
    except BaseException as error:
        print(f"\nNOT RIGHT. Again: {again}\nData and logs: {home}", file=sys.stderr)
        if not isinstance(error, AssertionError):
            raise
        print(error, file=sys.stderr)
        return 1
    print(f"\nall is right: {time.monotonic() - began:.0f} s")
    if asked.keep:
        print(f"data and logs: {home}")
    else:
        shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
