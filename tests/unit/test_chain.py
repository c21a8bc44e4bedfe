import hashlib
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import combinations

import pytest
from events_made import issue_event, redemption_event, shipped
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ledger_in_memory import RECORDED_AT, LedgerInMemory, columns_of
from msgspec.structs import fields, replace

from schemas.codes import Code
from services.ledger import chain
from services.ledger.entry import Decision

MICROSECOND = timedelta(microseconds=1)
FEN = st.none() | st.integers(0, 10**15) | st.sampled_from([0, 1])
NAMES = st.none() | st.text(st.characters(codec="utf-8"), max_size=12)
CLAIMS = st.none() | st.binary(min_size=16, max_size=16)
MOMENTS = st.datetimes(datetime(1999, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis wants them bare

DECISIONS = st.builds(
    Decision,
    kind=st.sampled_from(["issued", "redeemed", "exhausted"]),
    period=st.sampled_from(["2024", "2025", "programme"]),
    claim=CLAIMS,
    voucher_id=NAMES,
    enterprise=NAMES,
    provider=NAMES,
    amount=FEN,
    granted=FEN,
    valid_until=st.none() | st.dates(date(2000, 1, 1), date(2109, 12, 31)),
    voucher_remaining=FEN,
    quota_used=FEN,
    quota_limit=FEN,
    budget_remaining=FEN,
    payable=FEN,
    accepted=st.booleans(),
    code=st.none() | st.sampled_from(Code),
)
ENTRIES = st.fixed_dictionaries(
    {
        "programme": st.sampled_from(["chengdu-2024", "guizhou-2024", "a"]),
        "position": st.integers(1, 2**62),
        "recorded_at": MOMENTS,
        "key": st.binary(min_size=16, max_size=16),
        "decision": DECISIONS,
        "event": st.binary(max_size=40),
    }
)
FIRST = {
    "programme": "chengdu-2024",
    "position": 1,
    "recorded_at": RECORDED_AT,
    "key": bytes(range(16)),
    "decision": Decision(
        kind="issued", period="2024", claim=bytes(16), voucher_id="V-1", enterprise="E", provider="P", amount=2,
        granted=2, valid_until=date(2024, 12, 31), voucher_remaining=2, quota_used=2, quota_limit=3, budget_remaining=5,
        payable=0,
    ),
    "event": b"{}",
}  # fmt: skip


def encoded(entry):
    return chain.encode(
        chain.encoded_programme(entry["programme"]),
        entry["position"],
        chain.encoded_moment(entry["recorded_at"]),
        entry["key"],
        entry["decision"],
        entry["event"],
    )


@given(ENTRIES)
def test_everything_that_was_encoded_can_be_read_back_so_no_two_entries_have_the_same_bytes(entry):
    data = encoded(entry)
    columns = columns_of(chain.copy_row(data, chain.leaf_of(data)))
    decision = entry.pop("decision")
    entry |= {field.name: getattr(decision, field.name) for field in fields(Decision)}
    assert columns == entry | {"leaf": chain.leaf_of(data)}
    assert list(columns) == list(chain.COLUMNS)


@settings(max_examples=300)
@given(ENTRIES, DECISIONS, st.sampled_from([field.name for field in fields(Decision)]))
def test_changing_any_one_field_of_a_decision_changes_the_bytes(entry, other, field):
    changed = replace(entry["decision"], **{field: getattr(other, field)})
    assume(changed != entry["decision"])
    assert encoded(entry | {"decision": changed}) != encoded(entry)


def test_changing_any_one_field_of_one_entry_gives_another_leaf():
    variants = [FIRST | {"programme": "chengdu-2025"}, FIRST | {"position": 2}, FIRST | {"event": b"{ }"}]
    variants += [FIRST | {"recorded_at": RECORDED_AT + MICROSECOND}, FIRST | {"key": bytes(16)}]
    others = {
        "kind": "redeemed", "period": "2025", "claim": b"c" * 16, "voucher_id": "V-2", "enterprise": "", "provider": "p",
        "valid_until": date(2025, 1, 1), "accepted": False, "code": Code.CLAMPED_TO_CAP,
    }  # fmt: skip
    for field in fields(Decision):
        for value in {others.get(field.name, 1), None}:
            if value is not None or field.name not in {"kind", "period", "accepted", "code"}:
                variants.append(FIRST | {"decision": replace(FIRST["decision"], **{field.name: value})})
    leaves = [chain.leaf_of(encoded(entry)) for entry in [FIRST, *variants]]
    assert len(variants) == 5 + 2 * len(fields(Decision)) - 4
    assert len(set(leaves)) == len(leaves)


def test_what_is_absent_is_neither_empty_nor_zero():
    def with_(**changes):
        return encoded(FIRST | {"decision": replace(FIRST["decision"], **changes)})

    assert with_(voucher_id=None) != with_(voucher_id="")
    assert with_(claim=None) != with_(claim=b"")
    assert with_(payable=None) != with_(payable=0)


def test_text_cannot_pass_from_one_field_to_the_next():
    one = replace(FIRST["decision"], voucher_id="V-1", enterprise="E")
    other = replace(FIRST["decision"], voucher_id="V-", enterprise="1E")
    assert encoded(FIRST | {"decision": one}) != encoded(FIRST | {"decision": other})


def test_a_leaf_is_the_sha_256_of_a_zero_the_version_and_the_bytes():
    data = encoded(FIRST)
    assert chain.leaf_of(data) == hashlib.sha256(b"\x00voucher-ledger/entry/1\n" + data).digest()


def test_the_bytes_of_an_entry_are_the_same_in_every_release():
    """Ledgers are verified years later: other bytes need another VERSION."""
    assert chain.leaf_of(encoded(FIRST)).hex() == "f036a6c5aa5a19e1b9411abe139746171c8a475b6fa9d7c935b202018eb05a67"


def test_a_ledgers_rows_carry_their_leaves():
    ledger = LedgerInMemory(shipped()["chengdu-2024"])
    ledger.accept(issue_event("V-1"), redemption_event("V-1"))
    assert [row["leaf"] for row in ledger.rows] == ledger.batch.leaves
    for row, leaf in zip(ledger.batch.rows, ledger.batch.leaves, strict=True):
        assert row.endswith(leaf)
        assert chain.leaf_of(row[2:-36]) == leaf


@given(st.integers(-(10**15), 4 * 10**15))
def test_moments_are_exact_to_the_microsecond(count):
    moment = datetime(2000, 1, 1, tzinfo=UTC) + count * MICROSECOND
    assert chain.microseconds(moment) == count
    assert chain.microseconds(moment.astimezone(timezone(timedelta(hours=8)))) == count
    assert chain.encoded_moment(moment) == (8).to_bytes(4, "big") + count.to_bytes(8, "big", signed=True)


def test_a_float_would_not_have_been_exact():
    moment = datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert chain.microseconds(moment) == 3_155_759_999_999_999
    assert chain.microseconds(moment) - chain.microseconds(moment - MICROSECOND) == 1


# ---- Merkle trees, as RFC 6962 defines them (2.1) ------------------------------------------------------------------------


def tree_hash(leaves):
    """Return MTH of leaves that are hashed already: split at the largest power of two that is smaller than their number."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def leaves_of(count):
    return [hashlib.sha256(b"\x00%d" % number).digest() for number in range(count)]


@pytest.mark.parametrize("count", range(1, 71))
def test_the_root_is_that_of_rfc_6962(count):
    assert chain.merkle_root(leaves_of(count)) == tree_hash(leaves_of(count))


def test_the_root_of_the_certificate_transparency_test_vectors():
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [hashlib.sha256(b"\x00" + bytes.fromhex(data)).digest() for data in inputs]
    assert chain.merkle_root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("count", range(1, 18))
def test_a_repeated_last_leaf_gives_another_root(count):
    leaves = leaves_of(count)
    roots = {chain.merkle_root(leaves + leaves[-repeated:]) for repeated in range(1, count + 1)}
    assert chain.merkle_root(leaves) not in roots
    assert len(roots) == count


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13])
def test_the_root_changes_with_the_order_and_with_every_leaf(count):
    leaves = leaves_of(count)
    variants = [leaves]
    for one, other in combinations(range(count), 2):
        swapped = list(leaves)
        swapped[one], swapped[other] = leaves[other], leaves[one]
        variants.append(swapped)
    variants += [leaves[:place] + leaves[place + 1 :] for place in range(count)]
    variants += [[*leaves[:place], bytes(32), *leaves[place + 1 :]] for place in range(count)]
    roots = {chain.merkle_root(variant) for variant in variants}
    assert len(roots) == len(variants)


def test_the_leaves_given_are_left_as_they_are():
    leaves = leaves_of(5)
    chain.merkle_root(leaves)
    assert leaves == leaves_of(5)


# ---- Blocks --------------------------------------------------------------------------------------------------------------

BLOCK = {
    "programme": "chengdu-2024", "first": 1, "last": 3, "recorded_at": RECORDED_AT, "policy": bytes(32),
    "issued": '{"2024":100}', "root": bytes(32), "previous": chain.GENESIS,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"programme": "chengdu-2025"},
        {"first": 2},
        {"last": 4},
        {"first": 3, "last": 1},
        {"recorded_at": RECORDED_AT + MICROSECOND},
        {"policy": b"p" * 32},
        {"issued": '{"2024":101}'},
        {"root": b"r" * 32},
        {"previous": b"h" * 32},
        {"policy": b"r" * 32, "root": b"p" * 32},
    ],
    ids="-".join,
)
def test_a_blocks_hash_is_over_all_that_it_says(change):
    assert chain.block_hash(**(BLOCK | change)) != chain.block_hash(**BLOCK)
    assert len(chain.block_hash(**BLOCK)) == 32


def test_the_hash_of_a_block_is_the_same_in_every_release():
    assert chain.block_hash(**BLOCK).hex() == "c04edbaebf16768c3869bc729f98e99cc804713d61e6f89af14ab3f597644af6"
