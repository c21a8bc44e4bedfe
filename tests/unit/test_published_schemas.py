import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from wire_events import EVENTS, EXHAUSTED, ISSUED, REDEEMED, REMOVED, changed, on_wire

import schemas
from schemas.decoding import UndecodableError, decode
from schemas.export import documents
from schemas.notifications import Notification
from services.programmes import load_policies

PUBLISHED = Path(schemas.__file__).parent / "published"
NAMES = [
    "voucher.issued.v1.json",
    "voucher.redeemed.v1.json",
    "quota.exhausted.v1.json",
    "notification.v1.json",
    "dead-letter.v1.json",
    "policy.v1.json",
]

NOT_AMOUNTS = ["1e3", "1.234", "-1", "+1", "01", ".5", "1.", "", " 1", "１", 1, 1.0, True, None]
NOT_AMOUNTS += ["0", "0.0", "0.00", "10000000000000.01", "10000000000001", "99999999999999"]

NOTIFICATION = {
    "specversion": "1.0",
    "id": "chengdu-2024:1",
    "source": "urn:voucher-ledger:chengdu-2024",
    "type": "voucher.issued.accepted.v1",
    "subject": "CD-2024-000001",
    "time": "2024-05-01T02:00:01Z",
    "datacontenttype": "application/json",
    "data": {
        "position": 1,
        "outcome": "accepted",
        "message": {"zh": "已受理。", "en": "Accepted."},
        "event": {
            "id": "issue-1",
            "source": "urn:uscc:11510100MB0000001Y",
            "type": "voucher.issued.v1",
            "time": "2024-05-01T10:00:00+08:00",
        },
        "voucher_id": "CD-2024-000001",
        "amount": "50000.00",
        "granted": "50000.00",
        "period": "2024",
        "policy": {"code": "chengdu-2024", "digest": "0" * 64},
        "budget_remaining": "0.00",
        "hash": "f" * 64,
    },
}


def validator_of(name):
    return Draft202012Validator(json.loads((PUBLISHED / name).read_text(encoding="utf-8")))


def patterns_in(schema):
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            yield from patterns_in(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from patterns_in(item)


def test_what_is_published_is_what_the_models_say():
    assert sorted(documents()) == sorted([*NAMES, "asyncapi.yaml", "asyncapi.html"])
    published = {path.name: path.read_text(encoding="utf-8") for path in PUBLISHED.iterdir()}
    assert published == documents(), "write them again: voucher-ledger schemas export schemas/published"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_json_schema_with_a_name_of_its_own(name):
    text = documents()[name]
    schema = json.loads(text)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:voucher-ledger:schema:{name.removesuffix('.json')}"
    assert text.endswith("}\n")
    assert re.findall(r"https?://[^\"]+", text) == ["https://json-schema.org/draft/2020-12/schema"]


@pytest.mark.parametrize("name", NAMES)
def test_patterns_mean_the_same_in_python_and_in_ecmascript(name):
    patterns = set(patterns_in(json.loads(documents()[name])))
    assert patterns
    for pattern in patterns:
        re.compile(pattern)
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        # Named groups, flags, look-arounds, \A, \Z, \d and \w are written, or meant, differently in the two.
        assert not re.search(r"\(\?(?!:)|\\[AZzdDwWsSbBpP]|[*+?}]\+", pattern)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
@pytest.mark.parametrize("extra", ["traceparent", "data.added_in_version_1_1"])
def test_good_events_pass(event, extra):
    schema = validator_of(f"{event['type']}.json")
    schema.validate(event)
    schema.validate(changed(event, extra, "anything"))


@pytest.mark.parametrize(
    "where",
    [
        "subject",
        *(f"data.enterprise.{name}" for name in ("name", "size", "industry", "region", "prior_year_revenue")),
        "data.valid_until",
    ],
)
@pytest.mark.parametrize("value", [REMOVED, None], ids=["absent", "null"])
def test_what_is_optional_can_be_left_out(where, value):
    event = changed(ISSUED, where, value)
    validator_of("voucher.issued.v1.json").validate(event)
    decode(on_wire(event), ISSUED["type"])


@pytest.mark.parametrize(
    "amount", ["0.01", "0.1", "1", "50000", "9999999999999.99", "10000000000000", "10000000000000.00"]
)
def test_every_amount_that_is_read_passes(amount):
    event = changed(REDEEMED, "data.amount", amount)
    validator_of("voucher.redeemed.v1.json").validate(event)
    decode(on_wire(event), REDEEMED["type"])


@pytest.mark.parametrize(
    ("event", "where", "value"),
    [
        *((ISSUED, where, REMOVED) for where in ("specversion", "id", "source", "type", "time", "data")),
        *((ISSUED, f"data.{name}", REMOVED) for name in ("voucher_id", "programme", "kind", "amount", "enterprise")),
        *((ISSUED, f"data.contract.{name}", REMOVED) for name in ("number", "provider", "fee", "signed_on")),
        (ISSUED, "specversion", "0.3"),
        (ISSUED, "id", ""),
        (ISSUED, "id", "x" * 129),
        (ISSUED, "id", "a\tb"),
        (ISSUED, "type", "voucher.issued.v2"),
        (ISSUED, "time", "2024-05-01T10:00:00"),
        (ISSUED, "time", "1714528800"),
        (ISSUED, "time", 1714528800),
        *((ISSUED, "data.amount", amount) for amount in NOT_AMOUNTS),
        (ISSUED, "data.enterprise.prior_year_revenue", "-1"),
        (ISSUED, "data.enterprise.organisation", "club"),
        (ISSUED, "data.enterprise.size", "huge"),
        (ISSUED, "data.enterprise.uscc", "x" * 65),
        (ISSUED, "data.kind", "coupon"),
        (ISSUED, "data.voucher_id", "v" * 65),
        (ISSUED, "data.voucher_id", "a b"),
        (ISSUED, "data.programme", "Chengdu"),
        (ISSUED, "data.contract.signed_on", "20240415"),
        (ISSUED, "data.valid_until", "tomorrow"),
        (ISSUED, "data", []),
        *((REDEEMED, f"data.{name}", REMOVED) for name in ("redemption_id", "voucher_id", "provider", "amount")),
        (REDEEMED, "data.item", "car"),
        (REDEEMED, "data.invoice_number", ""),
        (REDEEMED, "type", "voucher.issued.v1"),
        (EXHAUSTED, "data.scope", "city"),
        (EXHAUSTED, "data.period", "2024-05"),
        (EXHAUSTED, "data.period", REMOVED),
    ],
    ids=repr,
)
def test_wrong_events_fail_here_and_there(event, where, value):
    wrong = changed(event, where, value)
    assert not validator_of(f"{event['type']}.json").is_valid(wrong)
    with pytest.raises(UndecodableError):
        decode(on_wire(wrong), event["type"])


def test_a_notification_passes_as_it_is_written():
    schema = validator_of("notification.v1.json")
    schema.validate(NOTIFICATION)
    written = Notification.model_validate(NOTIFICATION)
    schema.validate(json.loads(written.model_dump_json()))
    schema.validate(json.loads(written.model_dump_json(exclude_none=True)))
    assert json.loads(written.model_dump_json(exclude_none=True)) == NOTIFICATION


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("specversion", REMOVED),
        ("type", "voucher.issued.v1"),
        ("data.amount", 5_000_000),
        ("data.budget_remaining", "-1.00"),
        ("data.position", 0),
        ("data.hash", "F" * 64),
        ("data.added", "not without a new version"),
    ],
)
def test_a_wrong_notification_fails(where, value):
    assert not validator_of("notification.v1.json").is_valid(changed(NOTIFICATION, where, value))


def test_the_shipped_policies_pass():
    schema = validator_of("policy.v1.json")
    for policy in load_policies().values():
        schema.validate(json.loads(policy.canonical))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("budget.amount", 10_000_000),
        ("budget.amont", "10000000.00"),
        ("budget.source", REMOVED),
        ("budget.status", "assumed"),
        ("caps", [{"source": "report", "status": "published", "stage": "use", "amount": "1.00"}]),
        ("rates", []),
        ("rates", [{"source": "report", "status": "published", "share": 0.5}]),
        ("rates", [{"source": "report", "status": "published", "share": "1.5"}]),
    ],
)
def test_a_wrong_policy_fails(where, value):
    policy = json.loads(load_policies()["chengdu-2024"].canonical)
    assert not validator_of("policy.v1.json").is_valid(changed(policy, where, value))
