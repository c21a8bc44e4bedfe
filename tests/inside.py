"""Commands run inside the test's process: quicker than as processes of their own, and the same but for that."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from services.cli import app, run


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.out)


Run = Callable[..., Awaitable[Ended]]


def run_inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run_it(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["voucher-ledger", *map(str, arguments)])
        capsys.readouterr()
        status = await asyncio.to_thread(run, app)
        return Ended(status, *capsys.readouterr())

    return run_it
