"""Spoilt lines, and dead letters of any bytes, through the commands: each wrong line is named, and nothing gets past or falls over."""

import random
import re
from random import Random

import contract
import pytest
from events_made import authority_of, issue_event, raw, redemption_event, shipped
from many import tries
from spoiling import NAMES, VALUES, spoil

from schemas.identifiers import SOURCE_PREFIX
from services.broker import DEAD_LETTERS, inbound_streams

CHENGDU = "chengdu-2024"
ISSUED = f"voucher.issued:{CHENGDU}"
AUTHORITIES = {code: authority_of(code) for code in shipped()}
STREAMS = {stream.key for stream in inbound_streams(shipped())}
TOLD = re.compile(r"line ([0-9]+): ([a-z_]+): ")
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def lines(chance: Random, count: int) -> list[bytes]:
    """Return good events of either kind and spoilt ones, a line each."""
    made = [event for number in range(5) for event in (issue_event(f"L{number}"), redemption_event(f"L{number}"))]
    spoilt = [spoil(chance, chance.choice(made), made).raw.replace(b"\n", b" ") for _ in range(count)]
    found = [*(raw(event) for event in made), *spoilt, b"", b" \t", b"\x0b"]
    chance.shuffle(found)
    return found


def refused(line: bytes) -> str | None:
    """Return the reason why no consumer would take the line, None where one would."""
    try:
        said = contract.said(line, None)
    except contract.NotReadError as error:
        return str(error)
    data, kind = said["data"], next(kind for kind in contract.KINDS if kind_is(line, kind))
    if data["programme"] not in AUTHORITIES:
        return "programme_unknown"
    key = f"{kind}:{data['provider'] if kind == 'voucher.redeemed' else data['programme']}"
    return contract.refused_on(key, line, AUTHORITIES) if key in STREAMS else "wrong_stream"


def kind_is(line: bytes, kind: str) -> bool:
    try:
        contract.said(line, f"{kind}.v1")
    except contract.NotReadError:
        return False
    return True


@pytest.fixture
def content() -> list[bytes]:
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    return lines(Random(seed), tries(150))


def wrong_in(content: list[bytes]) -> list[tuple[int, str]]:
    found = ((number, refused(line.strip())) for number, line in enumerate(content, start=1) if line.strip())
    return [(number, reason) for number, reason in found if reason is not None]


async def test_publish_names_each_wrong_line_and_sends_nothing(command, redis, tmp_path, content):
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(content))
    ended = await command("publish", file)
    wrong, total = wrong_in(content), sum(bool(line.strip()) for line in content)
    assert (ended.status, ended.out) == (1, "")
    assert [(int(number), reason) for number, reason in TOLD.findall(ended.err)] == wrong[:20]
    assert f"{len(wrong)} of {total} lines are wrong (the first 20 are shown); nothing was sent" in ended.err
    assert await redis.keys() == []
    good = [line for number, line in enumerate(content, start=1) if line.strip() and number not in dict(wrong)]
    file.write_bytes(b"\r\n".join(good))
    assert (await command("publish", file)).status == 0
    assert sum([await redis.xlen(key) for key in await redis.keys()]) == len(good)


async def test_quote_answers_for_each_line_and_writes_nothing(command, ledger, admin, tmp_path, content):
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(content))
    ended = await command("quote", file, "--json")
    answers = ended.document["events"]
    assert ended.status == 1
    assert [one["line"] for one in answers] == [number for number, line in enumerate(content, start=1) if line.strip()]
    rejected = {one["line"]: one["code"] for one in answers if one["outcome"] == "rejected"}
    reused = {line for line, code in rejected.items() if code == "id_reused_with_other_content"}
    assert {line: code for line, code in rejected.items() if line not in reused} == dict(wrong_in(content))
    assert await admin.fetchval("SELECT count(*) FROM entry") == 0
    for_people = await command("quote", file)
    assert for_people.status == 1
    assert not STEERS.search(for_people.out)


async def test_an_event_that_cannot_be_shown_safely_is_shown_as_escapes(command, ledger, tmp_path):
    file = tmp_path / "events.ndjson"
    file.write_bytes(raw(issue_event("L0", event_id="\x9b31m\u202e00.1")))
    ended = await command("quote", file)
    assert "\\u009b31m\\u202e00.1" in ended.out
    in_json = await command("quote", file, "--json")
    assert not STEERS.search(in_json.out)
    assert in_json.document["events"][0]["id"] == "\x9b31m\u202e00.1"


async def test_dead_letters_of_any_bytes_are_listed_shown_and_sent_again_as_they_were(command, redis):
    events = [
        b"", b"\x00", b"\xff\xfe", b"\x1b[31m\x1b]0;title\x07", "\x9b31m\u202e".encode(), b"a\r\nb", b"[bold]x[/bold]", bytes(range(256)),
        *(name.encode(errors="surrogatepass") for name in NAMES), *VALUES,
    ]  # fmt: skip
    ids = []
    for event in events:
        fields = {
            "event": event,
            "stream": ISSUED,
            "entry_id": "1-0",
            "reason": "not_json",
            "detail": "x",
            "failed_at": "2024",
        }
        ids.append((await redis.xadd(DEAD_LETTERS, fields)).decode())
    listed = await command("dead-letters", "list", "--limit", 1000, "--json")
    assert [one["id"] for one in listed.document["dead_letters"]] == ids
    assert not STEERS.search(listed.out)
    assert (await command("dead-letters", "list")).status == 0
    for letter_id in ids[:12]:
        shown, document = (
            await command("dead-letters", "show", letter_id),
            await command("dead-letters", "show", letter_id, "--json"),
        )
        assert (shown.status, document.status, document.document["id"]) == (0, 0, letter_id)
        assert not STEERS.search(shown.out)
    assert "\\u001b[31m" in (await command("dead-letters", "show", ids[3])).out
    assert "[bold]x[/bold]" in (await command("dead-letters", "show", ids[6])).out
    replayed = await command("dead-letters", "replay", "--all", "--json")
    assert replayed.document == {"replayed": ids}
    assert [fields for _, fields in await redis.xrange(ISSUED)] == [{b"event": event} for event in events]
    assert await redis.xlen(DEAD_LETTERS) == 0


async def test_ids_of_any_text_are_answered_in_words(command):
    for text in ("", "x", "0", "-", "+", "1-2-3", "9" * 40, "１-0", SOURCE_PREFIX, "\u202e", "1-0"):
        ended = await command("dead-letters", "show", "--", text)
        assert (ended.status in {1, 2}, ended.out) == (True, "")
        assert ended.err.startswith("voucher-ledger: ")
        assert not STEERS.search(ended.err)
