"""Thousands of spoilt entries through the real consumers: each becomes an entry of the ledger, waits, or is a dead letter as it came.

Which one is said by the contract, read a second time in ``contract``. The good ones among them are all decided, the consumers stay
well, and what the ledger holds is told and verified.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import contract
from events_made import authority_of, exhausted_event, issue_event, providers_of, raw, redemption_event, uscc
from eventually import eventually
from line import CHENGDU, dead_letters, notifications, notifying, quick_settings, running, settled
from many import tries
from redis.asyncio import Redis
from spoiling import spoil

from services.broker import notification_stream
from services.programmes import SHIPPED

ISSUED, EXHAUSTED = f"voucher.issued:{CHENGDU}", f"quota.exhausted:{CHENGDU}"
REDEEMED = f"voucher.redeemed:{providers_of(CHENGDU)[0]}"
STREAMS = (ISSUED, REDEEMED, EXHAUSTED)
AUTHORITIES = {CHENGDU: authority_of(CHENGDU)}
GOOD = 100
MAYBE_LONG = 500
"""Among so many a text of a mebibyte may be; more of them would only fill the memory."""
SENT_AT_ONCE = 100


@dataclass(frozen=True)
class Sent:
    """An entry as it was sent; ``event`` is None where it has no such field, ``good`` where nothing was done to it."""

    stream: str
    fields: tuple[tuple[bytes, bytes], ...]
    good: bool = False

    @cached_property
    def event(self) -> bytes | None:
        return dict(self.fields).get(b"event")

    @cached_property
    def reason(self) -> str | None:
        """Why it has to be a dead letter; None where it is an event of its stream."""
        return "not_cloudevent" if self.event is None else contract.refused_on(self.stream, self.event, AUTHORITIES)

    @property
    def identity(self) -> tuple[str, str]:
        said = self.said
        return said["source"], said["id"]

    @cached_property
    def said(self) -> dict[str, Any]:
        return contract.said(self.event or b"", None)


def made(kind: str, number: str) -> dict[str, Any]:
    if kind == ISSUED:
        return issue_event(number, enterprise=uscc(int(number[1:])), amount="10000.00")
    if kind == REDEEMED:
        return redemption_event(number, amount="0.01")
    return exhausted_event(uscc(1_000_000 + int(number[1:])), event_id=f"closed-{number}", period="2099")


def spoilt(chance: Random, count: int) -> Iterator[Sent]:
    for number in range(count):
        for stream in STREAMS:
            others = [made(kind, f"S{number}") for kind in STREAMS]
            data = spoil(chance, made(stream, f"S{number}"), others, long=number < MAYBE_LONG).raw
            yield Sent(stream, tuple(fields_with(chance, data)))


def fields_with(chance: Random, data: bytes) -> list[tuple[bytes, bytes]]:
    """Return mostly the one field that there should be; else others beside it or in its place, or the same twice."""
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(8)))
    match chance.randrange(20):
        case 0:
            return [(chance.choice((b"Event", b"event ", b"data", b"__data__", b"", noise)), data)]
        case 1:
            return [(noise, noise), (b"event", data), (b"reply_to", b"dead-letter"), (b"__data__", b"{}")]
        case 2:
            return [(b"event", chance.choice((b"", noise, b"{}", b"\x89BIN\r\n\x1a\n" + noise)))]
        case 3:
            # The last one is what the client gives; no other reader of the stream decides anything.
            return [(b"event", noise), (b"event", data)]
    return [(b"event", data)]


def good() -> Iterator[Sent]:
    for number in range(GOOD):
        for stream in STREAMS:
            yield Sent(stream, ((b"event", raw(made(stream, f"G{100_000 + number}"))),), good=True)


async def send(redis: Redis, entries: list[Sent]) -> list[bytes]:
    ids: list[bytes] = []
    for first in range(0, len(entries), SENT_AT_ONCE):
        async with redis.pipeline(transaction=False) as pipeline:
            for entry in entries[first : first + SENT_AT_ONCE]:
                pipeline.execute_command("XADD", entry.stream, "*", *(part for pair in entry.fields for part in pair))
            ids += await pipeline.execute()
    return ids


def rich_programme(folder: Path) -> Path:
    """Write the programme with a budget, a cap and a share that amounts of every size pass."""
    text = (SHIPPED / f"{CHENGDU}.toml").read_text(encoding="utf-8")
    for old, new in (('"10000000.00"  # at', '"10000000000000.00"  # at'), ('"1000000.00"', '"10000000000000.00"')):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / f"{CHENGDU}.toml").write_text(text.replace('share = "0.50"', 'share = "1"'), encoding="utf-8")
    return folder


async def test_every_entry_has_its_fate_and_the_good_ones_are_decided(database_url, redis_url, redis, admin, tmp_path):
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    chance = Random(seed)
    sent = [*good(), *spoilt(chance, tries(800))]
    chance.shuffle(sent)
    settings = quick_settings(
        database_url, redis_url, programmes_dir=rich_programme(tmp_path), batch_size=500, readers=2,
        providers=frozenset({providers_of(CHENGDU)[0]}),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(running(name, settings)) for name in ("issued", "redeemed", "exhausted")
        ]
        ids = await send(redis, sent)
        await settled(redis, STREAMS, seconds=120)
        assert [consumer.ready() for consumer in consumers] == [(True, "reading")] * 3
    rows = await admin.fetch("SELECT position, event, accepted FROM entry ORDER BY position")
    parked = [row["event"] for row in await admin.fetch("SELECT event FROM parked")]
    letters = {(letter["stream"], letter["entry_id"].encode()): letter for letter in await dead_letters(redis)}
    assert len(letters) == await redis.xlen("dead-letter")

    kept = Counter([row["event"] for row in rows] + parked)
    accepted = {row["event"] for row in rows if row["accepted"]}
    read = [entry for entry in sent if entry.reason is None]
    by_identity = {
        (event_said["source"], event_said["id"]): event_said
        for event_said in (contract.said(one, None) for one in kept)
    }
    # Every event is kept once, whatever came twice under one id.
    assert kept.keys() <= {entry.event for entry in read}
    assert len(by_identity) == kept.total() == len({entry.identity for entry in read})
    for entry, entry_id in zip(sent, ids, strict=True):
        letter = letters.pop((entry.stream, entry_id), None)
        if entry.reason is not None:
            assert letter is not None, entry
            assert letter["reason"] == entry.reason, (entry, letter)
            assert letter["event"] == (b"\n".join(map(b"=".join, entry.fields)) if entry.event is None else entry.event)
        elif letter is not None:
            assert letter["reason"] == "id_reused_with_other_content"
            assert by_identity[entry.identity] != entry.said
        else:
            assert by_identity[entry.identity] == entry.said
        assert not entry.good or entry.event in accepted
    assert letters == {}
    await tell(settings, redis, [row["event"] for row in rows])


async def tell(settings: Any, redis: Redis, events: list[bytes]) -> None:
    """Let the notifier tell the entries, and compare what it tells of each with the entry's event."""
    async with notifying(settings):
        await eventually(lambda: reached(redis, len(events)), 60)
    told = await notifications(redis)
    assert [entry_id for entry_id, _ in told] == [b"%d-0" % position for position in range(1, len(events) + 1)]
    for (_, notification), event in zip(told, events, strict=True):
        said, origin = contract.said(event, None), notification["data"]["event"]
        assert (origin["source"], origin["id"], origin["type"]) == (
            said["source"],
            said["id"],
            json.loads(event)["type"],
        )


async def reached(redis: Redis, count: int) -> bool:
    return await redis.xlen(notification_stream(CHENGDU)) >= count
