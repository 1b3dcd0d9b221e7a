"""Who a record is about: the person as NADRA knows them, now and before."""

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Generic, TypeVar

from hub.domain.cnic import Cnic
from hub.domain.documents import Document, OldNic, Passport
from hub.domain.errors import Reason, Refused, Violation, invalid

T = TypeVar("T")

MOST_FORMER = 50
"""Names, guardians and numbers that a person had before, of each."""

MOST_OTHERS = 10
"""Identities that a person has in records which were merged into one."""


class Sex(StrEnum):
    """Sex as on the card."""

    MALE = "MALE"
    FEMALE = "FEMALE"
    X = "X"


class GuardianRelation(StrEnum):
    """Whether the guardian named on the card is the father or the husband."""

    FATHER = "FATHER"
    HUSBAND = "HUSBAND"


@dataclass(frozen=True, slots=True)
class Name:
    """A person's name; `full_name_ur` is empty where the Urdu form is not known."""

    full_name: str
    full_name_ur: str


@dataclass(frozen=True, slots=True)
class Guardian:
    """The father or husband whom a card names; `guardian_name_ur` is empty where the Urdu form is not known."""

    guardian_name: str
    guardian_name_ur: str
    guardian_relation: GuardianRelation


@dataclass(frozen=True, slots=True)
class Death:
    """The person has died."""


IdentityEvent = Name | Guardian | Cnic | Death
"""What a person has from a day on: another name, guardian, or number of the card; or that they died."""


@dataclass(frozen=True, slots=True)
class Former(Generic[T]):
    """What a person had until a day."""

    was: T
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityHistory:
    """What NADRA reported of a person: what they had before, each in the order of time and without gaps.

    What is former began where the one before it ended, the first on a day that is not known; what the person has now
    began where the last one ended.
    """

    names: tuple[Former[Name], ...] = ()
    guardians: tuple[Former[Guardian], ...] = ()
    cnics: tuple[Former[Cnic], ...] = ()
    died_on: date | None = None

    @property
    def newest(self) -> date:
        """The day of the newest change; the earliest of all days if there was none."""
        return max((each[-1].until for each in (self.names, self.guardians, self.cnics) if each), default=date.min)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as NADRA knows them; by a CNIC, or by other documents where there is none.

    Attributes:
        others: the same person, as records held them that were merged into this one; each without others.
    """

    cnic: Cnic | None
    full_name: str
    full_name_ur: str
    guardian_name: str
    guardian_name_ur: str
    guardian_relation: GuardianRelation
    sex: Sex
    date_of_birth: date
    old_nic: OldNic | None = None
    passports: tuple[Passport, ...] = ()
    history: IdentityHistory = IdentityHistory()
    others: tuple["Person", ...] = ()

    @property
    def identities(self) -> tuple["Person", ...]:
        """The person as the record states it, and as those did that were merged into it."""
        return (self, *self.others)

    @property
    def name(self) -> Name:
        """The name that the person has now."""
        return Name(self.full_name, self.full_name_ur)

    @property
    def guardian(self) -> Guardian:
        """Whom the card names now."""
        return Guardian(self.guardian_name, self.guardian_name_ur, self.guardian_relation)

    @property
    def cnics(self) -> tuple[Cnic, ...]:
        """The number of the card, and every number that it had before; of all identities."""
        had = ((each.cnic, *(former.was for former in each.history.cnics)) for each in self.identities)
        return tuple(dict.fromkeys(cnic for cnics in had for cnic in cnics if cnic))

    @property
    def documents(self) -> tuple[Document, ...]:
        """Everything that the person is known by."""
        old_nics = (each.old_nic for each in self.identities if each.old_nic)
        passports = (passport for each in self.identities for passport in each.passports)
        return tuple(dict.fromkeys((*self.cnics, *old_nics, *passports)))

    def merged(self, other: "Person") -> "Person":
        """The person with all that another record knows of them beside; whoever died there did here."""
        history = replace(self.history, died_on=self.history.died_on or other.history.died_on)
        return replace(self, history=history, others=(*self.others, replace(other, others=()), *other.others))

    def reported(self, card: Cnic | OldNic, event: IdentityEvent, day: date) -> "Person":
        """The person as what NADRA reports of the holder of a card leaves them: it is about the identity with the card.

        A death is about the person. Parameters and errors as of `after`.
        """
        own = replace(self, others=()).documents
        if card in own or isinstance(event, Death):
            return self.after(event, day)
        others = (each.after(event, day) if card in each.documents else each for each in self.others)
        return replace(self, others=tuple(others))

    def after(self, event: IdentityEvent, day: date) -> "Person":
        """The person as something that NADRA reports leaves them; what they had before is kept.

        Args:
            day: since which it is so.

        Raises:
            Refused: IDENTITY_EVENT_NOT_POSSIBLE: the register knows it already, or another death; INVALID_FIELD: the
                day lies before the birth, after the death, or before what the register knows already.
        """
        past = self.history
        if day < self.date_of_birth:
            raise _wrong_day("BEFORE_BIRTH", "must not lie before the birth")
        if past.died_on and day > past.died_on:
            raise _wrong_day("AFTER_DEATH", "must not lie after the death")
        match event:
            case Name(full_name, full_name_ur):
                past = replace(past, names=_ended(past.names, self.name, event, day))
                return replace(self, full_name=full_name, full_name_ur=full_name_ur, history=past)
            case Guardian(name, name_ur, relation):
                past = replace(past, guardians=_ended(past.guardians, self.guardian, event, day))
                return replace(
                    self, guardian_name=name, guardian_name_ur=name_ur, guardian_relation=relation, history=past
                )
            case Cnic():
                if self.cnic:
                    past = replace(past, cnics=_ended(past.cnics, self.cnic, event, day))
                return replace(self, cnic=event, history=past)
            case Death():
                if past.died_on:
                    raise _not_possible("DIED_BEFORE")
                if day < past.newest:
                    raise _wrong_day("BEFORE_LAST_CHANGE", "must not lie before the last change that is known")
                return replace(self, history=replace(past, died_on=day))


def _ended(past: tuple[Former[T], ...], was: T, now: T, day: date) -> tuple[Former[T], ...]:
    """The past, with what ends on a day since something else begins."""
    if was == now:
        raise _not_possible("KNOWN_ALREADY")
    if len(past) == MOST_FORMER:
        raise _not_possible("TOO_MANY")
    if past and day < past[-1].until:
        raise _wrong_day("BEFORE_LAST_CHANGE", "must not lie before the last change of this kind that is known")
    return (*past, Former(was, day))


def _wrong_day(reason: str, description: str) -> Refused:
    return invalid(Violation("event.event_date", reason, description))


def _not_possible(cause: str) -> Refused:
    return Refused(
        Reason.IDENTITY_EVENT_NOT_POSSIBLE,
        "this cannot follow on what the register knows of the person",
        metadata={"cause": cause},
    )
