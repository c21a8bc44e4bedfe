"""The HTTP API on real servers: the documents of the command line, pages, problems, health, and how it is when something is away."""

import asyncio
from urllib.parse import quote

import pytest
from api_client import Client, answering
from events_made import (
    ENTERPRISE,
    OTHER_ENTERPRISE,
    as_inbound,
    exhausted_event,
    issue_event,
    providers_of,
    redemption_event,
)
from eventually import eventually
from line import quick_settings, running, send

from services.api import told, told_of_ledgers, told_of_streams
from services.ledger import read
from services.ledger.policies import Policies
from services.ledger.read import Of
from services.queues import queues
from services.readmodel import accounts

CHENGDU, GUIZHOU = "chengdu-2024", "guizhou-2024"
FIRST, SECOND = providers_of(CHENGDU)
BASE = f"/v1/programmes/{CHENGDU}"
ANY_PROGRAMME = frozenset[str]()


@pytest.fixture
async def used(ledger):
    """Two enterprises, two providers, refusals, a redemption that waits, and another programme."""
    events = [
        *(issue_event(f"V-{n}", amount="20000.00", provider=(FIRST, SECOND)[n % 2]) for n in range(5)),
        issue_event("W-1", enterprise=OTHER_ENTERPRISE, amount="50000.00", data__valid_until="2024-06-30"),
        *(redemption_event(f"V-{n % 5}", n, amount="1.50", provider=(FIRST, SECOND)[n % 3 == 0]) for n in range(20)),
        redemption_event("V-1", 99, amount="900000.00"),
        redemption_event("NOT-YET", amount="1.00"),
        exhausted_event(OTHER_ENTERPRISE),
        issue_event("W-2", enterprise=OTHER_ENTERPRISE),
    ]
    await ledger.append(CHENGDU, [as_inbound(event) for event in events])
    await ledger.append(GUIZHOU, [as_inbound(issue_event("V-1", programme=GUIZHOU))])
    return ledger


@pytest.fixture
async def client(used, database_url, redis_url):
    async with answering(quick_settings(database_url, redis_url, programmes=ANY_PROGRAMME)) as asking:
        yield asking


async def test_each_answer_is_the_document_that_the_ledger_gives_and_of_the_form_that_is_told(client, pool):
    policies = Policies({})
    statement = (await read.statement(pool, CHENGDU)).to_json()
    found = await client.get(f"{BASE}/statement")
    assert found.status == 200
    assert found.headers["content-type"] == "application/json"
    assert found.body == {**statement, "next": {"quotas": None, "vouchers": None}}
    history = await accounts.voucher(pool, CHENGDU, "V-1", policies)
    rows = [entry.to_json() for entry in await read.entries(pool, CHENGDU, limit=1_000)]
    expected = {
        f"{BASE}/statement": (told_of_ledgers.Statement, found.body),
        f"{BASE}/quotas": (told_of_ledgers.Quotas, {"quotas": statement["quotas"], "next": None}),
        f"{BASE}/vouchers": (told_of_ledgers.Vouchers, {"vouchers": statement["vouchers"], "next": None}),
        f"{BASE}/vouchers/V-1": (told_of_ledgers.VoucherState, {**history.to_json(), "next": None}),
        f"{BASE}/entries": (
            told_of_ledgers.Entries,
            {"programme": CHENGDU, "position": len(rows), "entries": rows, "next": None},
        ),
        f"{BASE}/enterprises/{ENTERPRISE}": (told_of_ledgers.Enterprise, None),
        f"{BASE}/providers/{FIRST}": (told_of_ledgers.Provider, None),
        f"{BASE}/vouchers/NOT-YET": (told_of_ledgers.VoucherState, None),
        "/v1/programmes": (told_of_ledgers.Programmes, None),
        "/v1/queues": (told_of_streams.Queues, None),
        "/v1/dead-letters": (told_of_streams.DeadLetters, {"dead_letters": [], "next": None}),
        "/livez": (told_of_streams.Health, {"ok": True, "because": "alive"}),
    }
    for path, (form, body) in expected.items():
        answer = await client.get(path)
        assert answer.status == 200, (path, answer)
        form.model_validate(answer.body)
        if body is not None:
            assert answer.body == body, path
    of_all = (await client.get("/v1/programmes")).body["programmes"]
    assert [(one["programme"], one["position"]) for one in of_all if one["position"]] == [
        (CHENGDU, len(rows)),
        (GUIZHOU, 1),
    ]
    waiting = (await client.get(f"{BASE}/vouchers/NOT-YET")).body
    assert (waiting["status"], waiting["waiting"], waiting["entries"]) == ("not_issued", 1, [])
    enterprise = (await client.get(f"{BASE}/enterprises/{OTHER_ENTERPRISE}")).body
    assert [one["code"] for one in enterprise["refusals"]] == ["quota_closed"]
    assert enterprise["quotas"] == [
        {"enterprise": OTHER_ENTERPRISE, "period": "2024", "used": "50000.00", "limit": "1000000.00", "closed": True,
         "headroom": "0.00"},
    ]  # fmt: skip
    provider = (await client.get(f"{BASE}/providers/{SECOND}")).body
    assert (provider["payable"], provider["accredited"]) == ("10.50", True)


async def test_lists_come_by_pages_that_join_without_gap_or_double(client, pool):
    for query, of in {
        "": Of(), f"&provider={SECOND}": Of(provider=SECOND), f"&enterprise={ENTERPRISE}": Of(enterprise=ENTERPRISE),
        "&voucher=V-1": Of(voucher_id="V-1"), "&code=quota_closed": Of(code="quota_closed"), "&refused=true": Of(refused=True),
    }.items():  # fmt: skip
        rows, after = [], 0
        while after is not None:
            answer = (await client.get(f"{BASE}/entries?limit=3&after={after}{query}")).body
            rows += answer["entries"]
            after = answer["next"]
        whole = await read.entries(pool, CHENGDU, of, limit=1_000)
        assert rows == [entry.to_json() for entry in whole], query
        assert rows
    for name in ("quotas", "vouchers"):
        pieces, after = [], ""
        while after is not None:
            answer = (await client.get(f"{BASE}/{name}?limit=1{after and f'&after={quote(str(after))}'}")).body
            pieces += answer[name]
            after = answer["next"]
        assert pieces == (await client.get(f"{BASE}/statement")).body[name]
        assert len(pieces) > 1
    first = (await client.get(f"{BASE}/statement?limit=1")).body
    assert first["next"] == {"quotas": f"{ENTERPRISE}/2024", "vouchers": 1}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/programmes/nowhere-2024/statement", 404, "programme_unknown"),
        ("/v1/programmes/NOWHERE/statement", 422, "invalid_request"),
        (f"{BASE}/vouchers/V-77", 404, "voucher_unknown"),
        (f"{BASE}/vouchers/V%207", 422, "invalid_request"),
        (f"{BASE}/entries?after=-1", 422, "invalid_request"),
        (f"{BASE}/entries?after=9223372036854775808", 422, "invalid_request"),
        (f"{BASE}/entries?limit=0", 422, "invalid_request"),
        (f"{BASE}/entries?limit=1001", 422, "invalid_request"),
        (f"{BASE}/entries?code=nothing", 422, "invalid_request"),
        (f"{BASE}/entries?enterprise=%00", 422, "invalid_request"),
        (f"{BASE}/quotas?after=x", 422, "invalid_request"),
        ("/v1/dead-letters?after=x", 422, "invalid_request"),
        ("/v1/nothing", 404, "not_found"),
        ("/docs", 404, "not_found"),
    ],
)
async def test_what_goes_wrong_is_a_problem_with_a_code(client, path, status, code):
    answer = await client.get(path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["type"] == f"urn:voucher-ledger:problem:{code}"
    assert answer.body["status"] == status
    told.Problem.model_validate(answer.body)
    wrong_method = await client.ask("DELETE", f"{BASE}/statement")
    assert (wrong_method.status, wrong_method.headers["allow"]) == (405, "GET")


async def test_positions_at_the_ends_are_taken(client):
    for after in (0, 9_223_372_036_854_775_807):
        for path in (
            "entries",
            "vouchers",
            f"providers/{FIRST}",
            f"enterprises/{ENTERPRISE}",
            f"entries?provider={FIRST}",
        ):
            answer = await client.get(f"{BASE}/{path}{'&' if '?' in path else '?'}after={after}")
            assert answer.status == 200, answer


async def test_a_quote_is_the_answer_that_the_ledger_would_give_and_nothing_is_written(client, pool):
    before = await read.statement(pool, CHENGDU)
    events = [
        issue_event("V-9", amount="10000.00"), issue_event("V-1", event_id="new"),
        redemption_event("V-2", 2, amount="1.50", provider=FIRST),
        redemption_event("V-9", amount="1.00"), redemption_event("V-88"), issue_event("V-1", programme=GUIZHOU),
    ]  # fmt: skip
    answer = await client.post(f"{BASE}/quote", events, "application/cloudevents-batch+json; charset=utf-8")
    assert answer.status == 200
    told_of_ledgers.Quotes.model_validate(answer.body)
    found = [(one["outcome"], one.get("code")) for one in answer.body["events"]]
    assert found == [
        ("accepted", None), ("refused", "voucher_exists"), ("duplicate", None), ("accepted", None), ("waiting", None),
        ("rejected", "wrong_stream"),
    ]  # fmt: skip
    assert answer.body["events"][0] | {"position": 1} == {
        "id": "issue-V-9", "source": answer.body["events"][0]["source"], "type": "voucher.issued.v1", "programme": CHENGDU,
        "outcome": "accepted", "position": 1, "granted": "10000.00", "message": {"zh": "已受理。", "en": "Accepted."},
    }  # fmt: skip
    one = await client.post(f"{BASE}/quote", issue_event("V-9", amount="10000.00"))
    assert one.body["events"] == answer.body["events"][:1]
    garbage = await client.post(f"{BASE}/quote", b"garbage")
    assert garbage.body["events"][0]["code"] == "not_json"
    assert (await client.post("/v1/programmes/nowhere-2024/quote", b"{}")).status == 404
    assert await read.statement(pool, CHENGDU) == before


async def test_queues_and_dead_letters_are_those_of_the_command_line(client, redis, database_url, redis_url, policies):
    settings = quick_settings(database_url, redis_url)
    async with running("issued", settings):
        await send(redis, *((f"voucher.issued:{CHENGDU}", b"garbage %d" % number) for number in range(3)))
        await eventually(lambda: redis.xlen("dead-letter"))
        await eventually(lambda: _all_dead(redis))
    rows = [row.to_json() for row in await queues(redis, policies)]
    shown = (await client.get("/v1/queues")).body["streams"]
    for row in (*rows, *shown):
        for moving in (row, *row["readers"]):
            del moving["last_read_seconds"]
    assert shown == rows
    assert {row["stream"]: row["dead_letters"] for row in shown}[f"voucher.issued:{CHENGDU}"] == 3
    first = (await client.get("/v1/dead-letters?limit=2")).body
    rest = (await client.get(f"/v1/dead-letters?after={first['next']}")).body
    letters = first["dead_letters"] + rest["dead_letters"]
    assert [one["event"] for one in letters] == ["garbage 0", "garbage 1", "garbage 2"]
    assert {one["reason"] for one in letters} == {"not_json"}
    assert rest["next"] is None
    told_of_streams.DeadLetters.model_validate(first)


async def _all_dead(redis) -> bool:
    return await redis.xlen("dead-letter") == 3


async def test_ready_when_all_is_there_and_the_read_model_keeps_up(client, pool, ledger):
    async def ready() -> bool:
        return (await client.get("/readyz")).status == 200

    await eventually(ready)
    answer = await client.get("/readyz?verbose")
    assert [(one["what"], one["ok"]) for one in answer.body["checks"]] == [
        ("database", True), ("broker", True), ("keys", True), ("read model", True),
    ]  # fmt: skip
    told_of_streams.Health.model_validate(answer.body)
    assert "checks" not in (await client.get("/readyz")).body
    await ledger.append(CHENGDU, [as_inbound(redemption_event("V-0", 500, amount="1.00"))])

    async def taken_in() -> bool:
        return (
            await pool.fetchval("SELECT position FROM readmodel.cursor WHERE programme = $1", CHENGDU)
            == (await read.statement(pool, CHENGDU)).position
        )

    await eventually(taken_in)


@pytest.mark.parametrize("away", ["database", "broker"])
async def test_while_a_server_is_away_it_says_so_and_answers_the_rest(used, database_url, redis_url, away):
    settings = quick_settings(
        "postgresql://nobody@127.0.0.1:1/none" if away == "database" else database_url,
        "redis://127.0.0.1:1" if away == "broker" else redis_url,
    )
    async with answering(settings) as client:
        assert (await client.get("/livez")).status == 200
        ready = await client.get("/readyz?verbose")
        assert ready.status == 503
        wrong = {one["what"] for one in ready.body["checks"] if not one["ok"]}
        assert wrong == ({"database", "read model"} if away == "database" else {"broker"})
        answers = await asyncio.gather(client.get(f"{BASE}/statement"), client.get("/v1/queues"))
        by_status = {answer.status: answer for answer in answers}
        assert set(by_status) == {200, 503}
        assert by_status[503].body["type"] == f"urn:voucher-ledger:problem:{away}_away"
        assert by_status[503].headers["retry-after"] == "2"
        assert answers[away == "broker"].status == 503


async def test_a_database_without_the_tables_is_said_to_need_them(servers, redis_url):
    async with answering(quick_settings(servers.database_url, redis_url)) as client:
        answer = await client.get(f"{BASE}/statement")
        assert (answer.status, answer.body["type"]) == (503, "urn:voucher-ledger:problem:not_migrated")
        assert "voucher-ledger migrate" in answer.body["detail"]


async def test_the_openapi_document_has_every_route_its_problems_and_the_forms_of_events(client: Client):
    document = (await client.get("/v1/openapi.json")).body
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/programmes", "/v1/events", "/v1/queues", "/v1/dead-letters", "/livez", "/readyz",
        *(f"/v1/programmes/{{code}}/{rest}" for rest in (
            "statement", "quotas", "vouchers", "vouchers/{voucher_id}", "enterprises/{uscc}", "providers/{uscc}", "entries", "quote",
        )),
    }  # fmt: skip
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            for status, response in operation["responses"].items():
                if int(status) >= 400 and "Health" not in str(response):
                    assert list(response["content"]) == ["application/problem+json"], response
    references = {text for text in str(document).split("'") if text.startswith("#/components/")}
    assert {name.rpartition("/")[2] for name in references} <= set(document["components"]["schemas"])
