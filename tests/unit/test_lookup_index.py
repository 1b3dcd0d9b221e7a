"""The index in memory, against what a plain dictionary of records would say."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from demo.people import offenders
from hub.domain.feed import IndexedOffender
from hub.domain.lookup import Disclosed, Known
from hub.domain.offender import Finality, Offender, OffenderFacts
from hub.lookup.index import LookupIndex, checked
from hub.transport import convert

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = [convert.registry.offender_facts(message, NOW) for message in offenders(8, province="Punjab", seed=1)]

NOBODY = Known(frozenset(), b"")


def blind(person: int, card: int = 0) -> bytes:
    """Where a card of a person stands in the index."""
    return hashlib.sha256(bytes([person, card])).digest()


def version(person: int, number: int, finality: Finality) -> IndexedOffender:
    """A version of a person's record, each with one more card; without facts where every conviction was set aside."""
    facts = FACTS[person]
    facts = replace(facts, convictions=tuple(replace(c, finality=finality) for c in facts.convictions))
    return IndexedOffender(
        tuple(blind(person, card) for card in range(number)),
        Offender(
            id=UUID(int=person + 1),
            owner="punjab-police",
            version=number,
            facts=None if finality is Finality.SET_ASIDE else facts,
            created_at=NOW,
            updated_at=NOW,
        ),
    )


def known(facts: OffenderFacts) -> Known:
    """What a check needs of a record."""
    person = Disclosed(*(getattr(facts.person, field) for field in Disclosed._fields))
    return Known({conviction.finality for conviction in facts.convictions}, convert.lookup.disclosed_person(person))


# The life of each person's record: a finality for each of its versions; being set aside is the end.
lives = st.lists(
    st.tuples(
        st.lists(st.sampled_from([f for f in Finality if f is not Finality.SET_ASIDE]), min_size=1, max_size=4),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(lives=lives, snapshot=st.integers(0, 5), data=st.data())
def test_a_snapshot_and_what_the_feed_repeats_of_it_give_the_newest_versions(
    lives: list[tuple[list[Finality], bool]], snapshot: int, data: st.DataObject
) -> None:
    versions = [
        [version(person, number, finality) for number, finality in enumerate([*life, *aside], 1)]
        for person, (life, ends) in enumerate(lives)
        for aside in [[Finality.SET_ASIDE] if ends else []]
    ]
    index = LookupIndex(convert.lookup.disclosed_person)
    # The snapshot is newer than where the feed begins to repeat.
    index.load(checked(record[min(snapshot, len(record) - 1)]) for record in versions)
    for record in versions:
        for again in record[data.draw(st.integers(0, min(snapshot, len(record) - 1))) :]:
            index.load([checked(again)])
    for person, record in enumerate(versions):
        facts = record[-1].offender.facts
        for card in range(len(record)):
            assert index.find(blind(person, card)) == (known(facts) if facts else NOBODY)
    assert len(index) == sum(len(record) for record in versions if record[-1].offender.facts)
    assert index.find(blind(200)) == NOBODY
