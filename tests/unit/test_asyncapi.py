"""The AsyncAPI document: that it is one, that it says what the streams and models are, and that its page says all of it."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from events_made import shipped
from hypothesis import given
from hypothesis import strategies as some
from jsonschema import Draft7Validator, Draft202012Validator
from ledger_in_memory import LedgerInMemory
from ruamel.yaml import YAML
from wire_events import EVENTS

from schemas import streams
from schemas.asyncapi import examples
from schemas.asyncapi.as_yaml import as_yaml
from schemas.asyncapi.document import document
from schemas.asyncapi.page import page
from schemas.codes import Code, DeadLetterReason
from schemas.decoding import UndecodableError, decode
from schemas.export import documents
from schemas.notifications import Notification
from schemas.words import FIELDS
from services import broker
from services.notifications import notification
from services.placing import stream_key_of

ROOT = Path(__file__).parents[2]
DOCUMENT = document()
CHANNELS = DOCUMENT["channels"]
MESSAGES = DOCUMENT["components"]["messages"]
SCHEMAS = DOCUMENT["components"]["schemas"]


def at(pointer: str):
    """Return what a reference into the document points at; KeyError when there is nothing."""
    found = DOCUMENT
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(part):
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(part, list):
        for one in part:
            yield from references(one)


def payload_schema(message: str):
    """Return a message's schema as one that stands by itself, in the dialect that AsyncAPI's own is a superset of."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", "components": {"schemas": SCHEMAS}} | MESSAGES[
        message
    ]["payload"]


# ---- The document ----------------------------------------------------------------------------------------------------


def test_it_is_an_asyncapi_3_document():
    official = json.loads((ROOT / "tests" / "vendored" / "asyncapi-3.0.0.json").read_text(encoding="utf-8"))
    validator = Draft7Validator(official)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    assert not validator.is_valid(DOCUMENT | {"channels": {"a": {"adress": "misspelt"}}})


def test_what_is_published_is_read_as_the_document():
    assert YAML(typ="safe").load(documents()["asyncapi.yaml"]) == DOCUMENT


def test_every_reference_leads_somewhere():
    found = list(references(DOCUMENT))
    assert found
    for reference in found:
        assert at(reference)


def test_its_channels_are_the_streams_that_the_services_use():
    """Each key that a service reads or writes is of one channel, and each channel is used."""
    policies = shipped()
    used = [one.key for one in broker.inbound_streams(policies)]
    used += [broker.notification_stream(programme) for programme in policies]
    used.append(broker.DEAD_LETTERS)
    of_key = {key: [name for name, channel in CHANNELS.items() if matches(channel, key)] for key in used}
    assert all(len(names) == 1 for names in of_key.values()), of_key
    assert {names[0] for names in of_key.values()} == CHANNELS.keys()
    for one in broker.inbound_streams(policies):
        channel = CHANNELS[of_key[one.key][0]]
        assert {MESSAGES[name]["name"] for name in channel["messages"]} == {one.type}
        assert channel["x-redis"]["group"] == broker.GROUP
    assert {channel["x-redis"]["fields"][0] for name, channel in CHANNELS.items() if name != "deadLetter"} == {
        broker.FIELD.decode()
    }


def matches(channel, key: str) -> bool:
    return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[A-Za-z0-9-]+", re.escape(channel["address"])), key) is not None


def test_each_channel_is_named_after_what_its_messages_say():
    """A parameter's location, followed into the example, gives the key of the stream that the example goes to."""
    for channel in CHANNELS.values():
        (message,) = channel["messages"]
        (example,) = MESSAGES[message]["examples"]
        payload, key = example["payload"], channel["address"]
        for name, parameter in channel.get("parameters", {}).items():
            value = payload
            for part in parameter["location"].removeprefix("$message.payload#/").split("/"):
                value = value[part]
            key = key.replace(f"{{{name}}}", value)
        match message:
            case "Notification":
                assert key == broker.notification_stream("chengdu-2024")
            case "DeadLetter":
                assert key == broker.DEAD_LETTERS
            case _:
                assert key == stream_key_of(decode(json.dumps(payload).encode()))


def test_who_may_write_and_read_is_what_the_access_rules_let_them():
    rules = (ROOT / "deploy" / "users.acl.template").read_text(encoding="utf-8")
    users = {line.split()[1]: line for line in rules.splitlines() if line.startswith("user ")}
    of_scheme = {
        "authority": users["authority-{programme}"], "provider": users["provider-{provider}"],
        "platform": users["{platform}"], "operator": users["operator"], "ledger": users["ledger"],
    }  # fmt: skip
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes.keys() == of_scheme.keys()
    for operation in DOCUMENT["operations"].values():
        stream = at(operation["channel"]["$ref"])["address"].partition(":")[0]
        # Whoever is on the other side of what the ledger receives writes it, and reads what it sends.
        right = "W" if operation["action"] == "receive" else "R"
        for security in operation["security"]:
            rule = of_scheme[security["$ref"].rpartition("/")[2]]
            assert re.search(rf"%R?{right}W?~{re.escape(stream)}\b", rule), (stream, rule)


# ---- Its messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MESSAGES)
def test_each_example_is_of_its_message(name):
    Draft7Validator.check_schema(payload_schema(name))
    validator = Draft7Validator(payload_schema(name))
    (example,) = MESSAGES[name]["examples"]
    validator.validate(example["payload"])
    assert not validator.is_valid({})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_a_payload_s_schema_says_what_the_published_one_says(event):
    (name,) = (name for name, message in MESSAGES.items() if message["name"] == event["type"])
    here, there = (
        Draft7Validator(payload_schema(name)),
        Draft202012Validator(json.loads(documents()[f"{event['type']}.json"])),
    )
    here.validate(event)
    for where in [*event, *(f"data.{field}" for field in event["data"])]:
        *parents, field = where.split(".")
        spoilt = json.loads(json.dumps(event))
        holder = spoilt["data"] if parents else spoilt
        for value in ({"an": "object"}, "\x00", None):
            holder[field] = value
            assert here.is_valid(spoilt) == there.is_valid(spoilt), (where, value)


def test_the_examples_are_what_the_ledger_says():
    """One story: the two events of docs/example.ndjson, and what platforms are told of the second."""
    lines = (ROOT / "docs" / "example.ndjson").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [examples.ISSUED, examples.REDEEMED]
    policy = shipped()["chengdu-2024"]
    recorded_at = Notification.model_validate(examples.NOTIFICATION).time
    ledger = LedgerInMemory(policy, recorded_at)
    ledger.accept(examples.ISSUED, examples.REDEEMED)
    assert json.loads(notification(ledger.rows[-1], policy.digest)) == examples.NOTIFICATION
    assert ledger.decide(examples.EXHAUSTED).accepted


def test_the_example_of_a_dead_letter_says_why_it_is_one():
    letter = examples.DEAD_LETTER
    with pytest.raises(UndecodableError) as caught:
        decode(letter["event"].encode(), "voucher.issued.v1")
    assert (caught.value.reason, caught.value.detail) == (letter["reason"], letter["detail"])


def test_every_code_and_reason_is_told():
    assert list(MESSAGES["Notification"]["x-codes"]["meanings"]) == list(Code)
    assert list(MESSAGES["DeadLetter"]["x-codes"]["meanings"]) == list(DeadLetterReason)


def test_every_field_has_words_in_both_languages_and_all_words_are_used():
    of_fields = {
        (model, name): field["title"]
        for model, schema in SCHEMAS.items()
        for name, field in schema.get("properties", {}).items()
    }
    assert of_fields
    used = set()
    for (model, name), title in of_fields.items():
        key = f"{model}.{name}" if f"{model}.{name}" in FIELDS else name
        assert key in FIELDS, f"{model}.{name} has no words"
        assert title == f"{FIELDS[key].zh} · {FIELDS[key].en}"
        used.add(key)
    assert FIELDS.keys() == used


# ---- The page --------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """What a browser would make of it: its text, its elements, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_loads_nothing():
    text = page(DOCUMENT)
    found = _Page(text)
    assert found.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in found.elements}
    for tag, attributes in found.elements:
        assert not {"src", "srcset", "style", "background", "data"} & attributes.keys(), tag
        if "href" in attributes:
            assert attributes["href"].removeprefix("#") in CHANNELS
    assert not re.search(r"https?:|//\w|url\(|@import", text)
    policy = next(attributes for _, attributes in found.elements if "http-equiv" in attributes)
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_names_every_stream_message_field_and_code():
    words = _Page(page(DOCUMENT)).words
    wanted = {stream.address for stream in streams.STREAMS}
    wanted |= {message["name"] for message in MESSAGES.values()}
    wanted |= {path for message in MESSAGES.values() for path in paths(message["payload"])}
    wanted |= {*Code, *DeadLetterReason}
    assert len(wanted) > 100
    assert wanted <= set(words)
    told = "".join(words)
    for part in [DOCUMENT["info"], *CHANNELS.values(), *DOCUMENT["operations"].values(), *MESSAGES.values(), *fields()]:
        for half in part["title"].split(" · "):
            assert half in told


def paths(schema, prefix=""):
    schema = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    schema = at(schema["$ref"]) if "$ref" in schema else schema
    for name, field in schema.get("properties", {}).items():
        yield prefix + name
        yield from paths(field, f"{prefix}{name}.")


def fields():
    return [field for schema in SCHEMAS.values() for field in schema.get("properties", {}).values()]


def test_the_page_shows_text_as_text():
    crafted = json.loads(json.dumps(DOCUMENT))
    crafted["info"]["title"] = crafted["channels"]["notification"]["title"] = "<script>alert(1)</script> · &amp; \"'"
    crafted["components"]["messages"]["DeadLetter"]["examples"][0]["payload"]["event"] = "</pre><script>"
    text = page(crafted)
    assert "<script" not in text
    assert "</pre><script>" in unescape(text)


# ---- YAML ------------------------------------------------------------------------------------------------------------

TEXTS = some.text(some.characters(exclude_categories=["Cs"]), max_size=12) | some.sampled_from(
    [
        "no",
        "2024-05-01",
        "1e3",
        "~",
        "- a",
        "a: b",
        "# x",
        " a\nb",
        "a\n  b\n",
        "a\n\nb",
        "a\n \nb",
        "a\tb\nc",
        "\n",
        "a\r\nb",
        "&a *b",
    ]
)
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | TEXTS,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(some.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_yaml_says_what_it_was_made_of(made):
    assert YAML(typ="safe", pure=True).load(as_yaml(made)) == made
