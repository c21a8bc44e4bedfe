"""The contract for those who do not write Python: JSON Schemas, and the streams as AsyncAPI with a page for people.

All of it is generated from the models, so that they cannot differ.

A JSON Schema says the form of one document. It does not say how its fields agree (that ``subject`` names what ``data``
is about, that ``enterprise`` comes with the scope ``enterprise``): a document can pass it and still be refused here.
"""

import json
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from schemas.asyncapi.as_yaml import as_yaml
from schemas.asyncapi.document import document
from schemas.asyncapi.page import page
from schemas.events import EXHAUSTED, ISSUED, REDEEMED
from schemas.forms import QuotaExhausted, VoucherIssued, VoucherRedeemed
from schemas.letters import DeadLetter
from schemas.notifications import Notification
from schemas.policy import Policy
from schemas.words import entitle

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ID_PREFIX: Final = "urn:voucher-ledger:schema:"

# What comes in is described as it is read, what goes out as it is written.
_MODELS: Final[dict[str, tuple[type[BaseModel], JsonSchemaMode]]] = {
    ISSUED: (VoucherIssued, "validation"),
    REDEEMED: (VoucherRedeemed, "validation"),
    EXHAUSTED: (QuotaExhausted, "validation"),
    "notification.v1": (Notification, "serialization"),
    "dead-letter.v1": (DeadLetter, "serialization"),
    "policy.v1": (Policy, "validation"),
}


def documents() -> dict[str, str]:
    """Return every document of the contract as text, by file name; the same text each time. Money in them is yuan."""
    streams = document()
    return {
        **{f"{name}.json": _document(name, model, mode) for name, (model, mode) in _MODELS.items()},
        "asyncapi.yaml": as_yaml(streams),
        "asyncapi.html": page(streams),
    }


def _document(name: str, model: type[BaseModel], mode: JsonSchemaMode) -> str:
    schema = model.model_json_schema(mode=mode) | {"$schema": DIALECT, "$id": ID_PREFIX + name}
    if model is not Policy:
        for part, described in [(model.__name__, schema), *schema.get("$defs", {}).items()]:
            entitle(part, described)
    return json.dumps(schema, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
