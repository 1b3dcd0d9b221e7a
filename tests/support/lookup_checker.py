"""Judges a recorded history of checks: what each may have answered, by what was written before, meanwhile and after.

A register per person, written in turn by one writer; checks by many. All times are of one clock, in seconds. A change
took effect at some moment between its beginning and its end; an answer shows the register as it was at some moment that
is neither before what its caller asked for, nor before its own `as_of`, nor after its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HIT = "HIT"
NO_RECORD = "NO_RECORD"


@dataclass(frozen=True)
class Change:
    """What a writer did to a person's record: from then on a check is a hit, or finds nothing.

    Attributes:
        outcome: of a check after it.
        number: 1 for the person's first change, and so on.
    """

    person: str
    number: int
    outcome: str
    began: float
    ended: float


@dataclass(frozen=True)
class Answer:
    """What a check gave.

    Attributes:
        as_of: everything that ended before is in it.
        after: what the caller had seen, by its revision: a change, or an answer to it (itself without an `after`). None
            if it asked for nothing.
    """

    person: str
    outcome: str
    as_of: float
    began: float
    ended: float
    after: "Change | Answer | None" = None


def check(changes: Mapping[str, Sequence[Change]], answers: Sequence[Answer], bound: float) -> list[str]:
    """What in a history breaks a promise; nothing where all are kept.

    Args:
        changes: of each person, in their order.
        answers: those that were given: CANNOT_ANSWER promises nothing.
        bound: seconds; data older than that is no answer.
    """
    problems: list[str] = []
    for at, answer in enumerate(answers):
        states = _possible(changes, answer)
        if not states:
            problems.append(f"answer {at}: {answer.outcome} was not so at any moment that it may show: {answer}")
        if answer.as_of < answer.began - bound:
            problems.append(f"answer {at}: its data was too old: {answer}")
        if answer.as_of > answer.ended:
            problems.append(f"answer {at}: it is of the future: {answer}")
    return problems


def _possible(changes: Mapping[str, Sequence[Change]], answer: Answer) -> list[int]:
    """Numbers of changes of the person after which the register can have been as the answer says; 0 is before all."""
    own = changes.get(answer.person, ())
    first = max((c.number for c in own if c.ended <= answer.as_of), default=0)
    first = max(first, _seen(changes, own, answer.after))
    last = max((c.number for c in own if c.began <= answer.ended), default=0)
    outcomes = [NO_RECORD, *(change.outcome for change in own)]
    return [number for number in range(first, last + 1) if outcomes[number] == answer.outcome]


def _seen(changes: Mapping[str, Sequence[Change]], own: Sequence[Change], seen: Change | Answer | None) -> int:
    """The least change of a person that whoever has seen something must see from then on."""
    if seen is None:
        return 0
    if isinstance(seen, Answer):
        own_answer = own and seen.person == own[0].person
        least = min(_possible(changes, seen), default=0) if own_answer else 0
        return max((least, *(c.number for c in own if c.ended <= seen.as_of)))
    if own and seen.person == own[0].person:
        return seen.number
    return max((c.number for c in own if c.ended <= seen.began), default=0)
