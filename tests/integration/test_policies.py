"""Which policy is in force, on a real database: revisions, conflicts, and processes that start late."""

import asyncpg
import pytest
from appending import append, entered
from events_made import as_inbound, issue_event, policy_with

from schemas.codes import Code
from schemas.policy import Policy
from services.ledger.append import Ledger
from services.ledger.policies import PolicyConflictError
from services.ledger.verify import verify

CHENGDU = "chengdu-2024"


async def opened(pool: asyncpg.Pool, policy: Policy) -> Ledger:
    ledger = Ledger(pool, {CHENGDU: policy})
    await ledger.open()
    return ledger


async def test_a_policy_read_back_from_the_ledger_is_the_same(policies):
    for policy in policies.values():
        read = Policy.model_validate_json(policy.canonical)
        assert (read, read.digest) == (policy, policy.digest)


async def test_a_higher_revision_takes_force_at_once_in_every_process(pool, admin):
    old = await opened(pool, policy_with())
    assert entered(await append(old, issue_event("V-1", amount="900000.00"))) == [None]
    clamping = policy_with(revision=2, caps__0__on_cap="clamp")
    new = await opened(pool, clamping)
    assert entered(await append(old, issue_event("V-2", amount="200000.00"))) == [Code.CLAMPED_TO_CAP]
    assert entered(await append(new, issue_event("V-3", amount="200000.00"))) == [Code.BELOW_MINIMUM]
    assert await admin.fetchval("SELECT policy FROM block WHERE last = 2") == clamping.digest
    assert (await verify(pool, CHENGDU)).ok


async def test_a_lower_revision_started_late_turns_nothing_back(pool, admin):
    await opened(pool, policy_with(revision=3, caps__0__on_cap="clamp"))
    late = await opened(pool, policy_with(revision=2))
    codes = entered(await append(late, *(issue_event(f"V-{n}", amount="600000.00") for n in range(2))))
    assert codes == [None, Code.CLAMPED_TO_CAP]
    assert await admin.fetchval("SELECT revision FROM head") == 3
    assert (await verify(pool, CHENGDU)).ok


async def test_other_rules_under_the_same_revision_are_a_conflict_and_change_nothing(pool, admin):
    first = policy_with()
    await opened(pool, first)
    with pytest.raises(PolicyConflictError, match="raise `revision` in the file to 2"):
        await opened(pool, policy_with(caps__0__on_cap="clamp"))
    assert await admin.fetchval("SELECT policy FROM head") == first.digest
    assert await admin.fetchval("SELECT count(*) FROM policy") == 1


async def test_a_budget_counted_over_otherwise_is_counted_alike_in_every_process(pool):
    """A process that catches up after a change of the rules has the same figures as one that begins anew."""
    slow = await opened(pool, policy_with(budget__per="programme"))
    quick = Ledger(pool, slow.policies.files)
    await append(slow, issue_event("V-1"))
    await append(quick, issue_event("V-2"))
    await opened(pool, policy_with(revision=2, budget__per="year"))
    quoted = await Ledger(pool, slow.policies.files).quote(CHENGDU, [as_inbound(issue_event("V-3"))])
    assert await append(slow, issue_event("V-3")) == quoted
    assert (await verify(pool, CHENGDU)).ok
