"""The streams, messages and operations of the contract as an AsyncAPI 3 document, as seen by the ledger: it receives, and sends.

Made of the same models and names that the services use. Each kind of producer or reader is a security scheme; what AsyncAPI has no
word for in Redis Streams (its binding for Redis is empty) stands under ``x-redis``.
"""

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from schemas.asyncapi.catalogue import ABOUT, CHANNELS, MESSAGES, OPERATIONS, USERS, Carried, Channel, Operation
from schemas.codes import Message
from schemas.identifiers import PROGRAMME_PATTERN
from schemas.letters import DeadLetter
from schemas.streams import FIELD
from schemas.words import both, entitle

VERSION: Final = "1.0.0"
"""Of the contract: the first number is the ``v1`` of its types."""

_CLOUDEVENT: Final = "application/cloudevents+json; charset=UTF-8"
_EMPTY_BINDING: Final[dict[str, Any]] = {"redis": {}}

_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "programme": {
        "description": both(Message("项目代码", "a programme's code")) + f" ({PROGRAMME_PATTERN})",
        "examples": ["chengdu-2024"],
    },
    "provider": {
        "description": both(Message("服务机构的统一社会信用代码", "the provider's USCC")),
        "examples": ["91510100MA0000001L"],
    },
}


def document() -> dict[str, Any]:
    """Return the document as what JSON can say; the same each time. Money in it is yuan."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:voucher-ledger",
        "info": {"title": "算力券账本 · Voucher ledger", "version": VERSION, "description": ABOUT},
        "defaultContentType": _CLOUDEVENT,
        "servers": {"broker": _server()},
        "channels": {channel.id: _channel(channel) for channel in CHANNELS},
        "operations": {operation.id: _operation(operation) for operation in OPERATIONS},
        "components": {
            "messages": {message.id: _message(message) for message in MESSAGES},
            "schemas": _schemas(),
            "securitySchemes": {
                user: {"type": "userPassword", "description": _paragraphs(words)} for user, words in USERS.items()
            },
        },
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{host}:{port}",
        "protocol": "redis",
        "title": "消息流服务器 · The broker",
        "description": _paragraphs(Message(
            "Redis 7 或更新，或 Valkey。协议本身不加密：跨主机使用时须经 TLS 代理或 VPN。用户名和密码由运营方发放。",
            "Redis 7 or newer, or Valkey. The protocol is not encrypted: beyond one host put a TLS proxy or a VPN before it. "
            "Users and passwords are handed out by the operator.",
        )),
        "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "6379"}},
        "security": [_reference("components", "securitySchemes", user) for user in USERS],
        "bindings": _EMPTY_BINDING,
    }  # fmt: skip


def _channel(channel: Channel) -> dict[str, Any]:
    stream, message = channel.stream, channel.message
    fields = sorted(DeadLetter.model_fields) if message.model is DeadLetter else [FIELD]
    parameter = stream.parameter
    return {
        "address": stream.address,
        "title": both(channel.title),
        "description": _paragraphs(channel.description),
        "servers": [_reference("servers", "broker")],
        **({} if parameter is None else {"parameters": {parameter: _parameter(parameter, channel.owner)}}),
        "messages": {message.id: _reference("components", "messages", message.id)},
        "bindings": _EMPTY_BINDING,
        "x-redis": {
            "type": "stream", "fields": fields, "entryId": channel.entry_id,
            **({} if channel.group is None else {"group": channel.group}),
        },
    }  # fmt: skip


def _parameter(name: str, owner: str) -> dict[str, Any]:
    return {**_PARAMETERS[name], "location": f"$message.payload#{owner}"}


def _operation(operation: Operation) -> dict[str, Any]:
    channel = operation.channel
    return {
        "action": operation.action,
        "title": both(operation.title),
        "channel": _reference("channels", channel.id),
        "messages": [_reference("channels", channel.id, "messages", channel.message.id)],
        "security": [_reference("components", "securitySchemes", user) for user in operation.by],
        "bindings": _EMPTY_BINDING,
        "x-redis": {"counterpart": operation.command},
    }


def _message(message: Carried) -> dict[str, Any]:
    described = {
        "name": message.name,
        "title": both(message.title),
        "summary": both(message.summary),
        "payload": _reference("components", "schemas", message.id),
        "examples": [{"name": f"{message.name}-example", "payload": message.example}],
    }
    if message.model is DeadLetter:
        # Its fields are the entry's own: the whole of them is no JSON, and what was sent may be any bytes.
        described["contentType"] = "application/octet-stream"
    if message.meanings is not None:
        field, meanings = message.meanings
        described["x-codes"] = {"field": field, "meanings": {code: words._asdict() for code, words in meanings.items()}}
    return described


def _schemas() -> dict[str, Any]:
    """Return every model of the messages by its name. What they use of JSON Schema means the same in AsyncAPI's older dialect."""
    models = [(message.model, message.mode) for message in MESSAGES]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")
    schemas: dict[str, dict[str, Any]] = found["$defs"]
    for name, schema in schemas.items():
        entitle(name, schema)
    return dict(sorted(schemas.items()))


def _reference(*place: str) -> dict[str, str]:
    return {"$ref": f"#/{'/'.join(place)}"}


def _paragraphs(words: Message) -> str:
    return f"{words.zh}\n\n{words.en}"
