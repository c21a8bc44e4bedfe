"""The door for events: what goes onto which stream, what does not and why, how much is taken, and what is on the disk."""

import asyncio
import contextlib
import http.client
import json

import pytest
from api_client import BATCH, ONE, Client, answering, keys_for
from events_made import exhausted_event, issue_event, providers_of, raw, redemption_event
from line import entered, quick_settings, running

from services.api import told_of_streams
from services.broker import FIELD, entries_between

CHENGDU, GUIZHOU = "chengdu-2024", "guizhou-2024"
FIRST, SECOND = providers_of(CHENGDU)
SCOPES = {
    "authority": f"authority:{CHENGDU}",
    "first": f"provider:{FIRST}",
    "both": f"provider:{FIRST} authority:{CHENGDU}",
    "operator": "operator",
    "platform": "platform:*",
}
LIMITS = {"body_bytes_max": 20_000, "posted_events_max": 5}


@pytest.fixture
async def clients(ledger, database_url, redis_url, tmp_path):
    """One for each key, by its name; the ledger is open."""
    file = tmp_path / "keys.toml"
    keys = keys_for(file, **SCOPES)
    settings = quick_settings(
        database_url, redis_url, programmes=frozenset(), keys_file=file, durable_seconds_max=8, **LIMITS
    )
    async with answering(settings) as asking:
        yield {name: asking.with_key(key) for name, key in keys.items()}


async def on(redis, stream: str) -> list[tuple[str, bytes]]:
    return [(entry_id.decode(), fields[FIELD]) for entry_id, fields in await entries_between(redis, stream, "-")]


async def streams(redis) -> set[bytes]:
    return set(await redis.keys("*"))


async def test_one_event_goes_onto_its_producers_stream_as_it_came(clients, redis):
    sent = b'  {"specversion":"1.0",' + raw(issue_event("V-1"))[1:].replace(b'"specversion": "1.0", ', b"") + b"\n"
    answer = await clients["authority"].post("/v1/events", sent)
    assert answer.status == 202
    ((entry_id, kept),) = await on(redis, f"voucher.issued:{CHENGDU}")
    assert kept == sent.strip()
    assert answer.body == {
        "events": [
            {"id": "issue-V-1", "status": "accepted", "stream": f"voucher.issued:{CHENGDU}", "entry_id": entry_id}
        ],
        "accepted": 1, "malformed": 0, "durable": True,
    }  # fmt: skip
    told_of_streams.PostedEvents.model_validate(answer.body)


async def test_of_a_batch_each_event_goes_to_its_stream_and_what_is_malformed_is_told_in_its_place(clients, redis):
    broken = raw(issue_event("V-2")).replace(b'"cash"', b'"gold"')
    batch = b"[%s]" % b",".join([
        raw(issue_event("V-1")), broken, b'"text"', raw(redemption_event("V-1")), raw(exhausted_event()),
    ])  # fmt: skip
    answer = await clients["both"].post("/v1/events", batch, BATCH)
    assert answer.status == 202
    told_of_streams.PostedEvents.model_validate(answer.body)
    found = [(one["status"], one.get("reason"), one.get("stream")) for one in answer.body["events"]]
    assert found == [
        ("accepted", None, f"voucher.issued:{CHENGDU}"), ("malformed", "invalid_data", None),
        ("malformed", "not_cloudevent", None), ("accepted", None, f"voucher.redeemed:{FIRST}"),
        ("accepted", None, f"quota.exhausted:{CHENGDU}"),
    ]  # fmt: skip
    assert "data.kind" in answer.body["events"][1]["detail"]
    assert (answer.body["accepted"], answer.body["malformed"]) == (3, 2)
    for one in (answer.body["events"][at] for at in (0, 3, 4)):
        assert [entry_id for entry_id, _ in await on(redis, one["stream"])] == [one["entry_id"]]
    assert await streams(redis) == {one["stream"].encode() for one in answer.body["events"] if "stream" in one}


FOREIGN = {
    "another provider's": redemption_event("V-1", provider=SECOND),
    "in another's name": redemption_event("V-1", source=f"urn:uscc:{SECOND}"),
    "an issue": issue_event("V-1"),
    "a closure": exhausted_event(),
}


@pytest.mark.parametrize("event", FOREIGN.values(), ids=FOREIGN)
async def test_what_is_not_a_providers_to_say_is_not_sent(clients, redis, event):
    answer = await clients["first"].post("/v1/events", [event, redemption_event("V-1")], BATCH)
    assert answer.status == 202
    assert [one["status"] for one in answer.body["events"]] == ["malformed", "accepted"]
    assert answer.body["events"][0]["reason"] == "wrong_stream"
    assert await streams(redis) == {f"voucher.redeemed:{FIRST}".encode()}
    alone = await clients["first"].post("/v1/events", event)
    assert (alone.status, alone.body["type"]) == (422, "urn:voucher-ledger:problem:all_malformed")
    assert alone.body["events"][0]["reason"] == "wrong_stream"
    assert len(await on(redis, f"voucher.redeemed:{FIRST}")) == 1


async def test_an_authority_sends_its_own_programmes_issues_and_no_redemptions(clients, redis):
    for event in (redemption_event("V-1"), issue_event("V-1", programme=GUIZHOU)):
        assert (await clients["authority"].post("/v1/events", event)).status == 422
    unknown = issue_event("V-1", data__programme="nowhere-2024")
    answer = await clients["authority"].post("/v1/events", unknown)
    assert answer.body["events"] == [
        {"status": "malformed", "reason": "programme_unknown", "detail": "no programme 'nowhere-2024' here"}
    ]
    assert await streams(redis) == set()


@pytest.mark.parametrize("name", ["operator", "platform"])
async def test_who_is_no_producer_sends_nothing(clients, redis, name):
    answer = await clients[name].post("/v1/events", issue_event("V-1"))
    assert (answer.status, answer.body["type"]) == (403, "urn:voucher-ledger:problem:not_yours")
    assert await streams(redis) == set()


async def test_what_was_sent_is_decided_and_sent_again_counts_once(clients, redis, database_url, redis_url, admin):
    batch = [issue_event("V-1"), issue_event("V-2")]
    async with running("issued", quick_settings(database_url, redis_url)):
        first = await clients["authority"].post("/v1/events", batch, BATCH)
        again = await clients["authority"].post("/v1/events", [*batch, issue_event("V-3")], BATCH)
        assert (first.status, again.status) == (202, 202)
        rows = await entered(admin, 3)
    assert [row["voucher_id"] for row in rows] == ["V-1", "V-2", "V-3"]
    assert all(row["accepted"] for row in rows)
    assert len(await on(redis, f"voucher.issued:{CHENGDU}")) == 5


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "media_type"),
        (b"{}", "text/plain", 415, "media_type"),
        (b"{}", "", 415, "media_type"),
        (b"", ONE, 422, "all_malformed"),
        (b"{", ONE, 422, "all_malformed"),
        (b"\xff", ONE, 422, "all_malformed"),
        (b"[]", ONE, 422, "all_malformed"),
        (b"", BATCH, 400, "not_a_batch"),
        (b"{}", BATCH, 400, "not_a_batch"),
        (b"[{}", BATCH, 400, "not_a_batch"),
        (b"[" * 9_000, BATCH, 400, "not_a_batch"),
        (b"[]", BATCH, 422, "batch_size"),
        (b"[1,2,3,4,5,6]", BATCH, 422, "batch_size"),
        (b"[1,2,3,4,5]", BATCH, 422, "all_malformed"),
        (b" " * 20_001, ONE, 413, "too_large"),
        (b" " * 20_001, BATCH, 413, "too_large"),
    ],
)
async def test_what_cannot_be_taken(clients, redis, body, media_type, status, code):
    answer = await clients["authority"].post("/v1/events", body, media_type)
    assert (answer.status, answer.body["type"]) == (status, f"urn:voucher-ledger:problem:{code}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert await streams(redis) == set()


async def test_a_body_of_unknown_length_is_read_no_further_than_the_limit(clients):
    def ask(client: Client) -> int:
        connection = http.client.HTTPConnection(client.url.removeprefix("http://"), timeout=30)
        parts = (b" " * 1_000 for _ in range(21))
        headers = {"authorization": f"Bearer {client.key}", "content-type": ONE, "transfer-encoding": "chunked"}
        with contextlib.closing(connection):
            connection.request("POST", "/v1/events", parts, headers, encode_chunked=True)
            with connection.getresponse() as answer:
                return answer.status

    assert await asyncio.to_thread(ask, clients["authority"]) == 413


async def test_the_largest_batch_is_taken(clients, redis):
    batch = [issue_event(f"V-{number}") for number in range(5)]
    answer = await clients["authority"].post("/v1/events", batch, BATCH)
    assert (answer.status, answer.body["accepted"]) == (202, 5)
    assert [json.loads(data)["id"] for _, data in await on(redis, f"voucher.issued:{CHENGDU}")] == [
        one["id"] for one in batch
    ]


async def test_durable_is_what_the_broker_says_of_its_disk(clients, redis):
    on_disk = await clients["authority"].post("/v1/events", issue_event("V-1"))
    assert on_disk.body["durable"] is True
    await redis.config_set("appendonly", "no")
    try:
        in_memory = await clients["authority"].post("/v1/events", issue_event("V-2"))
        assert (in_memory.status, in_memory.body["durable"]) == (202, False)
    finally:
        await redis.config_set("appendonly", "yes")


async def test_where_the_broker_does_not_let_itself_be_asked_durable_is_unknown(
    ledger, database_url, redis, tmp_path, servers
):
    keys = keys_for(tmp_path / "keys.toml", authority=f"authority:{CHENGDU}")
    await redis.acl_setuser("sender", enabled=True, nopass=True, keys=["voucher.*"], commands=["+@all", "-waitaof"])
    try:
        url = servers.redis_url.replace("unix://", "unix://sender:x@", 1)
        settings = quick_settings(database_url, url, programmes=frozenset(), keys_file=tmp_path / "keys.toml")
        async with answering(settings) as client:
            answer = await client.with_key(keys["authority"]).post("/v1/events", issue_event("V-1"))
        assert (answer.status, answer.body["durable"]) == (202, None)
    finally:
        await redis.acl_deluser("sender")


async def test_a_broker_that_refuses_is_a_problem_that_passes_and_what_is_sent_again_is_right(clients, redis):
    await redis.config_set("maxmemory", "1mb")
    try:
        answer = await clients["authority"].post("/v1/events", issue_event("V-1"))
        assert (answer.status, answer.body["type"]) == (503, "urn:voucher-ledger:problem:broker_away")
    finally:
        await redis.config_set("maxmemory", "0")
    assert (await clients["authority"].post("/v1/events", issue_event("V-1"))).status == 202
