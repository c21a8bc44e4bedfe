import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from stdnum.cn import uscc

from schemas.identifiers import (
    ClaimedUscc,
    Number,
    PeriodName,
    ProgrammeCode,
    VoucherId,
    check_uscc,
    is_uscc,
    ledger_source,
    source_of,
)

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
VALID = ["91110108551385082Q", "91350100M000100Y43", "91510100MA0000001L"]

BODIES = st.tuples(
    st.sampled_from(["11", "12", "51", "91", "92", "93"]),
    st.text(alphabet="0123456789", min_size=6, max_size=6),
    st.text(alphabet=ALPHABET, min_size=9, max_size=9),
).map("".join)


@pytest.mark.parametrize("code", VALID)
def test_a_valid_code(code):
    assert is_uscc(code)
    assert check_uscc(code) == code


@pytest.mark.parametrize(
    "code",
    [
        "",
        "91510100MA0000001M",  # check digit
        "91510100MA0000001",  # 17 characters
        "91510100MA0000001LL",
        "91510100ma0000001l",  # capitals only
        " 91510100MA0000001L",
        "91510100MA0000001L\n",
        "91510100-MA0000001-L",
        "９1510100MA0000001L",
        "91510100MI0000001L",  # no I, O, S, V, Z in a code
        "A1510100MA0000001L",
        "成都智算中心",
    ],
)
def test_an_invalid_code_is_said_to_be_one(code):
    assert not is_uscc(code)
    with pytest.raises(ValueError, match="not a unified social credit code"):
        check_uscc(code)


@given(BODIES)
def test_a_code_with_its_check_digit_is_valid(body):
    assert is_uscc(body + uscc.calc_check_digit(body))


@given(BODIES, st.integers(0, 16), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_found(body, place, character):
    code = body + uscc.calc_check_digit(body)
    wrong = code[:place] + character + code[place + 1 :]
    assert is_uscc(wrong) == (wrong == code)


@given(st.text(max_size=24))
def test_any_text_can_be_asked_about(text):
    assert not is_uscc(text) or len(text) == 18


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (VoucherId, ["a", "CD-2024_01.x", "v" * 64], ["", "v" * 65, "a b", "a/b", "a:b", "券", "a\n"]),
        (
            ProgrammeCode,
            ["chengdu-2024", "a", "1", "a" * 64],
            ["", "-a", "a-", "Chengdu", "a_b", "a" * 65, "a\n", "成都"],
        ),
        (PeriodName, ["2024", "programme"], ["", "24", "20240", "2024-05", "Programme", "2024\n", "２０２４"]),
        (ClaimedUscc, ["x", "91510100MA0000001L", "统一", "x" * 64], ["", "x" * 65, "a\x00", "a\nb", "a\x7f"]),
        (Number, ["HT-2024/001 号", "x" * 128], ["", "x" * 129, "a\tb", "a\n"]),
    ],
    ids=["VoucherId", "ProgrammeCode", "PeriodName", "ClaimedUscc", "Number"],
)
def test_the_form_of_names(kind, good, bad):
    adapter = TypeAdapter(kind)
    for text in good:
        assert adapter.validate_python(text) == text
    for text in [*bad, None, 1]:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


def test_who_speaks_is_written_as_a_source():
    assert source_of("91510100MA0000001L") == "urn:uscc:91510100MA0000001L"
    assert ledger_source("chengdu-2024") == "urn:voucher-ledger:chengdu-2024"
