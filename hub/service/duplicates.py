"""Likely duplicates: people who may be on the register already, under another number."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from hub.domain.errors import Reason, Refused
from hub.domain.likeness import likeness, person_keys
from hub.domain.offender import offender_name
from hub.domain.person import Person
from hub.domain.ports import Transaction

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Override:
    """That a person is not the one of these records, and why, in the caller's words."""

    not_the_same_as: frozenset[UUID]
    reason: str


async def likely_duplicates(
    tx: Transaction, people: Mapping[UUID, Person], least: float
) -> Mapping[UUID, Mapping[UUID, float]]:
    """For each of some people the others who are as alike as `least`, and how alike: of the register, and of these.

    One statement, whatever their number.

    Args:
        people: by any ids.
    """
    if not people:
        return {}
    holders: dict[str, list[UUID]] = defaultdict(list)
    for id, person in people.items():
        for key in person_keys(person):
            holders[key].append(id)
    known = {offender.id: offender.facts.person for offender in await tx.sharing(holders) if offender.facts}
    found: dict[UUID, dict[UUID, float]] = defaultdict(dict)
    for other_id, other in {**known, **people}.items():
        for id in {id for key in person_keys(other) for id in holders.get(key, ())}:
            # The same number is another matter: that of one record which exists.
            if not set(people[id].documents) & set(other.documents) and (
                (alike := likeness(people[id], other)) >= least
            ):
                found[id][other_id] = alike
    return found


def likely_duplicate(others: Mapping[UUID, float]) -> Refused:
    """The person is probably on the register: the error names the records and how alike they are, not the person."""
    best = sorted(others.items(), key=lambda other: (-other[1], other[0]))[:_SHOWN]
    return Refused(
        Reason.LIKELY_DUPLICATE,
        "somebody much alike is on the register; compare, and say why this is not the same person",
        metadata={"candidates": ",".join(f"{offender_name(id)}={alike:.2f}" for id, alike in best)},
    )
