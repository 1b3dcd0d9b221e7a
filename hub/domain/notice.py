"""What a released offender notified."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from hub.domain.errors import Violation


class TravelScope(StrEnum):
    """Where a journey leads: names as in `nsor.monitoring.v1.TravelScope`."""

    DOMESTIC = "DOMESTIC"
    ABROAD = "ABROAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameChange:
    """A new name, as the offender stated it."""

    full_name: str
    full_name_ur: str
    effective_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressChange:
    """A new address; the district in the gazetteer's spelling."""

    address: str
    district: str
    effective_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Travel:
    """A journey, to a district or to a country by its ISO 3166-1 alpha-2 code."""

    scope: TravelScope
    destination: str
    departure_date: date
    return_date: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeFacts:
    """What was notified, and when."""

    detail: NameChange | AddressChange | Travel
    notified_date: date

    def violations(self, today: date) -> Iterator[Violation]:
        """The rules that the notice breaks; paths begin at "notice."."""
        if self.notified_date > today:
            yield Violation("notice.notified_date", "IN_FUTURE", "must not lie in the future")
        travel = self.detail
        if isinstance(travel, Travel) and travel.return_date and travel.return_date < travel.departure_date:
            yield Violation("notice.travel.return_date", "BEFORE_DEPARTURE", "must not lie before the departure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice on the register.

    Attributes:
        recorder: id of the node that recorded it.
        facts: None once the record is sealed: they are erased with it.
    """

    id: UUID
    offender_id: UUID
    recorder: str
    facts: NoticeFacts | None
    created_at: datetime

    @property
    def name(self) -> str:
        """Resource name, "offenders/{uuid}/notices/{uuid}"."""
        return f"offenders/{self.offender_id}/notices/{self.id}"
