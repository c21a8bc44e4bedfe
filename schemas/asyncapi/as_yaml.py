"""YAML of what JSON can say, for people to read: blocks, plain keys, texts of several lines as they are. Nothing is ever ambiguous.

Values are written as JSON writes them, which YAML reads the same way: no text is taken for a number, a date or a truth value.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_INDENT: Final = "  "
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$./-]*")
# What a reader of YAML 1.1 or 1.2 takes for something else than text.
_NOT_TEXT: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
# What YAML does not take as it is, though JSON does.
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_NOT_IN_A_BLOCK: Final = re.compile(rf"\A[ \n]|\n\Z|[\x00-\x09\x0b-\x1f]|{_ESCAPED.pattern}")


def as_yaml(document: Mapping[str, Any]) -> str:
    """Return the document as YAML; the order of its keys is kept."""
    return "".join(f"{line}\n" for line in _mapping(document, ""))


def _mapping(document: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in document.items():
        yield from _entry(f"{indent}{_key(key)}:", value, indent + _INDENT)


def _list(items: list[Any], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Mapping) and item:
            # The first key stands behind the dash, the others under it.
            first, *others = _mapping(item, indent + _INDENT)
            yield f"{indent}- {first.removeprefix(indent + _INDENT)}"
            yield from others
        else:
            yield from _entry(f"{indent}-", item, indent + _INDENT)


def _entry(begun: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield begun
        yield from _mapping(value, indent)
    elif isinstance(value, list) and value:
        yield begun
        yield from _list(value, indent)
    elif isinstance(value, str) and "\n" in value and not _NOT_IN_A_BLOCK.search(value):
        yield f"{begun} |-"
        yield from (indent + line if line else "" for line in value.split("\n"))
    else:
        yield f"{begun} {_scalar(value)}"


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_TEXT else _scalar(key)


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
