"""Who sees what over HTTP: every kind of key at every route, and what a provider sees of what is not all its own."""

from pathlib import Path

import pytest
from api_client import Client, answering, keys_for
from events_made import ENTERPRISE, as_inbound, issue_event, providers_of, redemption_event
from line import quick_settings

from services.keys import read_keys, write_keys

CHENGDU, GUIZHOU = "chengdu-2024", "guizhou-2024"
FIRST, SECOND = providers_of(CHENGDU)
OF_GUIZHOU = next(uscc for uscc in providers_of(GUIZHOU) if uscc not in {FIRST, SECOND})
BASE = f"/v1/programmes/{CHENGDU}"

SCOPES = {
    "operator": "operator",
    "auditor": "auditor",
    "platform": f"platform:{CHENGDU}",
    "all": "platform:*",
    "elsewhere": f"platform:{GUIZHOU}",
    "authority": f"authority:{CHENGDU}",
    "foreign": f"authority:{GUIZHOU}",
    "first": f"provider:{FIRST}",
    "second": f"provider:{SECOND}",
    "both": f"provider:{FIRST} provider:{SECOND}",
    "guizhou": f"provider:{OF_GUIZHOU}",
    "first-and-guizhou": f"provider:{FIRST} platform:{GUIZHOU}",
}
READ_ALL = {"operator", "auditor", "platform", "all", "authority"}
OF_FIRST, OF_SECOND = {"first", "both", "first-and-guizhou"}, {"second", "both"}
PROVIDERS = OF_FIRST | OF_SECOND | {"guizhou"}
EVERYONE = set(SCOPES)

ALLOWED = {
    "/v1/programmes": EVERYONE,
    f"{BASE}/statement": READ_ALL,
    f"{BASE}/quotas": READ_ALL,
    f"{BASE}/vouchers": READ_ALL,
    f"{BASE}/vouchers/V-1": READ_ALL | OF_FIRST | OF_SECOND,
    f"{BASE}/vouchers/V-2": READ_ALL | OF_SECOND,
    f"{BASE}/enterprises/{ENTERPRISE}": READ_ALL,
    f"{BASE}/providers/{FIRST}": READ_ALL | OF_FIRST,
    f"{BASE}/providers/{SECOND}": READ_ALL | OF_SECOND,
    f"{BASE}/entries": READ_ALL | PROVIDERS - {"both"},
    f"{BASE}/entries?provider={FIRST}": READ_ALL | OF_FIRST,
    f"{BASE}/entries?provider={SECOND}": READ_ALL | OF_SECOND,
    f"{BASE}/entries?provider={SECOND}&voucher=V-1": READ_ALL | OF_SECOND,
    "/v1/queues": {"operator"},
    "/v1/dead-letters": {"operator"},
}
"""The keys that each path answers; a voucher that is not theirs is unknown to providers."""


@pytest.fixture
async def used(ledger):
    """V-1 of the first's contract, and used at both; V-2 of the second's alone, where the first tried and was refused."""
    events = [
        issue_event("V-1", provider=FIRST), issue_event("V-2", provider=SECOND),
        redemption_event("V-1", 1, amount="5.00", provider=FIRST), redemption_event("V-1", 2, amount="6.00", provider=SECOND),
        redemption_event("V-2", 1, amount="7.00", provider=SECOND),
        redemption_event("V-2", 2, amount="900000.00", provider=FIRST),
    ]  # fmt: skip
    await ledger.append(CHENGDU, [as_inbound(event) for event in events])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


@pytest.fixture
async def client(used, file, database_url, redis_url):
    settings = quick_settings(database_url, redis_url, programmes=frozenset(), keys_file=file)
    async with answering(settings) as asking:
        yield asking


async def test_every_key_at_every_path(client, file):
    keys = keys_for(file, **SCOPES)
    for path, allowed in ALLOWED.items():
        answers = {name: (await client.with_key(key).get(path)).status for name, key in keys.items()}
        hidden = 404 if "/vouchers/" in path else 403
        expected = {name: 200 if name in allowed else hidden if name in PROVIDERS else 403 for name in SCOPES}
        assert answers == expected, path


async def test_without_a_key_or_with_an_unknown_one_nobody_gets_anywhere_but_to_health(client, file):
    keys_for(file, **SCOPES)
    for key in (None, "vl_unknown", ""):
        for path in ALLOWED:
            answer = await client.with_key(key).get(path)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="voucher-ledger"')
            assert answer.body["type"].removeprefix("urn:voucher-ledger:problem:") in {"key_required", "key_unknown"}
        for path in ("/v1/events", f"{BASE}/quote"):
            assert (await client.with_key(key).post(path, issue_event("V-3"))).status == 401
    for path in ("/livez", "/v1/openapi.json"):
        assert (await client.get(path)).status == 200


async def test_other_ways_to_present_a_key_are_none(client, file):
    key = keys_for(file, operator="operator")["operator"]
    for headers in ({"authorization": f"Basic {key}"}, {"authorization": key}, {"x-api-key": key}):
        assert (await client.get("/v1/queues", **headers)).status == 401
    assert (await client.get(f"/v1/queues?key={key}&authorization=Bearer%20{key}")).status == 401
    assert (await client.get("/v1/queues", authorization=f"bearer {key}")).status == 200


async def test_a_provider_sees_its_own_entries_and_nothing_of_the_others(client, file):
    keys = keys_for(file, **SCOPES)

    async def positions(name: str, path: str) -> list[int]:
        return [one["position"] for one in (await client.with_key(keys[name]).get(path)).body["entries"]]

    assert await positions("first", f"{BASE}/entries") == [1, 3, 6]
    assert await positions("second", f"{BASE}/entries") == [2, 4, 5]
    assert await positions("first", f"{BASE}/vouchers/V-1") == [1, 3]
    assert await positions("second", f"{BASE}/vouchers/V-1") == [4]
    assert await positions("second", f"{BASE}/vouchers/V-2") == [2, 5]
    first_page = (await client.with_key(keys["second"]).get(f"{BASE}/vouchers/V-2?limit=1")).body
    assert ([one["position"] for one in first_page["entries"]], first_page["next"]) == ([2], 2)
    assert await positions("first", f"{BASE}/entries?voucher=V-2") == [6]
    assert await positions("guizhou", f"{BASE}/entries") == []
    assert await positions("operator", f"{BASE}/vouchers/V-1") == [1, 3, 4]
    one = (await client.with_key(keys["first"]).get(f"{BASE}/vouchers/V-2")).body
    other = (await client.with_key(keys["first"]).get(f"{BASE}/vouchers/V-7")).body
    assert one["detail"].replace("V-2", "V-7") == other["detail"], "that there is one is not told"


async def test_programmes_are_those_that_one_may_read_or_that_accredit_one(client, file):
    keys = keys_for(file, **SCOPES)
    found = {
        name: {one["programme"] for one in (await client.with_key(key).get("/v1/programmes")).body["programmes"]}
        for name, key in keys.items()
    }
    assert len(found["operator"]) == len(found["auditor"]) == len(found["all"]) == 5
    assert found["platform"] == found["authority"] == {CHENGDU}
    assert found["elsewhere"] == found["foreign"] == {GUIZHOU}
    assert CHENGDU in found["first"]
    assert GUIZHOU not in found["first"]
    assert GUIZHOU in found["first-and-guizhou"]
    assert CHENGDU not in found["guizhou"]


async def test_who_may_ask_for_quotes_and_of_what(client, file):
    keys = keys_for(file, **SCOPES)
    events = [
        issue_event("V-9", amount="10000.00"),
        redemption_event("V-1", 8, amount="1.00", provider=FIRST),
        redemption_event("V-1", 9, amount="1.00", provider=SECOND),
    ]

    async def quoted(name: str) -> list[str] | int:
        answer = await client.with_key(keys[name]).post(f"{BASE}/quote", events, "application/cloudevents-batch+json")
        return [one["outcome"] for one in answer.body["events"]] if answer.status == 200 else answer.status

    for name in READ_ALL:
        assert await quoted(name) == ["accepted"] * 3, name
    assert await quoted("first") == ["rejected", "accepted", "rejected"]
    assert await quoted("second") == ["rejected", "rejected", "accepted"]
    assert await quoted("both") == ["rejected", "accepted", "accepted"]
    assert await quoted("guizhou") == ["rejected"] * 3
    assert await quoted("elsewhere") == await quoted("foreign") == 403


async def test_a_removed_key_lets_nobody_in_from_the_next_request_on(client, file):
    keys = keys_for(file, auditor="auditor", operator="operator")
    assert (await client.with_key(keys["auditor"]).get(f"{BASE}/statement")).status == 200
    write_keys(file, [key for key in read_keys(file) if key.name != "auditor"])
    assert (await client.with_key(keys["auditor"]).get(f"{BASE}/statement")).status == 401
    assert (await client.with_key(keys["operator"]).get(f"{BASE}/statement")).status == 200
    file.write_text("broken [", encoding="utf-8")
    answer = await client.with_key(keys["operator"]).get(f"{BASE}/statement")
    assert (answer.status, answer.body["type"]) == (503, "urn:voucher-ledger:problem:keys_unreadable")
    assert str(file) not in str(answer.body)
    ready = await client.get("/readyz?verbose")
    assert [one["what"] for one in ready.body["checks"] if not one["ok"]] == ["keys"]


@pytest.mark.usefixtures("used")
class TestWithoutAFileOfKeys:
    @pytest.fixture
    async def client(self, database_url, redis_url):
        async with answering(quick_settings(database_url, redis_url)) as asking:
            yield asking

    async def test_this_host_may_read_everything_and_send_nothing(self, client: Client):
        for path in ALLOWED:
            assert (await client.get(path)).status == 200, path
        assert (await client.post(f"{BASE}/quote", issue_event("V-9"))).status == 200
        answer = await client.post("/v1/events", issue_event("V-9"))
        assert (answer.status, answer.body["type"]) == (403, "urn:voucher-ledger:problem:not_yours")

    @pytest.mark.parametrize(
        "headers",
        [
            {"host": "ledger.example.org"}, {"host": "ledger.example.org:8420"}, {"host": "127.0.0.1.example.org"}, {"host": ""},
            {"x-forwarded-for": "127.0.0.1"}, {"forwarded": "for=127.0.0.1"}, {"x-real-ip": "127.0.0.1"}, {"via": "1.1 proxy"},
        ],
    )  # fmt: skip
    async def test_what_came_by_another_name_or_through_a_proxy_is_not_from_this_host(self, client: Client, headers):
        answer = await client.get(f"{BASE}/statement", **headers)
        assert (answer.status, answer.body["type"]) == (401, "urn:voucher-ledger:problem:no_keys")

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8420", "127.0.0.1:1", "[::1]:8420", "[::1]"])
    async def test_the_names_of_this_host(self, client: Client, host):
        assert (await client.get(f"{BASE}/statement", host=host)).status == 200
