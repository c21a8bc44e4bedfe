"""The AsyncAPI document as one page for people, in Chinese and in English. It loads nothing: no script, no font, no picture."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final, NamedTuple

from schemas.asyncapi.style import STYLE

_FORMATS: Final = {"date-time": "RFC 3339", "date": "YYYY-MM-DD"}
_PATTERN_SHOWN_MAX: Final = 60

Json = Mapping[str, Any]


class _Field(NamedTuple):
    """A field of a message by its path, ``data.enterprise.uscc``."""

    path: str
    title: str
    form: str
    required: bool


def page(document: Json) -> str:
    """Return the page as HTML; the same document gives the same page."""
    info = document["info"]
    channels = document["channels"]
    links = "".join(
        f'<li><a href="#{name}"><code>{escape(one["address"])}</code></a> {_both(one["title"])}</li>'
        for name, one in channels.items()
    )
    sections = "".join(_channel(document, name, one) for name, one in channels.items())
    return f"""<!DOCTYPE html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(info["title"])}</title>
<style>
{STYLE}</style>
</head>
<body>
<header><h1>{_both(info["title"])}</h1>
<p class="small">{escape(info["version"])} · AsyncAPI {escape(document["asyncapi"])}: <code>asyncapi.yaml</code></p></header>
<nav><ul>{links}</ul></nav>
<main>
<section>{_paragraphs(info["description"])}</section>
{_users(document)}
{sections}</main>
</body>
</html>
"""


def _users(document: Json) -> str:
    server = document["servers"]["broker"]
    schemes = document["components"]["securitySchemes"]
    rows = "".join(
        f"<tr><th><code>{escape(name)}</code></th><td>{_paragraphs(scheme['description'])}</td></tr>"
        for name, scheme in schemes.items()
    )
    return (
        f'<section id="broker"><h2>{_both(server["title"])}</h2>{_paragraphs(server["description"])}'
        f"<table><tbody>{rows}</tbody></table></section>"
    )


def _channel(document: Json, name: str, channel: Json) -> str:
    parameters = "".join(
        f"<p><code>{{{escape(parameter)}}}</code> {_both(described['description'])} "
        f'<span class="small">{escape(", ".join(described["examples"]))}</span></p>'
        for parameter, described in channel.get("parameters", {}).items()
    )
    operations = "".join(
        _operation(operation)
        for operation in document["operations"].values()
        if operation["channel"]["$ref"].removeprefix("#/channels/") == name
    )
    messages = "".join(_message(document, message) for message in channel["messages"])
    return (
        f'<section id="{escape(name)}"><h2><code>{escape(channel["address"])}</code> {_both(channel["title"])}</h2>'
        f"{_paragraphs(channel['description'])}{parameters}{operations}{messages}</section>\n"
    )


def _operation(operation: Json) -> str:
    others = ", ".join(one["$ref"].rpartition("/")[2] for one in operation["security"])
    command = operation["x-redis"]["counterpart"]
    return (
        f'<p class="operation"><strong>{_both(operation["title"])}</strong><br>'
        f'<span class="small">{escape(others)}:</span> <code>{escape(command)}</code></p>'
    )


def _message(document: Json, name: str) -> str:
    message = document["components"]["messages"][name]
    rows = "".join(
        f"<tr><th><code>{escape(field.path)}</code>{'<b>*</b>' if field.required else ''}</th>"
        f'<td>{_both(field.title)}</td><td class="small">{escape(field.form)}</td></tr>'
        for field in _fields(document, message["payload"])
    )
    examples = "".join(
        f"<pre>{escape(json.dumps(example['payload'], ensure_ascii=False, indent=2))}</pre>"
        for example in message["examples"]
    )
    return (
        f"<h3><code>{escape(message['name'])}</code> {_both(message['title'])}</h3><p>{_both(message['summary'])}</p>"
        f'<table class="fields"><tbody>{rows}</tbody></table><p class="small"><b>*</b> 必填 · required</p>'
        f"{_codes(message)}<details><summary>示例 · Example</summary>{examples}</details>"
    )


def _codes(message: Json) -> str:
    if "x-codes" not in message:
        return ""
    codes = message["x-codes"]
    rows = "".join(
        f'<tr><th><code>{escape(code)}</code></th><td><span lang="zh">{escape(words["zh"])}</span> '
        f'<span lang="en">{escape(words["en"])}</span></td></tr>'
        for code, words in codes["meanings"].items()
    )
    return f"<h4><code>{escape(codes['field'])}</code></h4><table><tbody>{rows}</tbody></table>"


def _fields(document: Json, schema: Json, path: str = "") -> Iterator[_Field]:
    """Yield the fields of a message, each after the one that it is a part of."""
    described = _resolved(document, schema)
    for name, field in described.get("properties", {}).items():
        form = _resolved(document, field)
        yield _Field(path + name, field["title"], _form(form), name in described.get("required", ()))
        yield from _fields(document, form, f"{path}{name}.")


def _resolved(document: Json, schema: Json) -> Json:
    """Return what a schema is, behind references, and apart from being allowed to be null."""
    if "anyOf" in schema:
        (schema,) = (one for one in schema["anyOf"] if one.get("type") != "null")
    if "$ref" in schema:
        return _resolved(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return schema


def _form(schema: Json) -> str:
    """Return in a few words what may stand in a field."""
    match schema:
        case {"const": value}:
            return json.dumps(value)
        case {"enum": values}:
            return " | ".join(map(str, values))
        case {"examples": [example, *_], "description": text}:
            return f"{text}: {json.dumps(example)}"
        case {"format": name}:
            return _FORMATS[name]
        case {"type": "object"}:
            return "{ … }"
        case {"maxLength": longest}:
            return f"{schema.get('minLength', 0)}–{longest} 字符 · characters"
        case {"pattern": pattern} if len(pattern) <= _PATTERN_SHOWN_MAX:
            return str(pattern)
        case _:
            return str(schema["type"])


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_marked(part)}</p>" for part in text.split("\n\n"))


def _marked(text: str) -> str:
    """Return the text with what stands between backticks as code."""
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part) for number, part in enumerate(text.split("`"))
    )


def _both(title: str) -> str:
    chinese, _, english = title.partition(" · ")
    return f'<span lang="zh">{escape(chinese)}</span> <span lang="en">{escape(english)}</span>'
