"""How alike two people are by their names and dates of birth, and whether two records may be of one person."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from itertools import product, starmap

from hub.domain.names import similarity, strong, words
from hub.domain.person import Person

NAME, GUARDIAN, BIRTH = 0.5, 0.3, 0.2
"""What each adds to the likeness of two people."""


def names(person: Person) -> Sequence[str]:
    """Every spelling of the names that a person has and had."""
    had = [name for each in person.identities for name in (each.name, *(former.was for former in each.history.names))]
    return [spelling for name in had for spelling in (name.full_name, name.full_name_ur) if spelling]


def guardians(person: Person) -> Sequence[str]:
    """Every spelling of the names of those whom their card names and named as father or husband."""
    had = [
        name
        for each in person.identities
        for name in (each.guardian, *(former.was for former in each.history.guardians))
    ]
    return [spelling for name in had for spelling in (name.guardian_name, name.guardian_name_ur) if spelling]


def births(person: Person) -> set[date]:
    """The date of birth; several where records that were merged did not agree."""
    return {each.date_of_birth for each in person.identities}


def best(name: str, known: Sequence[str]) -> float:
    """How alike a name is to a person's, from 0 to 1: in its own script where that is known."""
    sought, spelt = words(name), [spelling for spelling in map(words, known) if spelling]
    same = [spelling for spelling in spelt if sought and spelling[0].latin == sought[0].latin]
    return max((similarity(sought, spelling) for spelling in same or spelt), default=0.0)


def nearness(one: date, other: date) -> float:
    """How near two dates of birth are, from 0 to 1.

    In one year with the same day or month, or with these two swapped, one may be the other mistyped. The same day of
    another year means little: many have the first of January on their cards.
    """
    if one == other:
        return 1.0
    if one.year == other.year:
        mistyped = one.month == other.month or one.day == other.day or one == _swapped(other)
        return 0.9 if mistyped else 0.7
    # Many know but the year, and that not for certain.
    return max(0.0, 0.7 - 0.2 * abs(one.year - other.year))


def likeness(one: Person, other: Person) -> float:
    """How alike two people are, from 0 to 1."""
    name = max(best(name, names(other)) for name in names(one))
    guardian = max(best(name, guardians(other)) for name in guardians(one))
    return NAME * name + GUARDIAN * guardian + BIRTH * max(starmap(nearness, product(births(one), births(other))))


def person_keys(person: Person) -> Iterator[str]:
    """Keys of which two records of one person have one in common, although spelt otherwise or with a date mistyped.

    Sex, the sounds of both names, and the year of birth with month or day. Namesakes are many, so nothing less counts.
    """
    days = {each for day in births(person) for each in (day, _swapped(day))}
    sexes = {each.sex for each in person.identities}
    for sex, name, guardian, day in product(sexes, _sounds(names(person)), _sounds(guardians(person)), days):
        who = f"person={sex}|{name}|{guardian}|{day.year}"
        yield f"{who}|month={day.month}"
        yield f"{who}|day={day.day}"


def _swapped(day: date) -> date:
    """The date with day and month swapped, where there is such a date."""
    with suppress(ValueError):
        return day.replace(month=day.day, day=day.month)
    return day


def _sounds(names: Sequence[str]) -> set[str]:
    """The sounds of whole names; words that many people share count where there are no others."""
    return {"".join(word.sound for word in strong(words(name))) for name in names}
