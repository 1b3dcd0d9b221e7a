"""What becomes of a person: nothing that they had is lost, and the periods leave no gap."""

from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.cnic import Cnic
from hub.domain.errors import Refused
from hub.domain.person import (
    MOST_FORMER,
    Death,
    Guardian,
    GuardianRelation,
    IdentityEvent,
    IdentityHistory,
    Name,
    Person,
    Sex,
)

BIRTH = date(1980, 1, 1)
BORN = Person(
    cnic=Cnic("9000000000000"),
    full_name="Name 0",
    full_name_ur="",
    guardian_name="Guardian 0",
    guardian_name_ur="",
    guardian_relation=GuardianRelation.FATHER,
    sex=Sex.FEMALE,
    date_of_birth=BIRTH,
)

# Few values, so that what a person had before comes back.
names = st.integers(0, 3).map(lambda n: Name(f"Name {n}", ""))
guardians = st.integers(0, 3).map(lambda n: Guardian(f"Guardian {n}", "", GuardianRelation.HUSBAND))
cnics = st.integers(0, 3).map(lambda n: Cnic(f"900000000000{n}"))
events = st.lists(st.tuples(names | guardians | cnics | st.just(Death()), st.dates(date(1979, 6, 1), date(1982, 1, 1))))


def refusal(person: Person, event: IdentityEvent, day: date) -> tuple[str, str]:
    """Why an event is refused: the reason, and the rule or the cause."""
    with pytest.raises(Refused) as refused:
        person.after(event, day)
    error = refused.value
    return error.reason, error.violations[0].reason if error.violations else error.metadata["cause"]


@given(events=events)
def test_a_person_keeps_what_they_had_with_its_period(events: list[tuple[IdentityEvent, date]]) -> None:
    person, kept = BORN, list[tuple[IdentityEvent, date]]()
    for event, day in events:
        try:
            person = person.after(event, day)
        except Refused:
            continue
        kept.append((event, day))
    history = person.history
    tracks: list[tuple[Any, Any, Any, Any]] = [
        (Name, BORN.name, history.names, person.name),
        (Guardian, BORN.guardian, history.guardians, person.guardian),
        (Cnic, BORN.cnic, history.cnics, person.cnic),
    ]
    for kind, first, past, now in tracks:
        begun = [first, *(event for event, _ in kept if isinstance(event, kind))]
        assert [*(former.was for former in past), now] == begun, "each, in the order in which it began"
        assert [former.until for former in past] == [day for event, day in kept if isinstance(event, kind)]
        assert all(one.until <= other.until for one, other in pairwise(past))
    assert set(person.cnics) == {BORN.cnic, *(event for event, _ in kept if isinstance(event, Cnic))}
    assert [history.died_on] == ([day for event, day in kept if isinstance(event, Death)] or [None])
    assert all(BIRTH <= day <= (history.died_on or day) for _, day in kept)
    assert replace(person, history=IdentityHistory()).date_of_birth == BIRTH


def test_what_cannot_have_happened_is_refused() -> None:
    day = date(2020, 1, 1)
    renamed = BORN.after(Name("Name 1", ""), day)
    dead = renamed.after(Death(), date(2021, 1, 1))
    assert refusal(BORN, Death(), date(1979, 12, 31)) == ("INVALID_FIELD", "BEFORE_BIRTH")
    assert refusal(renamed, Name("Name 2", ""), date(2019, 12, 31)) == ("INVALID_FIELD", "BEFORE_LAST_CHANGE")
    assert refusal(renamed, Death(), date(2019, 12, 31)) == ("INVALID_FIELD", "BEFORE_LAST_CHANGE")
    assert refusal(dead, Cnic("9000000000001"), date(2021, 1, 2)) == ("INVALID_FIELD", "AFTER_DEATH")
    assert refusal(dead, Death(), date(2020, 6, 1)) == ("IDENTITY_EVENT_NOT_POSSIBLE", "DIED_BEFORE")
    for known in (renamed.name, renamed.guardian, renamed.cnic):
        assert refusal(renamed, known, day) == ("IDENTITY_EVENT_NOT_POSSIBLE", "KNOWN_ALREADY")


def test_what_happened_before_a_death_can_be_reported_after_it() -> None:
    dead = BORN.after(Death(), date(2021, 1, 1))
    assert dead.after(Name("Name 1", ""), date(2020, 1, 1)).full_name == "Name 1"


def test_a_history_has_an_end() -> None:
    person = BORN
    for number in range(1, MOST_FORMER + 1):
        person = person.after(Name(f"Name {number}", ""), BIRTH)
    assert refusal(person, Name("Name", ""), BIRTH) == ("IDENTITY_EVENT_NOT_POSSIBLE", "TOO_MANY")
