"""The register in a worker's memory: what a check needs of each record."""

from collections.abc import Callable, Iterable
from operator import attrgetter
from struct import Struct

from hub.domain.feed import Event, IndexedOffender
from hub.domain.lookup import CheckedRecord, Disclosed, Known
from hub.domain.offender import Finality

# Of 32 octets of a keyed hash, as many as keep two of a million numbers apart: chance of one in 10^26.
_KEY = 16
_HEAD = Struct(">16sIB")  # id and version of the record, and a bit for each finality among its convictions
_disclosed = attrgetter(*Disclosed._fields)
_BITS = {finality: 1 << place for place, finality in enumerate(Finality)}
_NOBODY = bytes(_HEAD.size)
_FINALITIES = [frozenset(f for f in Finality if bits & _BITS[f]) for bits in range(1 << len(Finality))]


class LookupIndex:
    """Records by the blind indexes of their numbers, so that the memory holds no plain CNIC.

    Each record is one octet string: a million of them take 240 MB, as objects they would take several times as much.
    The numbers of one record share it.

    Filled from a snapshot and kept by the feed, which may repeat what the snapshot had: an older version never replaces
    a newer one. A number has one record that is not sealed at most, and the feed knows of its end before the next one's
    beginning.

    Args:
        disclosed: makes what a hit tells about a person, ready for the answer.
    """

    def __init__(self, disclosed: Callable[[Disclosed], bytes]) -> None:
        self._disclosed = disclosed
        self._by_cnic: dict[bytes, bytes] = {}

    def clear(self) -> None:
        """Forgets everything."""
        self._by_cnic.clear()

    def load(self, records: Iterable[CheckedRecord]) -> None:
        """Takes records in."""
        for id, version, cnic_indexes, finalities, person in records:
            packed = _HEAD.pack(id, version, sum(map(_BITS.__getitem__, finalities)))
            if person:
                packed += self._disclosed(person)
            for index in cnic_indexes:
                key = index[:_KEY]
                held = self._by_cnic.get(key)
                held_id, held_version, _ = _HEAD.unpack_from(held) if held else (None, 0, 0)
                if person is None:
                    if held_id == id:
                        del self._by_cnic[key]
                elif held_id != id or held_version < version:
                    self._by_cnic[key] = packed

    def apply(self, event: Event) -> None:
        """Takes an event of the feed in."""
        self.load(checked(change) for change in event.changes if isinstance(change, IndexedOffender))

    def find(self, cnic_index: bytes) -> Known:
        """What is known under a number; of nobody there are no convictions. Takes as long for both."""
        held = self._by_cnic.get(cnic_index[:_KEY], _NOBODY)
        return Known(_FINALITIES[held[_HEAD.size - 1]], held[_HEAD.size :])

    def __len__(self) -> int:
        """Numbers that it holds."""
        return len(self._by_cnic)


def checked(change: IndexedOffender) -> CheckedRecord:
    """What checks need of a record that the feed brings."""
    offender = change.offender
    record = CheckedRecord(offender.id.bytes, offender.version, change.cnic_indexes)
    if offender.facts is None:
        return record
    finalities = {conviction.finality for conviction in offender.facts.convictions}
    return record._replace(finalities=finalities, person=Disclosed(*_disclosed(offender.facts.person)))
