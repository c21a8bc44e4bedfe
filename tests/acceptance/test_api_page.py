"""The page on the HTTP API: its commands are run, its requests are sent to a running `up`, and answered as it says."""

import http.client
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from commands import answer, run, up
from eventually import eventually_now

from services.api.app import create_app
from services.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")

# What differs from run to run: moments, and the hashes that cover them.
CHANGING = [
    (re.compile(r'(?<="recorded_at":")[^"]+'), "(moment)"),
    (re.compile(r'(?<="hash":")[0-9a-f]{64}'), "(hash)"),
]


def steady(text: str) -> str:
    for pattern, name in CHANGING:
        text = pattern.sub(name, text)
    return text.strip()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("p")
    home = folder / ".voucher-ledger"
    with up(home, folder):
        assert run("publish", str(ROOT / "docs" / "example.ndjson"), cwd=folder).returncode == 0
        found = answer("env", cwd=folder)["monitor_url"]
        eventually_now(lambda: len(entries_at(found)) == 2)
        yield found


def entries_at(url: str) -> list[object]:
    try:
        return json.loads(ask(url, ["curl", "-s", f"{url}/v1/programmes/chengdu-2024/entries"])).get("entries", [])
    except OSError:
        return []


def ask(url: str, command: list[str]) -> str:
    """Do what a curl command says, without curl."""
    program, silent, address, *options = command
    assert (program, silent) == ("curl", "-s")
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert set(given) <= {"-H", "-d"}
    headers = dict([given["-H"].split(": ", 1)]) if "-H" in given else {}
    body = given["-d"].encode() if "-d" in given else None
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request("POST" if body else "GET", target, body, headers)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_the_requests_are_answered_as_the_page_says(url: str):
    shown = [
        part.partition("\n")
        for block in re.findall(r"```\n(\$ curl.*?)```", PAGE, re.DOTALL)
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    assert len(shown) >= 4
    for command, _, output in shown:
        assert steady(ask(url, shlex.split(command))) == steady(output), command


def test_the_commands_on_keys_do_what_the_page_says(tmp_path: Path):
    (block,) = [text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "keys add" in text]
    export, *commands = block.strip().splitlines()
    name, _, value = export.removeprefix("export ").partition("=")
    for command in commands:
        _, *arguments = shlex.split(command, comments=True)
        done = run(*arguments, cwd=tmp_path, **{name: value})
        assert done.returncode == 0, done.stderr
        if "add" in arguments:
            assert re.fullmatch(r"vl_[A-Za-z0-9_-]{43}\n", done.stdout)
    left = answer("keys", "list", cwd=tmp_path, **{name: value})["keys"]
    assert left == [{"name": "chengdu-ai", "scopes": ["provider:91510100MA0000001L"]}]


def test_every_route_is_on_the_page():
    document = create_app(Settings(database_url="postgresql://", redis_url="redis://"), {}).openapi()
    for path in document["paths"]:
        last = path.removeprefix("/v1/programmes/{code}").replace("{voucher_id}", "{id}")
        assert f"{last}`" in PAGE, path
