"""The record of a convicted offender and the rules for what may stand in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from hub.domain.cnic import Cnic
from hub.domain.errors import Violation
from hub.domain.offences import OffenceBasis, find_offence

# Nobody who can be convicted today was born before; it is a typing error.
_OLDEST_BIRTH = date(1900, 1, 1)


class Sex(StrEnum):
    """Sex as on the card."""

    MALE = "MALE"
    FEMALE = "FEMALE"
    X = "X"


class GuardianRelation(StrEnum):
    """Whether the guardian named on the card is the father or the husband."""

    FATHER = "FATHER"
    HUSBAND = "HUSBAND"


class Finality(StrEnum):
    """How final a conviction is: names as in `nsor.registry.v1.Finality`."""

    APPEAL_WINDOW = "APPEAL_WINDOW"
    UNDER_APPEAL = "UNDER_APPEAL"
    FINAL = "FINAL"
    SET_ASIDE = "SET_ASIDE"


class VictimClass(StrEnum):
    """Class of the victim, the only thing that the register knows of one (s.26 of the Act)."""

    CHILD = "CHILD"
    WOMAN = "WOMAN"
    OTHER = "OTHER"


class OffenderStatus(StrEnum):
    """State of a record, derived from its convictions."""

    REGISTERED = "REGISTERED"
    SET_ASIDE = "SET_ASIDE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as NADRA knows them."""

    cnic: Cnic
    full_name: str
    full_name_ur: str
    guardian_name: str
    guardian_name_ur: str
    guardian_relation: GuardianRelation
    sex: Sex
    date_of_birth: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Conviction:
    """A conviction by a court."""

    court: str
    case_number: str
    fir_number: str
    police_station: str
    offence_code: str
    conviction_date: date
    finality: Finality
    finality_date: date | None
    victim_class: VictimClass

    @property
    def offence_basis(self) -> OffenceBasis:
        """The definition of the Act by which the offence belongs on the register."""
        offence = find_offence(self.offence_code)
        if offence is None:
            raise LookupError(f"offence {self.offence_code} left the offence table")
        return offence.basis


@dataclass(frozen=True, slots=True, kw_only=True)
class OffenderFacts:
    """What an owner states about an offender.

    Attributes:
        district: district of residence, in the gazetteer's spelling.
    """

    person: Person
    district: str
    convictions: tuple[Conviction, ...]

    def violations(self, today: date) -> Iterator[Violation]:
        """The rules of the register that the facts break; paths begin at "offender.".

        Args:
            today: the current day in Pakistan.
        """
        if self.person.date_of_birth < _OLDEST_BIRTH:
            yield Violation("offender.person.date_of_birth", "TOO_OLD", "must not lie before 1900")
        if self.person.date_of_birth > today:
            yield Violation("offender.person.date_of_birth", "IN_FUTURE", "must not lie in the future")
        for index, conviction in enumerate(self.convictions):
            path = f"offender.convictions[{index}]"
            offence = find_offence(conviction.offence_code)
            if offence is None:
                yield Violation(f"{path}.offence_code", "UNKNOWN_OFFENCE", "is not in the offence table")
            elif not offence.in_force(conviction.conviction_date):
                yield Violation(
                    f"{path}.offence_code",
                    "OFFENCE_NOT_IN_FORCE",
                    "was not in force on the day of the conviction",
                )
            if conviction.conviction_date > today:
                yield Violation(f"{path}.conviction_date", "IN_FUTURE", "must not lie in the future")
            if int(conviction.fir_number.rpartition("/")[2]) > today.year:
                yield Violation(f"{path}.fir_number", "IN_FUTURE", "must not be of a year to come")
            if conviction.conviction_date <= self.person.date_of_birth:
                yield Violation(f"{path}.conviction_date", "BEFORE_BIRTH", "must lie after the date of birth")
            if since := conviction.finality_date:
                if since > today:
                    yield Violation(f"{path}.finality_date", "IN_FUTURE", "must not lie in the future")
                if since < conviction.conviction_date:
                    yield Violation(f"{path}.finality_date", "BEFORE_CONVICTION", "must not lie before the conviction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """A record of the register at one version.

    Attributes:
        owner: id of the node that owns the record.
        version: 1 when entered, one more with each change.
    """

    id: UUID
    owner: str
    version: int
    facts: OffenderFacts
    created_at: datetime
    updated_at: datetime

    @property
    def name(self) -> str:
        """Resource name, "offenders/{uuid}"."""
        return f"offenders/{self.id}"

    @property
    def etag(self) -> str:
        """Changes with each version (AIP-154)."""
        return f'"{self.version}"'

    @property
    def status(self) -> OffenderStatus:
        """Registered while a conviction stands."""
        if all(c.finality is Finality.SET_ASIDE for c in self.facts.convictions):
            return OffenderStatus.SET_ASIDE
        return OffenderStatus.REGISTERED
