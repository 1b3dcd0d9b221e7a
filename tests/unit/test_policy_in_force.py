"""No answer leaves by a policy that is not in force any more, however long anything takes."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from hub.domain.consent import GivenConsent
from hub.domain.disclosure import DisclosureMode, DisclosurePolicy
from hub.domain.errors import Reason, Refused
from hub.domain.lookup import CannotAnswerReason, Outcome
from hub.service.disclosure import Disclosure
from tests.support.small_register import CALLER, HITS, NOW, NUMBERS, Audit, Policy, lookup


class Table:
    """A table of policies that takes its time."""

    def __init__(self) -> None:
        self.steady, self.takes, self.reads = 100.0, 0.0, 0

    def transaction(self) -> "Table":
        return self

    async def __aenter__(self) -> "Table":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def disclosure_policy(self) -> DisclosurePolicy:
        self.reads += 1
        await asyncio.sleep(0)
        self.steady += self.takes
        return DisclosurePolicy({}, False, 1, "", NOW)


async def test_a_policy_that_took_too_long_to_read_is_not_known() -> None:
    table: Any = Table()
    disclosure = Disclosure(table, lambda: NOW, lambda: table.steady)
    table.takes = 0.6
    asked = [asyncio.create_task(disclosure.in_force()) for _ in range(3)]
    await asyncio.wait(asked)
    for each in asked:
        with pytest.raises(Refused) as refused:
            each.result()
        assert refused.value.reason is Reason.DATABASE_UNAVAILABLE
    assert table.reads == 1, "who asks together reads together"
    table.takes = 0.1
    await disclosure.in_force()
    table.steady += 0.3
    await disclosure.in_force()
    assert table.reads == 2
    table.steady += 0.2
    await disclosure.in_force()
    assert table.reads == 3, "what is older than half a second is read anew"


@pytest.mark.parametrize("many", [False, True])
async def test_a_policy_that_ends_while_the_trace_is_written_lets_no_answer_leave(many: bool) -> None:
    in_force, log = Policy(DisclosureMode.HIT_WITH_NAME), Audit()
    checks, text = lookup(in_force, log), NUMBERS["nobody"]

    async def ask() -> tuple[Outcome, CannotAnswerReason | None]:
        [answer] = await checks.check_many(CALLER, [text]) if many else [await checks.check(CALLER, text)]
        return answer.outcome, answer.reason

    assert await ask() == (Outcome.NO_RECORD, None)
    log.meanwhile = lambda: setattr(in_force, "mode", DisclosureMode.OFF)
    assert await ask() == (Outcome.CANNOT_ANSWER, CannotAnswerReason.POLICY_UNKNOWN)
    assert len(log.entries) == 2, "what was looked up is accounted for all the same"
    assert await ask() == (Outcome.CANNOT_ANSWER, CannotAnswerReason.DISCLOSURE_OFF)


async def test_where_the_policy_is_not_known_the_answer_says_so() -> None:
    in_force = Policy(None)
    checks = lookup(in_force, Audit(lambda: setattr(in_force, "mode", DisclosureMode.OFF)))
    answer = await checks.check(CALLER, NUMBERS["nobody"])
    assert answer.reason is CannotAnswerReason.POLICY_UNKNOWN


@pytest.mark.parametrize("mode", [DisclosureMode.HIT_ONLY, DisclosureMode.HIT_WITH_NAME, DisclosureMode.CONSENTED])
async def test_whichever_way_they_ask_the_public_hears_only_of_what_stands(mode: DisclosureMode) -> None:
    """Convictions set aside, and those under appeal, are nobody's business."""
    checks = lookup(Policy(mode), Audit())
    consent = GivenConsent(UUID(int=1), "123456")
    hits = set[str]()
    for name, number in NUMBERS.items():
        answer = await checks.check(CALLER, number, consent=consent)
        hits |= {name} if answer.outcome is Outcome.HIT else set()
        named = answer.outcome is Outcome.HIT and mode is not DisclosureMode.HIT_ONLY
        assert bool(answer.person) == named
    assert hits == set(HITS)
    answers = await checks.check_many(CALLER, list(NUMBERS.values()))
    told = {name for name, answer in zip(NUMBERS, answers, strict=True) if answer.outcome is Outcome.HIT}
    if mode is DisclosureMode.CONSENTED:
        assert {answer.reason for answer in answers} == {CannotAnswerReason.CONSENT_NEEDED}, "rosters bring no consent"
    else:
        assert told == set(HITS)
