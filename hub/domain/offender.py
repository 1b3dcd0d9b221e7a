"""The record of a convicted offender and the rules for what may stand in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from hub.domain.errors import Reason, Refused, Violation, invalid
from hub.domain.offences import OffenceBasis, find_offence
from hub.domain.person import MOST_OTHERS, Person

# Nobody who can be convicted today was born before; it is a typing error.
_OLDEST_BIRTH = date(1900, 1, 1)

MOST_CONVICTIONS = 50
"""Convictions of a record, as the contract has it."""


class Finality(StrEnum):
    """How final a conviction is: names as in `nsor.registry.v1.Finality`."""

    APPEAL_WINDOW = "APPEAL_WINDOW"
    UNDER_APPEAL = "UNDER_APPEAL"
    FINAL = "FINAL"
    SET_ASIDE = "SET_ASIDE"


class CourtEvent(StrEnum):
    """What happened to a conviction at a court: names as in `nsor.registry.v1.CourtEvent`."""

    APPEAL_FILED = "APPEAL_FILED"
    APPEAL_DISMISSED = "APPEAL_DISMISSED"
    APPEAL_PERIOD_ENDED = "APPEAL_PERIOD_ENDED"
    SET_ASIDE = "SET_ASIDE"


# What each event makes of a conviction; what is not here does not happen. An appeal can follow on a final judgment: one
# that comes late, or goes to the next court. To set aside needs no appeal on record, since whoever is acquitted must be
# out at once. Nothing follows on that.
_FINALITY_AFTER: Mapping[tuple[Finality, CourtEvent], Finality] = {
    (Finality.APPEAL_WINDOW, CourtEvent.APPEAL_FILED): Finality.UNDER_APPEAL,
    (Finality.FINAL, CourtEvent.APPEAL_FILED): Finality.UNDER_APPEAL,
    (Finality.UNDER_APPEAL, CourtEvent.APPEAL_DISMISSED): Finality.FINAL,
    (Finality.APPEAL_WINDOW, CourtEvent.APPEAL_PERIOD_ENDED): Finality.FINAL,
    (Finality.APPEAL_WINDOW, CourtEvent.SET_ASIDE): Finality.SET_ASIDE,
    (Finality.UNDER_APPEAL, CourtEvent.SET_ASIDE): Finality.SET_ASIDE,
    (Finality.FINAL, CourtEvent.SET_ASIDE): Finality.SET_ASIDE,
}


class VictimClass(StrEnum):
    """Class of the victim, the only thing that the register knows of one (s.26 of the Act)."""

    CHILD = "CHILD"
    WOMAN = "WOMAN"
    OTHER = "OTHER"


class OffenderStatus(StrEnum):
    """State of a record: names as in `nsor.registry.v1.OffenderStatus`."""

    REGISTERED = "REGISTERED"
    MERGED = "MERGED"
    SEALED = "SEALED"


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

    @property
    def case(self) -> str:
        """The case, however it is spelt: two convictions of one person in it are the same, or one is of a retrial.

        The FIR with its police station, and the offence. Court and case number are spelt in too many ways.
        """
        parts = (self.fir_number.lstrip("0"), self.police_station, self.offence_code)
        return "|".join("".join(filter(str.isalnum, part.casefold())) for part in parts)

    def after(self, event: CourtEvent, day: date) -> "Conviction":
        """The conviction as an event at a court leaves it.

        Raises:
            Refused: COURT_EVENT_NOT_POSSIBLE; INVALID_FIELD: it happened before what the register knows already.
        """
        finality = _FINALITY_AFTER.get((self.finality, event))
        if finality is None:
            raise Refused(
                Reason.COURT_EVENT_NOT_POSSIBLE,
                "this cannot follow on what the register knows of the conviction",
                metadata={"finality": f"FINALITY_{self.finality}", "event": f"COURT_EVENT_{event}"},
            )
        if day < (self.finality_date or self.conviction_date):
            raise invalid(
                Violation("event_date", "BEFORE_FINALITY", "must not lie before the conviction or its appeal")
            )
        return replace(self, finality=finality, finality_date=day)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffenderFacts:
    """What an owner states about an offender.

    Attributes:
        district: district of residence, in the gazetteer's spelling.
    """

    person: Person
    district: str
    convictions: tuple[Conviction, ...]

    @property
    def standing(self) -> tuple[Conviction, ...]:
        """The convictions that were not set aside."""
        return tuple(c for c in self.convictions if c.finality is not Finality.SET_ASIDE)

    def violations(self, today: date, before: "OffenderFacts | None" = None) -> Iterator[Violation]:
        """The rules of the register that the facts break; paths begin at "offender.".

        Args:
            today: the current day in Pakistan.
            before: what the record holds already; None on entry.
        """
        if before:
            yield from self._violations_after(before)
        for index in range(len(before.convictions) if before else 0, len(self.convictions)):
            if self.convictions[index].finality is Finality.SET_ASIDE:
                path = f"offender.convictions[{index}].finality"
                yield Violation(path, "SET_ASIDE", "must not be that of a conviction which was set aside")
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

    def _violations_after(self, before: "OffenderFacts") -> Iterator[Violation]:
        """The rules for a change that the facts break."""
        if before.person.cnic not in (None, self.person.cnic):
            yield Violation("offender.person.cnic", "IMMUTABLE", "cannot be changed by an update")
        if len(self.convictions) < len(before.convictions):
            yield Violation("offender.convictions", "REMOVED", "must not leave out a conviction of the record")
        for index, (old, new) in enumerate(zip(before.convictions, self.convictions, strict=False)):
            for field in ("finality", "finality_date"):
                if getattr(old, field) != getattr(new, field):
                    path = f"offender.convictions[{index}].{field}"
                    yield Violation(path, "BY_COURT_EVENT", "is changed by RecordCourtEvent only")

    def after(self, number: int, event: CourtEvent, day: date) -> "OffenderFacts | None":
        """The facts as an event at a court leaves them; None when no conviction stands any more.

        Args:
            number: of the conviction, from 1.

        Raises:
            Refused: COURT_EVENT_NOT_POSSIBLE, INVALID_FIELD.
        """
        if number > len(self.convictions):
            raise invalid(Violation("conviction_number", "UNKNOWN_CONVICTION", "is not one of the record"))
        convictions = list(self.convictions)
        convictions[number - 1] = convictions[number - 1].after(event, day)
        after = replace(self, convictions=tuple(convictions))
        return after if after.standing else None

    def merged(self, duplicate: "OffenderFacts", today: date) -> "OffenderFacts":
        """The facts of a record with those of another one of the same person beside.

        Its person and district stay; convictions of the other one follow on its own, as the courts left them.

        Args:
            today: the current day in Pakistan.

        Raises:
            Refused: INVALID_FIELD: together they would be more than a record can hold, or break a rule of the register.
        """
        after = replace(
            self,
            person=self.person.merged(duplicate.person),
            convictions=(*self.convictions, *duplicate.convictions),
        )
        wrong = list(after.violations(today, before=after))
        if len(after.convictions) > MOST_CONVICTIONS:
            description = f"must not bring the record to more than {MOST_CONVICTIONS} convictions"
            wrong.append(Violation("duplicate", "TOO_MANY_CONVICTIONS", description))
        if len(after.person.others) > MOST_OTHERS:
            description = f"must not bring the record to more than {MOST_OTHERS} other identities"
            wrong.append(Violation("duplicate", "TOO_MANY_IDENTITIES", description))
        if wrong:
            raise invalid(*wrong)
        return after


@dataclass(frozen=True, slots=True)
class Transfer:
    """A proposal to hand a record over, which is open. Until the receiver accepts, the sender stays responsible.

    Attributes:
        sender: id of the node that owns the record.
        receiver: id of the node that it is proposed to.
        due_at: when the proposal is overdue, so that NPB sees to it.
    """

    offender_id: UUID
    sender: str
    receiver: str
    due_at: datetime


def offender_name(id: UUID) -> str:
    """Resource name of a record, "offenders/{uuid}"."""
    return f"offenders/{id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """A record of the register at one version.

    Attributes:
        owner: id of the node that owns the record.
        version: 1 when entered, one more with each change.
        facts: None in every version of a record that is sealed: they are erased. None also since the record was merged.
        merged_into: id of the record that it was merged into, and that has its facts; None once it is sealed with that.
    """

    id: UUID
    owner: str
    version: int
    facts: OffenderFacts | None
    created_at: datetime
    updated_at: datetime
    transfer: Transfer | None = None
    merged_into: UUID | None = None

    @property
    def name(self) -> str:
        """Resource name, "offenders/{uuid}"."""
        return offender_name(self.id)

    @property
    def etag(self) -> str:
        """Changes with each version (AIP-154)."""
        return f'"{self.version}"'

    @property
    def status(self) -> OffenderStatus:
        """Registered until it is merged into another record, or every conviction was set aside."""
        if self.facts:
            return OffenderStatus.REGISTERED
        return OffenderStatus.MERGED if self.merged_into else OffenderStatus.SEALED
