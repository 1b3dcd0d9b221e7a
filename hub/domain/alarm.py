"""Odd use of checks, to be looked at by NPB."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class AlarmKind(StrEnum):
    """What is odd. Names as in `nsor.lookup.v1.AlarmKind`, where each is documented."""

    NEAR_NUMBERS = "NEAR_NUMBERS"
    MANY_MISSES = "MANY_MISSES"
    MANY_ASKERS = "MANY_ASKERS"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something odd. It holds nothing about who was asked about.

    Attributes:
        node_id: who asked; empty where many did.
        officer_id: the officer whom the node named; empty if none.
        checks: how many made it odd.
        began_at: since when they were counted.
    """

    id: UUID
    kind: AlarmKind
    node_id: str
    officer_id: str
    checks: int
    began_at: datetime
    raised_at: datetime

    @property
    def name(self) -> str:
        """Resource name, "lookupAlarms/{uuid}"."""
        return f"lookupAlarms/{self.id}"
