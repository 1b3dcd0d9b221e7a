"""What checks need of a sealed body, against the whole of it."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.people import offenders
from hub.domain.cnic import Cnic
from hub.domain.documents import OldNic
from hub.domain.offender import Finality, OffenderFacts
from hub.domain.person import Former, IdentityHistory, Name
from hub.store import bodies
from hub.store.vault import Keyring, Vault, VaultError
from hub.transport import convert

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=7)
FACTS = [convert.registry.offender_facts(message, NOW) for message in offenders(4, province="Punjab", seed=1)]
CNICS = st.integers(9 * 10**12, 10**13 - 1).map(lambda number: Cnic(str(number)))

NAMES = st.text(max_size=20)
DAY = st.just(date(2020, 1, 1))

histories = st.builds(
    IdentityHistory,
    names=st.lists(st.builds(Former, st.builds(Name, NAMES, NAMES), DAY), max_size=2).map(tuple),
    cnics=st.lists(st.builds(Former, CNICS, DAY), max_size=2).map(tuple),
    died_on=st.none() | st.just(date(2025, 1, 1)),
)


@st.composite
def facts(draw: st.DrawFn) -> OffenderFacts:
    """What the register may hold of a person."""
    stated = draw(st.sampled_from(FACTS))
    person = replace(
        stated.person,
        cnic=draw(st.none() | CNICS),
        old_nic=draw(st.none() | st.just(OldNic("90000000000"))),
        full_name=draw(NAMES),
        history=draw(histories),
    )
    others = draw(st.lists(st.builds(replace, st.just(person), cnic=st.none() | CNICS, history=histories), max_size=2))
    person = replace(person, others=tuple(others))
    finalities = draw(st.lists(st.sampled_from(Finality), min_size=1, max_size=4))
    convictions = tuple(replace(stated.convictions[0], finality=finality) for finality in finalities)
    return replace(stated, person=person, convictions=convictions)


@given(stated=facts(), rotated=st.booleans())
def test_checks_know_of_a_body_what_stands_in_it(stated: OffenderFacts, rotated: bool) -> None:
    ring = Keyring.generate()
    vault = Vault(lambda: ring)
    key = bodies.new_key(vault, ID)
    body = bodies.seal_facts(vault, key.plain, ID, 3, stated)
    if rotated:
        ring = ring.with_new_key().using(2)
    sealed = bodies.SealedBody(str(ID), 3, key.wrapped, body)
    one, another = bodies.open_checked(vault, [sealed, sealed])
    assert one == another
    cnics, finalities, person = one
    # The same number twice is of no consequence.
    assert list(dict.fromkeys(cnics)) == list(stated.person.cnics)
    assert finalities == {conviction.finality for conviction in stated.convictions}
    assert person == tuple(getattr(stated.person, field) for field in person._fields)


@pytest.mark.parametrize("body", [b"", b"{}", b"no JSON", b'{"person": {}, "convictions": []}'])
def test_a_body_that_cannot_be_understood_is_nobody_s_absence(body: bytes) -> None:
    """It is told by the record's name, and quoted nowhere."""
    ring = Keyring.generate()
    vault = Vault(lambda: ring)
    key = bodies.new_key(vault, ID)
    sealed = vault.seal(key.plain, body, f"offender_revision|{ID}/3|body") if body else body
    with pytest.raises(VaultError, match=str(ID)) as error:
        bodies.open_checked(vault, [bodies.SealedBody(str(ID), 3, key.wrapped, sealed)])
    assert not body or body.decode() not in str(error.value)
