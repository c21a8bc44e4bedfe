import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.money import FEN_MAX, Amount, AmountOrZero, format_yuan, parse_yuan

AMOUNT = TypeAdapter(Amount)
AMOUNT_OR_ZERO = TypeAdapter(AmountOrZero)

NOT_AMOUNTS = [
    "1e3",
    "1E3",
    "1.234",
    "-1",
    "+1",
    "01",
    "00",
    "00.5",
    ".5",
    "1.",
    "1.5.0",
    "",
    " ",
    " 1",
    "1 ",
    "1\n",
    "１",
    "٣",
    "1,000",
    "1_000",
    "0x10",
    "¥1",
    "NaN",
    "Infinity",
    "10000000000000.01",
    "10000000000001",
    "99999999999999",
    "100000000000000",
]

NOT_STRINGS = [1, 0, 1.0, 0.1, math.nan, math.inf, True, None, b"1", Decimal(1), ["1"], {"amount": "1"}]


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("50000.00", 5_000_000),
        ("50000", 5_000_000),
        ("50000.5", 5_000_050),
        ("0.01", 1),
        ("0.1", 10),
        ("1", 100),
        ("0.29", 29),  # 28 when a float was on the way
        ("4503599627370.49", 450_359_962_737_049),
        ("10000000000000", FEN_MAX),
        ("10000000000000.00", FEN_MAX),
    ],
)
def test_a_decimal_string_of_yuan_is_read_as_fen(text, fen):
    assert parse_yuan(text) == fen
    assert AMOUNT.validate_python(text) == fen
    assert AMOUNT.validate_json(f'"{text}"') == fen


@pytest.mark.parametrize("text", NOT_AMOUNTS)
def test_nothing_but_a_plain_decimal_is_an_amount(text):
    with pytest.raises(ValueError, match=r"an amount is"):
        parse_yuan(text)
    for adapter in (AMOUNT, AMOUNT_OR_ZERO):
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


@pytest.mark.parametrize("value", NOT_STRINGS, ids=repr)
def test_a_number_is_refused_and_not_rounded(value):
    for adapter in (AMOUNT, AMOUNT_OR_ZERO):
        with pytest.raises(ValidationError, match="decimal string of yuan"):
            adapter.validate_python(value)


@pytest.mark.parametrize("text", ["1", "1.0", "1e3", "NaN", "true", "null"])
def test_a_json_number_is_refused(text):
    with pytest.raises(ValidationError):
        AMOUNT.validate_json(text)


@pytest.mark.parametrize("zero", ["0", "0.0", "0.00"])
def test_zero_is_an_amount_only_where_it_may_be(zero):
    assert AMOUNT_OR_ZERO.validate_python(zero) == 0
    with pytest.raises(ValidationError, match="more than zero"):
        AMOUNT.validate_python(zero)


@pytest.mark.parametrize(
    ("fen", "text"),
    [(0, "0.00"), (1, "0.01"), (10, "0.10"), (5_000_000, "50000.00"), (-1, "-0.01"), (-250, "-2.50")],
)
def test_fen_are_written_with_two_decimals(fen, text):
    assert format_yuan(fen) == text


def test_the_wire_form_is_text_and_the_inner_form_is_a_number():
    assert AMOUNT.dump_json(5_000_000) == b'"50000.00"'
    assert AMOUNT.dump_python(5_000_000) == 5_000_000


@given(st.integers(0, FEN_MAX))
def test_what_is_written_is_read_as_the_same(fen):
    assert parse_yuan(format_yuan(fen)) == fen


@given(st.integers(FEN_MAX + 1, FEN_MAX * 1000))
def test_nothing_over_the_limit_is_read(fen):
    with pytest.raises(ValueError, match=r"an amount is"):
        parse_yuan(format_yuan(fen))


@given(st.text(alphabet="0123456789.+-eE ，１", max_size=18) | st.text(max_size=8))
def test_any_text_is_an_exact_amount_or_no_amount(text):
    try:
        fen = parse_yuan(text)
    except ValueError:
        return
    assert 0 <= fen <= FEN_MAX
    assert Decimal(fen) == Decimal(text) * 100
    assert parse_yuan(format_yuan(fen)) == fen
