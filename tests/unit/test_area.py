"""What is told of how many offenders live where, and what can be found out by it."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.people import offenders
from hub.domain.area import Cell, area_key, month_to_count
from hub.domain.offender import Finality, OffenderFacts
from hub.domain.search import keys
from hub.store.vault import Keyring, Vault
from hub.transport import convert

COUNTS = st.integers(0, 100_000)
LOTS = st.integers(0, 2**64 - 1)


def answers(count: int) -> set[int | None]:
    """All that can be told of a count."""
    return {Cell(count, lot).shown for lot in range(1000)}


@given(COUNTS, LOTS)
def test_what_is_told_is_a_multiple_of_5_near_the_count(count: int, lot: int) -> None:
    shown = Cell(count, lot).shown
    if shown is None:
        assert count < 10
    else:
        assert shown % 5 == 0
        assert shown >= 10
        assert abs(shown - count) < 5


@given(st.integers(0, 5), st.integers(0, 5), LOTS, LOTS)
def test_registers_that_differ_in_a_small_count_give_the_same_answer(
    one: int, other: int, lot: int, second: int
) -> None:
    assert Cell(one, lot).shown is Cell(other, second).shown is None


@pytest.mark.parametrize("count", range(60))
def test_whatever_one_persons_coming_shows_ones_going_can_show_too(count: int) -> None:
    """And so the other way round: two answers never tell for certain that somebody came, or went."""
    going = {(a, b) for other in range(1, 80) for a in answers(other) for b in answers(other - 1)}
    coming = {(a, b) for other in range(80) for a in answers(other) for b in answers(other + 1)}
    assert {(a, b) for a in answers(count) for b in answers(count + 1)} <= going
    assert {(a, b) for a in answers(count + 1) for b in answers(count)} <= coming


@pytest.mark.parametrize("count", [10, 11, 12, 13, 14, 103])
def test_rounding_favours_nobody(count: int) -> None:
    """Of 5,000 draws the mean lies within 0.15 of the count: five standard errors."""
    vault = Vault(lambda: Keyring(1, {1: bytes(32)}, bytes(32)))
    shown = [Cell(count, vault.lot(f"Lahore|{people}")).shown or 0 for people in range(5000)]
    assert sum(shown) / len(shown) == pytest.approx(count, abs=0.15)


@pytest.mark.parametrize(
    ("now", "month"),
    [
        (datetime(2026, 11, 30, 18, 59, tzinfo=UTC), None),
        (datetime(2026, 11, 30, 19, 0, tzinfo=UTC), date(2026, 11, 1)),  # midnight in Pakistan
        (datetime(2027, 1, 3, 12, tzinfo=UTC), date(2026, 12, 1)),
        (datetime(2027, 1, 4, 12, tzinfo=UTC), None),
    ],
)
def test_a_month_is_counted_right_after_its_end(now: datetime, month: date | None) -> None:
    assert month_to_count(now) == month


def somebody(*finalities: Finality, died_on: date | None = None) -> OffenderFacts:
    """Somebody of Lahore, convicted as often as there are finalities."""
    [message] = offenders(1, province="Punjab", seed=1)
    facts = convert.registry.offender_facts(message, datetime(2026, 11, 22, tzinfo=UTC))
    history = replace(facts.person.history, died_on=died_on)
    convictions = tuple(replace(facts.convictions[0], finality=finality) for finality in finalities)
    return replace(facts, district="Lahore", convictions=convictions, person=replace(facts.person, history=history))


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        (somebody(Finality.FINAL), True),
        (somebody(Finality.APPEAL_WINDOW), True),
        (somebody(Finality.UNDER_APPEAL), False),
        (somebody(Finality.UNDER_APPEAL, Finality.FINAL), True),
        (somebody(Finality.SET_ASIDE, Finality.UNDER_APPEAL), False),
        (somebody(Finality.FINAL, died_on=date(2026, 5, 1)), False),
    ],
)
def test_who_lives_and_stands_convicted_counts(facts: OffenderFacts, counts: bool) -> None:
    assert (area_key("Lahore") in keys(facts)) == counts
