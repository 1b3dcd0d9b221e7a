"""How many supervised offenders live where."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from hub.domain.area import AreaMonth, Cell, month_to_count
from hub.domain.audit import AuditEntry
from hub.domain.districts import districts
from hub.domain.node import Caller
from hub.domain.ports import AuditLog


class AreaStore(Protocol):
    """Counts, see `hub.store.area`."""

    async def months(self, limit: int) -> Sequence[AreaMonth]:
        """The newest months that were counted, the newest first."""
        ...

    async def has(self, first_day: date) -> bool:
        """Whether a month was counted."""
        ...

    async def count(self, districts: Collection[str]) -> Mapping[str, Cell] | None:
        """The supervised offenders of each district; None while they cannot all be counted."""
        ...

    async def keep(self, month: AreaMonth) -> bool:
        """Keeps what is told of a month, unless it was counted before; whether it did."""
        ...


class AreaStatus:
    """The use case of GetAreaStatus, and the counting."""

    def __init__(self, store: AreaStore, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock

    async def months(self, caller: Caller, *, limit: int) -> Sequence[AreaMonth]:
        """What is told of the newest months, the newest first.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        months = await self._store.months(limit)
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        return months

    async def close_month(self) -> date | None:
        """Counts the month that has just ended, once and for all; its first day, or None where there is nothing to do.

        Every worker may try: what one of them has kept, none of them changes.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        now = self._clock()
        first_day = month_to_count(now)
        if first_day is None or await self._store.has(first_day):
            return None
        cells = await self._store.count(districts())
        if cells is None:
            return None
        counts = {district: cell.shown for district, cell in cells.items() if cell.shown is not None}
        return first_day if await self._store.keep(AreaMonth(first_day, counts, now)) else None
