"""What checks of a CNIC need of a record, and what they answer."""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from hub.domain.offender import Finality


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
    CONSENT_NEEDED = "CONSENT_NEEDED"


# Tuples, since these are made for each number of a roster or each record of the register: dataclasses that are frozen
# cost five times as much.


class Disclosed(NamedTuple):
    """What a hit may tell about a person: fields of `hub.domain.person.Person`, the last two by their names."""

    full_name: str
    full_name_ur: str
    guardian_name: str
    guardian_name_ur: str
    guardian_relation: str
    sex: str


class CheckedRecord(NamedTuple):
    """What checks need of a record at one version.

    Attributes:
        id: 16 octets.
        cnic_indexes: blind indexes (32 octets each) of the numbers by which checks find it; of a record that does not
            stand those that it had.
        finalities: of its convictions.
        person: None when the record is sealed, or was merged into another.
    """

    id: bytes
    version: int
    cnic_indexes: Sequence[bytes]
    finalities: Set[Finality] = frozenset()
    person: Disclosed | None = None


class Known(NamedTuple):
    """What is known under a number.

    Attributes:
        finalities: of the convictions on its record; none where it has no record.
        person: what a hit may tell about the person, ready for the answer.
    """

    finalities: Set[Finality]
    person: bytes


class Basis(NamedTuple):
    """The register as an answer was looked up in it.

    Attributes:
        as_of: every change committed before this time was looked at.
        revision: token of the revision that was looked at.
        provinces_as_of: up to when the records of every province are known; None if that is not known.
    """

    as_of: datetime
    revision: str
    provinces_as_of: datetime | None

    @classmethod
    def of_all(cls, bases: "Iterable[Basis]") -> "Basis | None":
        """What holds for answers that were given one after the other: of each the earliest. None of none."""
        bases = list(bases)
        if not bases:
            return None
        provinces = [basis.provinces_as_of for basis in bases if basis.provinces_as_of]
        return cls(
            min(basis.as_of for basis in bases),
            bases[0].revision,  # a worker never goes back
            min(provinces) if len(provinces) == len(bases) else None,
        )


class Answer(NamedTuple):
    """The answer to a check.

    Attributes:
        basis: None if the register was not looked at.
        person: on a hit, as far as the disclosure policy allows; ready for the answer, else empty.
        masked_cnic: the number as understood, its middle hidden; empty when there was none.
        reason: why the outcome is CANNOT_ANSWER.
    """

    outcome: Outcome
    basis: Basis | None = None
    person: bytes = b""
    masked_cnic: str = ""
    reason: CannotAnswerReason | None = None
