"""The checker of checks: it passes what a right hub does, and finds each planted fault."""

import random
from dataclasses import replace

import pytest

from tests.support.lookup_checker import HIT, NO_RECORD, Answer, Change, check

BOUND = 5.0
ENTERED = Change("p", 1, HIT, 10, 11)
LIFTED = Change("p", 2, NO_RECORD, 20, 21)
CHANGES = {"p": [ENTERED, LIFTED], "q": [Change("q", 1, HIT, 15, 16)]}


def answer(outcome: str, began: float, as_of: float | None = None, after: Change | Answer | None = None) -> Answer:
    return Answer("p", outcome, began if as_of is None else as_of, began, began + 0.1, after)


@pytest.mark.parametrize(
    "right",
    [
        answer(NO_RECORD, 9),
        answer(NO_RECORD, 10.5),
        answer(HIT, 10.5),
        answer(HIT, 12),
        answer(NO_RECORD, 13, as_of=10.9),
        answer(HIT, 20.5, after=ENTERED),
        answer(NO_RECORD, 20.5, after=ENTERED),
        answer(NO_RECORD, 22, after=LIFTED),
        answer(HIT, 22, as_of=20, after=CHANGES["q"][0]),
        answer(NO_RECORD, 12, as_of=10.5),
    ],
)
def test_what_may_be_is_passed(right: Answer) -> None:
    assert check(CHANGES, [right], BOUND) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (answer(HIT, 9), "not so"),
        (answer(NO_RECORD, 12), "not so"),
        (answer(HIT, 22), "not so"),
        (answer(NO_RECORD, 12, as_of=10.5, after=ENTERED), "not so"),
        (answer(HIT, 21.5, as_of=19, after=LIFTED), "not so"),
        (answer(NO_RECORD, 17, as_of=10, after=CHANGES["q"][0]), "not so"),
        (answer(NO_RECORD, 13, as_of=10.5, after=answer(HIT, 12, as_of=10.6)), "not so"),
        (answer(NO_RECORD, 13, as_of=10.5, after=Answer("q", NO_RECORD, 12, 12, 12.1)), "not so"),
        (answer(HIT, 19, as_of=12), "too old"),
        (answer(HIT, 12, as_of=13), "future"),
        (answer("INVALID_CNIC", 12), "not so"),
    ],
)
def test_what_may_not_be_is_found(wrong: Answer, why: str) -> None:
    problems = check(CHANGES, [wrong], BOUND)
    assert any(why in problem for problem in problems)


def test_a_hub_that_serves_each_reader_from_one_moment_is_passed_and_one_that_lags_behind_its_word_is_not() -> None:
    """Histories made by a model: answers from a moment up to 2 s old, which say so, and the same that do not say so."""
    chance = random.Random(7)
    changes: dict[str, list[Change]] = {}
    for number in range(50):
        at = chance.uniform(0, 90)
        entered = Change(str(number), 1, HIT, at, at + 0.2)
        changes[str(number)] = [entered, Change(str(number), 2, NO_RECORD, at + 3, at + 3.2)]

    def register(person: str, at: float) -> str:
        # A change takes effect in the middle of its time.
        outcomes = [c.outcome for c in changes[person] if (c.began + c.ended) / 2 <= at]
        return outcomes[-1] if outcomes else NO_RECORD

    answers: list[Answer] = []
    for _ in range(3000):
        person, now = chance.choice(list(changes)), chance.uniform(3, 100)
        as_of = now - chance.uniform(0, 2)
        answers.append(Answer(person, register(person, as_of), as_of, now, now + 0.05))
    assert check(changes, answers, BOUND) == []
    lying = [replace(each, as_of=each.began) for each in answers]
    assert check(changes, lying, BOUND)
