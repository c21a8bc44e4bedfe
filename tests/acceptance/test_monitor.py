"""The monitor's pages in a real browser, on all services as they run: what an operator sees, and what only an operator can do."""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import commands
import pytest
from browser import page_of, started
from commands import answer, run, services_of, up, write_events
from events_made import issue_event, providers_of, raw, redemption_event, uscc
from eventually import eventually_now
from playwright.sync_api import Browser, Error, Page, expect
from redis.asyncio import Redis

from services.acts import user_of_the_system
from services.broker import DEAD_LETTERS
from services.cli.home import read_note
from services.keys import read_keys, write_keys

Result = TypeVar("Result")

CHENGDU = "chengdu-2024"
ISSUED = f"voucher.issued:{CHENGDU}"
PROVIDER, OTHER_PROVIDER = providers_of(CHENGDU)
SCREENSHOTS = os.environ.get("VOUCHER_LEDGER_SCREENSHOTS") or None
"""A folder to keep screenshots in (`make screenshots`)."""
SECONDS_TO_SEE_IT = 5.0

pytestmark = pytest.mark.timeout(600)


class Running(NamedTuple):
    """What is up, where, and the keys of two people."""

    url: str
    folder: Path
    home: Path
    pid: int
    operator: str
    auditor: str


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("monitor")
    home, keys = folder / ".voucher-ledger", {"VOUCHER_LEDGER_KEYS_FILE": str(folder / "keys.toml")}
    operator = answer("keys", "add", "chen", "--scope", "operator", cwd=folder, **keys)["key"]
    auditor = answer("keys", "add", "audit-office", "--scope", "auditor", cwd=folder, **keys)["key"]
    quick = {"VOUCHER_LEDGER_BLOCK_MS": "200", "VOUCHER_LEDGER_MONITOR_PORT": "0"}
    with up(home, folder, **keys, **quick) as process:
        note = read_note(home)
        assert note is not None
        assert note.monitor_url is not None
        feed(folder)
        eventually_now(lambda: run("doctor", cwd=folder).returncode == 0, 60)
        yield Running(note.monitor_url, folder, home, process.pid, operator, auditor)
    said = (folder / "up.log").read_text().splitlines()
    assert [line for line in said if "Traceback" in line and "services/monitor" in line] == []


def feed(folder: Path) -> None:
    """Publish enterprises at every share of their caps, uses, and refusals."""
    events = []
    for number in range(24):
        voucher, enterprise = f"CD-2024-{number:04d}", uscc(number)
        events.append(issue_event(voucher, enterprise=enterprise, amount=f"{40_000 * (1 + number % 20)}.00"))
        used = {"provider": (PROVIDER, OTHER_PROVIDER)[number % 2], "amount": f"{7_000 * (1 + number % 5)}.00"}
        events += [redemption_event(voucher, use, **used) for use in range(number % 4)]
    events += [issue_event(f"CD-2024-9{number}", enterprise=uscc(19), amount="600000.00") for number in range(3)]
    events.append(redemption_event("CD-2024-0001", 9, amount="999000.00"))
    events.append(redemption_event("NOT-YET", 1))
    published = run("publish", str(write_events(folder / "events.ndjson", *events)), cwd=folder)
    assert published.returncode == 0, published.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


def on_broker(home: Path, act: Callable[[Redis], Awaitable[Result]]) -> Result:
    """Do something on the broker, on a loop of its own: the browser has one in this thread."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(commands.on_broker, home, act).result()


def log_in(page: Page, key: str, path: str = "/") -> None:
    page.goto(path)
    page.locator("#key").fill(key)
    page.locator("form.login button").click()
    page.wait_for_url(f"**{path}")


def send_garbage(home: Path, *events: bytes) -> None:
    """Put events onto the issue stream as a producer could that does not know how."""

    async def send(client) -> None:
        for event in events:
            await client.xadd(ISSUED, {"event": event})

    before = kept(home)
    on_broker(home, send)
    eventually_now(lambda: kept(home) == before + len(events))


def kept(home: Path) -> int:
    return on_broker(home, lambda client: client.xlen(DEAD_LETTERS))


def discard_all(running: Running) -> None:
    answer("dead-letters", "discard", "--all", cwd=running.folder)


def shot(page: Page, name: str, height: int | None = None) -> None:
    """Keep what the page shows, or so much of its top, where screenshots are wanted."""
    if SCREENSHOTS is not None:
        size = page.viewport_size
        assert size is not None
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", clip=clip)


def test_a_stuck_consumer_is_on_the_page_within_seconds_and_so_is_its_recovery(running, browser):
    issued = next(pid for pid in services_of(running.pid) if b"issued" in Path(f"/proc/{pid}/cmdline").read_bytes())
    with page_of(browser, running.url) as page:
        log_in(page, running.operator)
        headline = page.locator("h1.headline")
        expect(headline).to_contain_text("keep up")
        row = page.locator("table.streams tbody tr", has=page.locator(f'a[href="/streams/{ISSUED}"]'))
        expect(row).to_contain_text(re.compile("Quiet|Keeping up"))
        way = row.get_by_role("link").first
        way.focus()
        os.kill(issued, signal.SIGSTOP)
        try:
            run("publish", str(write_events(running.folder / "late.ndjson", issue_event("LATE"))), cwd=running.folder)
            began = time.monotonic()
            # Looked at often: what is expected is looked at once a second in the end.
            page.wait_for_function("row => row.textContent.includes('Stuck')", arg=row.element_handle(), polling=50)
            took = time.monotonic() - began
            print(
                f"\na consumer that was stopped is on the page as stuck within {took:.1f} s of the first event that waits"
            )
            expect(row).to_contain_text("no consumer has asked for")
            # What changes beside it does not take the keyboard's place away.
            expect(way).to_be_focused()
            expect(headline).to_contain_text(re.compile(r"\d+ of \d+ streams need someone"))
            expect(page.locator(".troubled")).to_contain_text("Issues")
            shot(page, "monitor-stuck")
            assert took < SECONDS_TO_SEE_IT
        finally:
            os.kill(issued, signal.SIGCONT)
        expect(headline).to_contain_text("keep up")
        expect(row.locator("td").nth(2)).to_have_text("0")


def test_a_replay_empties_the_list_of_exactly_what_was_shown_and_is_in_the_log(running, browser):
    discard_all(running)
    late = raw(issue_event("CD-2024-REPLAYED", enterprise=uscc(77)))
    # Letters of two reasons: what is not JSON stays what it is; the other is of an authority whose event came by a wrong stream.
    # One after the other: several readers may put them aside in any order.
    send_garbage(running.home, b'{"specversion": "1.0", not json')
    send_garbage(running.home, b"\x00\x01<b>bytes</b>")
    wrong = json.dumps(json.loads(late) | {"source": f"urn:uscc:{PROVIDER}"}).encode()
    send_garbage(running.home, wrong)
    with page_of(browser, running.url) as page:
        log_in(page, running.operator, "/dead-letters")
        rows = page.locator("table.letters tbody tr")
        expect(rows).to_have_count(3)
        page.goto("/dead-letters?reason=not_json")
        expect(rows).to_have_count(2)
        rows.nth(1).get_by_role("button").click()
        expect(page.locator(".letter pre")).to_contain_text("00 01 3c 62 3e")
        expect(page.locator(".letter pre")).to_contain_text("<b>bytes</b>")
        page.keyboard.press("Escape")
        replay = page.locator("button.replay")
        expect(replay).to_contain_text("Replay 2")
        replay.click()
        expect(page.locator(".confirm h2")).to_have_text("Replay 2 dead letters?")
        shown = [one.get_attribute("data-id") for one in rows.locator("[data-id]").all()]
        assert len(shown) == 2
        # One more comes while the question stands: it was not shown.
        send_garbage(running.home, b"came since")
        expect(rows).to_have_count(3)
        page.get_by_role("button", name="Replay 2", exact=True).click()
        expect(page.locator(".q-notification")).to_contain_text("2 replayed.")
        # Sent again, they fail again: three of this reason now, and two that are no longer there.
        eventually_now(lambda: kept(running.home) == 4)
        for letter in shown:
            expect(rows.locator(f'[data-id="{letter}"]')).to_have_count(0)
        expect(rows).to_have_count(3)
        expect(rows).to_contain_text(["not JSON"] * 3)
        page.locator("button.discard").click()
        expect(page.locator(".confirm h2")).to_have_text("Discard 3 dead letters?")
        page.wait_for_timeout(500 if SCREENSHOTS else 0)  # until the picture stands still
        shot(page, "monitor-letters")
        page.get_by_role("button", name="Discard 3", exact=True).click()
        expect(page.locator(".nothing")).to_be_visible()
        expect(rows).to_have_count(0)
        page.goto("/dead-letters")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("wrong_stream")
        page.goto("/log")
        acts = page.locator("table.acts tbody tr")
        expect(acts.nth(0)).to_contain_text("discarded")
        expect(acts.nth(0)).to_contain_text("chen")
        expect(acts.nth(3)).to_contain_text("replayed")
    logged = answer("dead-letters", "log", "--limit", "5", cwd=running.folder)["acts"]
    assert [(act["action"], act["outcome"]) for act in logged] == [("discard", "done")] * 3 + [("replay", "done")] * 2
    assert {(act["who"], act["through"], act["stream"]) for act in logged} == {("chen", "monitor", ISSUED)}
    assert kept(running.home) == 1


def test_a_mended_cause_and_a_replay_leave_an_empty_list(running, browser):
    """The event is right, only its stream was not: sent where it belongs, it is decided."""
    discard_all(running)
    event = issue_event("CD-2024-MENDED", enterprise=uscc(88), amount="50000.00")

    async def as_a_letter(client) -> None:
        fields = {
            "event": raw(event),
            "stream": ISSUED,
            "entry_id": "1-0",
            "reason": "undecidable",
            "detail": "a bug",
            "failed_at": "",
        }
        await client.xadd(DEAD_LETTERS, fields)

    on_broker(running.home, as_a_letter)
    with page_of(browser, running.url) as page:
        log_in(page, running.operator, "/dead-letters")
        expect(page.locator("table.letters tbody tr")).to_have_count(1)
        page.locator("button.replay").click()
        page.get_by_role("button", name="Replay 1", exact=True).click()
        expect(page.locator("table.letters tbody tr")).to_have_count(0)
        page.goto(f"/programmes/{CHENGDU}/find?name=CD-2024-MENDED")
        expect(page.locator(".account")).to_contain_text("Active")
        expect(page.locator(".account")).to_contain_text("50,000.00")


def test_a_reader_cannot_act_also_not_by_asking_the_server_directly(running, browser):
    discard_all(running)
    send_garbage(running.home, b"a reader's eyes only")
    with page_of(browser, running.url) as page:
        log_in(page, running.auditor, "/dead-letters")
        expect(page.locator("table.letters tbody tr")).to_have_count(1)
        expect(page.locator("button.replay, button.discard")).to_have_count(0)
        expect(page.locator(".acting")).to_contain_text("Log in with an operator's key")
        # Every element of this page is clicked by hand, past what the page offers: each event that its buttons would send.
        page.evaluate("""() => {
          for (let id = 0; id < 400; id++)
            window.socket.emit('event', {id, client_id: window.clientId, listener_id: '0', args: ['{}']});
        }""")
        paths = ("/dead-letters", "/log", "/v1/dead-letters", "/v1/dead-letters/replay", "/dead-letters/replay")
        asked = [page.request.fetch(path, method=method) for path in paths for method in ("POST", "PUT", "DELETE")]
        assert {one.status for one in asked} <= {401, 403, 404, 405}
    assert kept(running.home) == 1


def test_what_a_letter_says_is_shown_and_never_run(running, browser):
    discard_all(running)
    markup = '<img id="evil" src="/x" onerror="window.evil = 1">'

    async def hostile(client) -> None:
        names = ("event", "stream", "entry_id", "reason", "detail", "failed_at")
        await client.xadd(DEAD_LETTERS, dict.fromkeys(names, f"{markup}{{{{ 7 * 7 }}}}"))

    on_broker(running.home, hostile)
    with page_of(browser, running.url) as page:
        log_in(page, running.operator, "/dead-letters")
        row = page.locator("table.letters tbody tr")
        expect(row).to_contain_text(markup)
        row.get_by_role("button").click()
        expect(page.locator(".letter")).to_contain_text("{{ 7 * 7 }}")
        assert page.locator("#evil").count() == 0
        assert page.evaluate("window.evil") is None
        page.goto("/programmes/<b>nowhere/enterprises/<b>nobody")
        expect(page.locator("h1")).to_contain_text("There is nothing of")
        page.goto(f"/programmes/{CHENGDU}/find?name={uscc(1234)}")
        expect(page.locator("#content")).to_contain_text("Nothing was refused to it.")
    discard_all(running)


def test_a_reader_cannot_act_through_an_operator_s_page_either(running, browser):
    """Who knows the number of an operator's page, from a proxy's log, say, and that of its button."""
    discard_all(running)
    send_garbage(running.home, b"one")
    with page_of(browser, running.url) as theirs, page_of(browser, running.url) as mine:
        log_in(theirs, running.operator, "/dead-letters")
        expect(theirs.locator("button.discard")).to_contain_text("Discard 1")
        button = theirs.evaluate("""() => {
          const at = document.querySelector('button.discard').id.replace('c', '');
          return {id: Number(at), client_id: window.clientId, listener_id: mounted_app.elements[at].events[0].listener_id, args: ['{}']};
        }""")
        log_in(mine, running.auditor, "/dead-letters")
        mine.evaluate("button => window.socket.emit('event', button)", button)
        mine.evaluate(
            "button => window.socket.emit('handshake', {client_id: button.client_id, tab_id: 'x', document_id: 'y'})",
            button,
        )
        polled = f"/_nicegui_ws/socket.io/?EIO=4&transport=polling&client_id={button['client_id']}"
        assert mine.request.get(polled).status == 403
        assert theirs.request.get(polled).status == 200
        # What was emitted before is answered before: this one is by the operator's own page.
        expect(theirs.locator(".confirm")).to_have_count(0)
        theirs.evaluate("button => window.socket.emit('event', button)", button)
        expect(theirs.locator(".confirm")).to_have_count(1)
    assert kept(running.home) == 1


def test_an_operator_whose_key_is_taken_away_cannot_act_any_more(running, browser):
    discard_all(running)
    send_garbage(running.home, b"one")
    keys = {"VOUCHER_LEDGER_KEYS_FILE": str(running.folder / "keys.toml")}
    key = answer("keys", "add", "leaver", "--scope", "operator", cwd=running.folder, **keys)["key"]
    with page_of(browser, running.url) as page:
        log_in(page, key, "/dead-letters")
        page.locator("button.discard").click()
        confirm = page.get_by_role("button", name="Discard 1", exact=True)
        confirm.click(trial=True)  # until it stands still
        button = confirm.element_handle()
        file = running.folder / "keys.toml"
        write_keys(file, [one for one in read_keys(file) if one.name != "leaver"])
        with contextlib.suppress(Error):  # at once, before the page has noticed, or a moment after
            button.evaluate("button => button.click()")
        page.wait_for_url("**/login?**")
        expect(page.locator("#key")).to_be_visible()
    assert kept(running.home) == 1
    discard_all(running)
    (act,) = answer("dead-letters", "log", "--limit", "1", cwd=running.folder)["acts"]
    assert (act["who"], act["through"], act["outcome"]) == (user_of_the_system(), "command line", "done")


def test_without_a_key_nothing_is_seen_and_a_wrong_one_opens_nothing(running, browser):
    with page_of(browser, running.url) as page:
        for path in ("/", "/dead-letters", f"/programmes/{CHENGDU}", "/log", f"/streams/{ISSUED}"):
            page.goto(path)
            expect(page.locator("#key")).to_be_visible()
        page.locator("#key").fill("vl_wrong")
        page.locator("form.login button").click()
        expect(page.locator(".wrong")).to_have_text("This key does not count here.")


def test_a_programme_an_enterprise_and_why_something_was_refused(running, browser):
    assert answer("verify", CHENGDU, cwd=running.folder)["ok"]
    with page_of(browser, running.url) as page:
        log_in(page, running.operator, f"/programmes/{CHENGDU}")
        expect(page.locator("h1")).to_have_text("Chengdu compute vouchers 2024")
        statement = answer("statement", CHENGDU, cwd=running.folder)
        issued = f"{int(statement['budget']['issued'].split('.')[0]):,}"
        expect(page.locator(".legend")).to_contain_text(issued)
        shot(page, "monitor-programme")
        page.get_by_role("link", name=uscc(19), exact=True).first.click()
        expect(page.locator("h1")).to_have_text(uscc(19))
        refusals = page.locator("table.entries tbody tr")
        expect(refusals).to_contain_text(["exceeds_annual_cap"] * 3)
        page.goto("/")
        ledgers = page.locator("table.ledgers tbody tr", has_text="Chengdu")
        expect(ledgers).to_contain_text("right, up to")
        shot(page, "monitor-streams")


def test_languages_light_and_widths(running, browser):
    with page_of(browser, running.url, language="zh-CN", dark=True, width=1920, height=1080) as page:
        log_in(page, running.operator)
        expect(page.locator("h1.headline")).to_contain_text("消息流处理及时")
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
        shot(page, "monitor-wall", height=820)
        page.get_by_role("link", name="English").click()
        expect(page.locator("h1.headline")).to_contain_text("keep up")
        page.get_by_role("link", name="Theme: auto").click()
        page.get_by_role("link", name="Theme: light").wait_for()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 246, 244)"
    with page_of(browser, running.url, language="zh-CN", width=390, height=844) as page:
        log_in(page, running.operator, f"/programmes/{CHENGDU}")
        for path in (f"/programmes/{CHENGDU}", "/", "/dead-letters", "/programmes", "/log"):
            page.goto(path)
            page.locator("#content h1").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        page.goto("/")
        expect(page.locator("h1.headline")).to_contain_text("消息流")
        shot(page, "monitor-phone")


def test_the_pages_are_the_browser_s_alone_and_leave_the_api_what_is_its(running, browser):
    with page_of(browser, running.url) as page:
        headers = page.request.get("/login").headers
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert page.request.get("/v1/nothing").headers["content-type"] == "application/problem+json"
        assert page.request.get("/livez").json()["ok"]
        form = {"key": running.operator, "back": "https://evil.example/"}
        answered = page.request.post("/login", form=form, max_redirects=0)
        assert answered.headers["location"] == "/"
        assert all(word in answered.headers["set-cookie"].lower() for word in ("httponly", "samesite=strict"))
        assert page.request.post("/login", form=form, headers={"origin": "https://evil.example"}).status == 403
        assert page.request.post("/login", form={"key": "x" * 9_000}).status == 413
