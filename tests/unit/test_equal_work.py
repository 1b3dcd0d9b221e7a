"""A hit takes the same work as any other answer, counted without a clock: time would tell it to who cannot read it."""

import sys
from collections import Counter
from typing import Any

import pytest

from hub.domain.disclosure import DisclosureMode
from hub.domain.lookup import Outcome
from hub.service.lookup import Lookup
from hub.transport import convert
from hub.transport.redaction import redact
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicResponse
from tests.support.small_register import CALLER, HITS, NUMBERS, PEOPLE, ROLE, Audit, Policy, lookup


async def answer(checks: Lookup, text: str) -> tuple[Outcome, bytes]:
    """What is answered to a text, and the octets that leave."""
    answered = await checks.check(CALLER, text)
    message = convert.lookup.answer_message(answered)
    redact(message, ROLE)
    return answered.outcome, message.SerializeToString()


async def calls(checks: Lookup, text: str) -> Counter[str]:
    """How often an answer calls which function, of Python and of C."""
    counts: Counter[str] = Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            counts[f"{frame.f_code.co_filename} {frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            counts[argument.__qualname__] += 1

    sys.setprofile(count)
    try:
        await answer(checks, text)
    finally:
        sys.setprofile(None)
    return counts


@pytest.mark.parametrize("mode", [DisclosureMode.HIT_ONLY, DisclosureMode.HIT_WITH_NAME])
async def test_every_answer_takes_the_same_work(mode: DisclosureMode) -> None:
    checks = lookup(Policy(mode), Audit())
    answers = {name: await answer(checks, number) for name, number in NUMBERS.items()}
    assert {name for name, (outcome, _) in answers.items() if outcome is Outcome.HIT} == set(HITS)
    told = {name for name, (_, octets) in answers.items() if CheckCnicResponse.FromString(octets).HasField("person")}
    assert told == (set(HITS) if mode is DisclosureMode.HIT_WITH_NAME else set())
    assert {len(octets) for _, octets in answers.values()} == {1024}
    work = {name: await calls(checks, number) for name, number in NUMBERS.items()}
    assert sum(work["nobody"].values()) > 50, "the work was seen"
    for name in PEOPLE:
        assert work[name] == work["nobody"], name
