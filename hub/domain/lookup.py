"""The answer to a check of one CNIC."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.domain.offender import Finality, OffenderFacts
from hub.domain.person import GuardianRelation, Sex


class Outcome(StrEnum):
    """How a check ends: one of four, names as in `nsor.lookup.v1.Outcome`."""

    HIT = "HIT"
    NO_RECORD = "NO_RECORD"
    INVALID_CNIC = "INVALID_CNIC"
    CANNOT_ANSWER = "CANNOT_ANSWER"


class CannotAnswerReason(StrEnum):
    """Why there is no answer. Names as in `nsor.lookup.v1.CannotAnswerReason`."""

    STALE_DATA = "STALE_DATA"
    DISCLOSURE_OFF = "DISCLOSURE_OFF"
    POLICY_UNKNOWN = "POLICY_UNKNOWN"


@dataclass(frozen=True, slots=True)
class DisclosedPerson:
    """What a hit tells about the person."""

    full_name: str
    full_name_ur: str
    guardian_name: str
    guardian_name_ur: str
    guardian_relation: GuardianRelation
    sex: Sex


@dataclass(frozen=True, slots=True)
class Known:
    """What a check needs of a record."""

    person: DisclosedPerson
    finalities: frozenset[Finality]

    @classmethod
    def of(cls, facts: OffenderFacts) -> "Known":
        """Takes it out of a record."""
        person = facts.person
        return cls(
            DisclosedPerson(
                full_name=person.full_name,
                full_name_ur=person.full_name_ur,
                guardian_name=person.guardian_name,
                guardian_name_ur=person.guardian_name_ur,
                guardian_relation=person.guardian_relation,
                sex=person.sex,
            ),
            frozenset(c.finality for c in facts.convictions),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a check.

    Attributes:
        as_of: every change committed before this time was looked at; None if the register was not.
        revision: token of the revision that was looked at; empty if the register was not.
        person: on a hit, as far as the disclosure policy allows.
        masked_cnic: the number as understood, its middle hidden; empty when there was none.
        reason: why the outcome is CANNOT_ANSWER.
    """

    outcome: Outcome
    as_of: datetime | None = None
    revision: str = ""
    person: DisclosedPerson | None = None
    masked_cnic: str = ""
    reason: CannotAnswerReason | None = None
