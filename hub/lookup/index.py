"""The register in a worker's memory: what a check needs of each record."""

from collections.abc import Sequence
from uuid import UUID

from hub.domain.feed import Event, IndexedOffender
from hub.domain.lookup import Known


class LookupIndex:
    """Records by the blind index of their number, so that the memory holds no plain CNIC.

    Filled from a snapshot and kept by the feed, which may repeat what the snapshot had: an older version never replaces
    a newer one. A number has one record that is not sealed at most, and the feed knows of its end before the next one's
    beginning.
    """

    def __init__(self) -> None:
        self._by_cnic: dict[bytes, tuple[UUID, int, Known]] = {}

    def clear(self) -> None:
        """Forgets everything."""
        self._by_cnic.clear()

    def load(self, records: Sequence[IndexedOffender]) -> None:
        """Takes records in."""
        for record in records:
            offender, held = record.offender, self._by_cnic.get(record.cnic_index)
            if offender.facts is None:
                if held and held[0] == offender.id:
                    del self._by_cnic[record.cnic_index]
            elif held is None or held[0] != offender.id or held[1] < offender.version:
                self._by_cnic[record.cnic_index] = (offender.id, offender.version, Known.of(offender.facts))

    def apply(self, event: Event) -> None:
        """Takes an event of the feed in."""
        self.load([change for change in event.changes if isinstance(change, IndexedOffender)])

    def find(self, cnic_index: bytes) -> Known | None:
        """What is known under a number, or None."""
        held = self._by_cnic.get(cnic_index)
        return held[2] if held else None

    def __len__(self) -> int:
        return len(self._by_cnic)
