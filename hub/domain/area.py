"""How many supervised offenders live in each district, told so that nobody can be found out by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hub.domain.disclosure import DisclosureMode, Grant
from hub.domain.districts import TIME_ZONE
from hub.domain.offender import OffenderFacts

_BASE = 5
_LEAST = 10
# The days of the new month on which the old one is counted; later it would be another month's count.
_DAYS_TO_COUNT = 3

_PUBLIC = Grant(DisclosureMode.HIT_ONLY, under_appeal=False)


@dataclass(frozen=True, slots=True)
class Cell:
    """The offenders of a district in a month.

    Attributes:
        lot: 64 bits drawn for just these people: the same for them in every month, another for any other set of people.
    """

    count: int
    lot: int

    @property
    def shown(self) -> int | None:
        """What is told of the count: a multiple of 5, at least 10; None: hidden.

        The count is rounded at random to one of the multiples of 5 around it, on average to itself, as Stats NZ does to
        base 3. The draw belongs to the people counted, so no average over many months of the same people tells more: a
        cell key (Wooton and Fraser, A Review of Confidentiality Protections for Statistical Tables, ABS 1352.0.55.072,
        2005). Any two answers that one person's coming can give, one person's going can give as well: so what is
        rounded to 5 is hidden like what is rounded to 0, or else the first answer about a district would tell of a
        coming.
        """
        rest = self.count % _BASE
        rounded = self.count - rest + (_BASE if self.lot % _BASE < rest else 0)
        return rounded if rounded >= _LEAST else None


@dataclass(frozen=True, slots=True)
class AreaMonth:
    """What is told of a month: the counts of the districts that are not hidden.

    Attributes:
        first_day: of the month.
    """

    first_day: date
    counts: Mapping[str, int]
    counted_at: datetime


def month_to_count(now: datetime) -> date | None:
    """The first day of the month in Pakistan that has just ended; None when it has ended too long ago."""
    today = now.astimezone(TIME_ZONE).date()
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1) if today.day <= _DAYS_TO_COUNT else None


def is_supervised(facts: OffenderFacts) -> bool:
    """Whether an offender counts: who lives and has a conviction of which the public may learn."""
    alive = facts.person.history.died_on is None
    return alive and _PUBLIC.is_hit(conviction.finality for conviction in facts.convictions)


def area_key(district: str) -> str:
    """The key by which the supervised offenders of a district are found, see `hub.domain.search`."""
    return f"supervised={district}"
