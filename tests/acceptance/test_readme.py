"""The README's walk from an event to its notification: its commands are run, and print what it says they print."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("voucher-ledger")
PATIENCE_SECONDS = 60

# What differs from run to run: moments, and the hashes that cover them.
CHANGING = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(?=[Z ])"), "(moment)"),
    (re.compile(r'(?<="hash":")[0-9a-f]{64}'), "(hash)"),
]


def steady(text: str) -> list[str]:
    for pattern, name in CHANGING:
        text = pattern.sub(name, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def walk(readme: str) -> list[tuple[str, str]]:
    """Return the commands that the README shows with their output, in order."""
    shown = []
    for block in re.findall(r"```\n(\$ .*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            shown.append((command, output))
    return shown


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("h")
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    up = subprocess.Popen([COMMAND, "up", "--home", home], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(home, "doctor")
        yield home
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(PATIENCE_SECONDS) == 0


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    environment["VOUCHER_LEDGER_HOME"] = str(home)
    return subprocess.run(
        [COMMAND, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def wait_for(home: Path, *arguments: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while run(home, *arguments).returncode != 0:
        assert time.monotonic() < deadline, run(home, *arguments)
        time.sleep(0.2)


def test_the_walk_is_the_same_in_both_languages() -> None:
    assert walk("README.md") == walk("README.zh-CN.md")


def test_the_commands_print_what_the_readme_says(home: Path) -> None:
    shown = walk("README.md")
    assert len(shown) >= 5
    for command, output in shown:
        program, *arguments = shlex.split(command)
        if program != "voucher-ledger":
            assert (program, output) == (".", ""), "the virtual environment is entered, and nothing else"
            continue
        said = run(home, *arguments)
        assert said.returncode == 0, said
        if arguments[0] == "publish":
            deadline = time.monotonic() + PATIENCE_SECONDS
            while "chengdu-2024:2" not in run(home, "notifications", "chengdu-2024").stdout:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert steady(said.stdout + said.stderr) == steady(output)
