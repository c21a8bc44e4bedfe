# ruff: noqa: E501  the spellings stand in rows
"""Events spoilt at random: a good one, changed at a few places or not at all, spelt in some way, and then its bytes changed too.

All chance comes from the ``Random`` that is handed over, Hypothesis' (which can make what fails smaller) or one with a seed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

MIB = 1 << 20

MONEY = [
    "1e3", "1E+3", "+5", " 5", "5 ", "5.", ".5", "00.50", "01", "1_000", "1,000", "0.00", "0", "-0", "-0.00", "-1.00", "0.01", "0.001", "0.1", "1",
    "10000000000000", "10000000000000.00", "10000000000000.01", "9999999999999.99", "99999999999999", "999999999999.99", "1" * 400, "NaN", "Infinity",
    "٣", "１.00", "1．00", "1.٠٠", "1.00\u200b", "\u200e1.00", "0x10", "¥1.00", "1.00\n", "1.0\u0660", "²", "一",
]  # fmt: skip
DAYS = [
    "0000-01-01", "0001-01-01", "1999-12-31", "2000-01-01", "2023-02-29", "2024-02-29", "2024-02-30", "2024-04-31", "2024-13-01", "2024-00-10", "2099-12-31",
    "2100-01-01", "9999-12-31", "10000-01-01", "-2024-01-01", "2024-1-1", "20240101", "2024-W01-1", "2024-001", "2024-01-01T00:00:00Z", "２０２４-01-01", "2024‐01‐01",
    "2024-01-01 ", "0", "1714528800",
]  # fmt: skip
MOMENTS = [
    "2024-05-01T10:00:00Z", "2024-05-01T10:00:00.1Z", "2024-05-01T10:00:00.123456789+08:00", "2024-05-01T10:00:00.1234567890Z", "2024-05-01t10:00:00z",
    "2024-05-01 10:00:00Z", "2024-05-01T10:00:00", "2024-05-01T10:00Z", "2024-05-01T24:00:00Z", "2024-05-01T23:59:60Z", "2016-12-31T23:59:60Z", "2024-05-01T23:60:00Z",
    "2024-05-01T10:00:00+24:00", "2024-05-01T10:00:00-24:00", "2024-05-01T10:00:00+23:59", "2024-05-01T10:00:00-23:59", "2024-05-01T10:00:00+08:60",
    "2024-05-01T10:00:00+08", "2024-05-01T10:00:00+0800", "2024-05-01T10:00:00-00:00", "2024-02-30T10:00:00Z", "2023-02-29T00:00:00Z", "0000-05-01T10:00:00Z",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-12:00", "10000-05-01T10:00:00Z", "1999-12-31T23:59:59Z", "1999-12-31T23:00:00-02:00", "2000-01-01T00:30:00+01:00",
    "2100-01-01T00:00:00Z", "2100-01-01T00:59:59+01:00", "2099-12-31T23:59:59.999999999Z", "2024-05-01T10:00:00.Z", "2024-05-01T10:00:00,5Z", "２０２４-05-01T10:00:00Z",
    "2024-05-01T10:00:00−08:00", "1714528800", "now", "2024-05-01T10:00:00Z ",
]  # fmt: skip
NAMES = [
    "", " ", "a", "\x00", "a\x00", "a\x1fb", "a\nb", "a\tb", "\x7f", "\x80", "\x9b31m", "\u2028", "\ufeff", "\ufffe", "\uffff", "\U0010ffff", "😀", "e\u0301", "é", "\u200b",
    "\u202e1.00", "\u200f", "\u2066x\u2069", "СD-2024-000001", "CD‐2024‐000001", "ＣＤ-2024", "chengdu-2024\u200b", "сhengdu-2024", "CHENGDU-2024", "chengdu-2024 ", "chengdu_2024",
    "guizhou-2024", "a" * 63, "a" * 64, "a" * 65, "a" * 128, "a" * 129, "a" * 256, "a" * 257, "中" * 64, "中" * 65, "中" * 128, "中" * 129, "中" * 256, "中" * 257, "😀" * 64, "😀" * 65,
    "91510100MA0000001L", "91510100МA0000001L", "91510100ma0000001l", "９1510100MA0000001L", "91510100MA0000001L\u200b", "91510100MA0000001M", "urn:uscc:91510100MA0000001L",
    "1.0", "1.00", "2024", "２０２４", "programme", "enterprise", "cash", "Cash", "сash", "in_kind", "small", "compute", "voucher.issued.v1", "voucher.redeemed.v1",
    "quota.exhausted.v1", "voucher.issued.v2", "null", "true", '"', "\\", "\\u0000", "{", "}", "[", '","amount":"1.00', "': '", "%s", "{0}", "'; DROP TABLE entry; --",
]  # fmt: skip
TEXTS = [*MONEY, *DAYS, *MOMENTS, *NAMES]

VALUES = [
    b"0", b"-0", b"-0.0", b"1", b"-1", b"1.0", b"0.1", b"1e3", b"1E+3", b"1e400", b"-1e400", b"1e-400", b"10000000000000", b"9007199254740993", b"18446744073709551616",
    b"9" * 400, b"9" * 4300, b"9" * 4301, b"9" * 10_000, b"-" + b"9" * 4300, b"1." + b"3" * 5000, b"1e" + b"9" * 30, b"true", b"false", b"null", b"[]", b"{}", b'[""]', b'{"":""}',
    b'{"a":1,"a":1}', b'{"a":1,"b":{"c":2,"c":2}}', b'[{"a":"1","a":"1"}]', rb'{"a":1,"\u0061":1}', b'{"a":1,"A":1}', '{"é":1,"e\u0301":1}'.encode(), b'[[[{"a":{"a":[1]}}]]]',
    b"[" * 198 + b"]" * 198, b"[" * 200 + b"]" * 200, b"[" * 201 + b"]" * 201, b'{"a":' * 199 + b"1" + b"}" * 199, b'{"a":' * 202 + b"1" + b"}" * 202, b"[" * 500 + b"]" * 500, b"[" * 3000 + b"]" * 3000,
    b"[" * 3000, b"{" * 50, b"]", b"}", b"NaN", b"-NaN", b"nan", b"Infinity", b"-Infinity", b"inf", b'["NaN", "Infinity"]', b"+5", b"01", b".5", b"5.", b"1_000", b"0x1F", b"1e", b"--1", b"tru", b"True", b"None",
    b"undefined", b"'a'", b"a", b"", b" ", b"1 1", b"1,", b",", b"[1,]", b"[,]", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{1:1}", b"{a:1}", b"1 /* a */", b"// a\n1", b'"\xff"', b'"\xc0\x80"', b'"\xc0\xaf"', b'"\xed\xa0\x80"',
    b'"\xed\xa0\xbd\xed\xb8\x80"', b'"\xf4\x90\x80\x80"', b'"\xe4\xb8"', b'"\xef\xbb\xbf"', b'"\x00"', b'"\x01"', b'"\n"', b'"\x7f"', rb'"\u0000"', rb'"\u001f"', rb'"\u007f"', rb'"\ud800"', rb'"\udc00"',
    rb'"\ud83d\ude00"', rb'"\ude00\ud83d"', rb'"\ud83d\u0061"', rb'"\ud83d\ud83d\ude00"', rb'{"\ud800":1}', rb'"\u00"', rb'"\x41"', rb'"\u00zz"', rb'"\U00000041"', rb'"\/\b\f"', rb'"\v"', b'"\\', b'"', b'"a', b"\xef\xbb\xbf1", b"\x00",
    b"\xa0", b"\x0c1", b"\xc2\xa01",
]  # fmt: skip
"""As they stand in the document: JSON of every kind, and what is nearly JSON."""

AROUND = [
    b"", b" ", b"\n", b"\r\n\t ", b"\x00", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xef\xbb\xbf", b"\xff\xfe", b"{}", b"[]", b"null", b",", b"}", b"{", b'"', b"1", b"//", b"#", b")]}'\n", b"\x1e", b"data: ",
]  # fmt: skip
"""What may stand before or behind a document."""


class Spelt(NamedTuple):
    """A value just as it stands in the document."""

    text: bytes


class Pairs(list[list[Any]]):
    """An object, a pair of name and value each: a name may come twice."""


class Spoilt(NamedTuple):
    """The bytes, and what was done to them."""

    raw: bytes
    how: tuple[str, ...]


def spoil(random: Random, event: dict[str, Any], others: Sequence[dict[str, Any]], *, long: bool = False) -> Spoilt:
    """Return the event, spoilt at up to three places or at none; ``others`` are what other documents may be spliced in from.

    ``long`` says that now and then a text of a mebibyte is put in.
    """
    tree, how = _tree(event), list[str]()
    for _ in range(random.choice((0, 1, 1, 1, 1, 2, 3))):
        change = random.choice(CHANGES) if any(_objects(tree)) else add
        how.append(f"{change.__name__} {change(random, tree)}")
    if long and random.randrange(300) == 0:
        holder = random.choice(list(_objects(tree)))
        if holder:
            random.choice(holder)[1] = "長" * (MIB // 3)
            how.append("long")
    raw = _spelt(random, tree)
    if random.randrange(4) == 3:
        change_bytes = random.choice(BYTE_CHANGES)
        raw = change_bytes(random, raw, [json.dumps(other).encode() for other in others])
        how.append(change_bytes.__name__)
    return Spoilt(raw, tuple(how))


def _tree(value: Any) -> Any:
    return Pairs([name, _tree(part)] for name, part in value.items()) if isinstance(value, dict) else value


def _objects(tree: Any) -> Iterator[Pairs]:
    if isinstance(tree, Pairs):
        yield tree
        for _, value in tree:
            yield from _objects(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _objects(value)


def _a_pair(random: Random, tree: Pairs) -> tuple[Pairs, int]:
    holders = [holder for holder in _objects(tree) if holder]
    holder = random.choice(holders)
    return holder, random.randrange(len(holder))


def _some_text(random: Random) -> str:
    if random.randrange(8) == 7:
        return "".join(
            chr(random.choice((random.randrange(0x80), random.randrange(0xD800), 0x10FFFF)))
            for _ in range(random.randrange(12))
        )
    return random.choice(TEXTS)


def put_text(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    name, old = holder[place]
    # Half of the time what is nearly right for the place.
    near = {
        "amount": MONEY,
        "fee": MONEY,
        "prior_year_revenue": MONEY,
        "time": MOMENTS,
        "signed_on": DAYS,
        "valid_until": DAYS,
    }.get(name, NAMES)
    text = random.choice(near) if random.randrange(2) else _some_text(random)
    if random.randrange(6) == 5 and isinstance(old, str) and old:
        cut = random.randrange(len(old))
        text = (
            old[:cut]
            + random.choice(("\u200b", "\u202e", "\x00", "０", "а", "́", " ", "\ufeff"))
            + old[cut + random.randrange(2) :]
        )
    holder[place][1] = text
    return f"{name}={text[:40]!r}"


def put_value(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    value = random.choice(VALUES)
    holder[place][1] = Spelt(value)
    return f"{holder[place][0]}={value[:40]!r}"


def leave_out(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    return str(holder.pop(place)[0])


def add(random: Random, tree: Pairs) -> str:
    holder = random.choice(list(_objects(tree)))
    name = random.choice(
        (
            "extra",
            "traceparent",
            "",
            "__proto__",
            "data",
            "id",
            "Amount",
            "AMOUNT",
            "аmount",
            "amount\u200b",
            "ends_on",
            "\x00",
            "NaN",
            "[",
            "{",
            ":",
            "datacontenttype",
            "dataschema",
            "data_base64",
        )
    )
    value = Spelt(random.choice(VALUES)) if random.randrange(2) else _some_text(random)
    holder.insert(random.randrange(len(holder) + 1), [name, value])
    return f"{name}={str(value)[:40]!r}"


def double(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    name, value = holder[place]
    other = random.choice((value, None, _some_text(random), Spelt(random.choice(VALUES))))
    spelt = Spelt(_escaped(name)) if isinstance(name, str) and random.randrange(3) == 2 else name
    holder.insert(random.randrange(len(holder) + 1), [spelt, other])
    return str(name)


def rename(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    name = str(holder[place][0])
    holder[place][0] = random.choice(
        (
            name.upper(),
            name.title(),
            name + " ",
            "\ufeff" + name,
            name.replace("a", "а"),
            name.replace("i", "ı"),
            name[:-1],
            name + name,
        )
    )
    return name


def nest(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    value = holder[place][1]
    holder[place][1] = random.choice(([value], [value, value], Pairs([[holder[place][0], value]]), [[[value]]]))
    return str(holder[place][0])


def move(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    if isinstance(holder[place][1], Pairs):
        return nest(random, tree)
    pair = holder.pop(place)
    random.choice(list(_objects(tree))).append(pair)
    return str(pair[0])


def unwrap(random: Random, tree: Pairs) -> str:
    holder, place = _a_pair(random, tree)
    name, value = holder[place]
    if isinstance(value, Pairs):
        holder[place : place + 1] = value
    return str(name)


Change = Callable[[Random, Pairs], str]
CHANGES: Sequence[Change] = (
    put_text,
    put_text,
    put_text,
    put_value,
    put_value,
    leave_out,
    add,
    double,
    rename,
    nest,
    move,
    unwrap,
)


def _escaped(text: str) -> bytes:
    """Return the string with each character as an escape."""
    units = text.encode("utf-16-be", "surrogatepass")
    return b'"' + b"".join(b"\\u%02x%02x" % (units[at], units[at + 1]) for at in range(0, len(units), 2)) + b'"'


def _spelt(random: Random, tree: Any) -> bytes:
    """Return the tree as text: compact, with spaces, or over lines; its strings as they are, or with some or all of it escaped."""
    between, after = random.choice(((b",", b":"), (b", ", b": "), (b",\n  ", b" : "), (b" ,\t", b":\r\n")))
    strings = random.choice(("as they are", "as they are", "ascii", "escaped"))

    def string(text: str) -> bytes:
        if strings == "escaped" and len(text) < 300 and random.randrange(4) == 0:
            return _escaped(text)
        return json.dumps(text, ensure_ascii=strings == "ascii").encode(errors="surrogatepass")

    def spell(value: Any) -> bytes:
        match value:
            case Spelt(text):
                return text
            case Pairs():
                return b"{" + between.join(spell(name) + after + spell(part) for name, part in value) + b"}"
            case list():
                return b"[" + between.join(map(spell, value)) + b"]"
            case str():
                return string(value)
        return json.dumps(value).encode()

    return spell(tree)


def flip(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(raw)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(raw))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    return raw[: random.randrange(len(raw))]


def take_out(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randrange(len(raw))
    return raw[:start] + raw[start + random.choice((1, 1, 2, 10)) :]


def put_in(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    place = random.randrange(len(raw) + 1)
    return raw[:place] + random.choice((*VALUES, *AROUND, b'"', b"\\", b",", b":", b"\xf0\x9f")) + raw[place:]


def splice(random: Random, raw: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return raw[: random.randrange(len(raw))] + other[random.randrange(len(other)) :]


def surround(random: Random, raw: bytes, others: Sequence[bytes]) -> bytes:
    return random.choice(AROUND) + raw + random.choice((*AROUND, raw, *others))


def recode(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    text = raw.decode(errors="replace")
    return text.encode(
        random.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "gb18030", "utf-7")), errors="replace"
    )


def noise(random: Random, _: bytes, __: Sequence[bytes]) -> bytes:
    return bytes(random.randrange(256) for _ in range(random.randrange(20)))


BYTE_CHANGES = (flip, cut, take_out, put_in, splice, surround, recode, noise)
