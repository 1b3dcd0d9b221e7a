"""The register in a worker's memory: what a check needs of each record."""

from collections.abc import Sequence
from struct import Struct
from uuid import UUID

from hub.domain.feed import Event, IndexedOffender
from hub.domain.lookup import DisclosedPerson, Known
from hub.domain.offender import Finality
from hub.domain.person import GuardianRelation, Sex

# Of 32 octets of a keyed hash, as many as keep two of a million numbers apart: chance of one in 10^26.
_KEY = 16
_VERSION = Struct(">16sI")  # id and version of the record
_SEPARATOR = "\x1f"  # names hold no control characters


class LookupIndex:
    """Records by the blind indexes of their numbers, so that the memory holds no plain CNIC.

    Each record is one octet string, unpacked when it is found: a million of them take 240 MB, as objects they would
    take several times as much. The numbers of one record share it.

    Filled from a snapshot and kept by the feed, which may repeat what the snapshot had: an older version never replaces
    a newer one. A number has one record that is not sealed at most, and the feed knows of its end before the next one's
    beginning.
    """

    def __init__(self) -> None:
        self._by_cnic: dict[bytes, bytes] = {}

    def clear(self) -> None:
        """Forgets everything."""
        self._by_cnic.clear()

    def load(self, records: Sequence[IndexedOffender]) -> None:
        """Takes records in."""
        for record in records:
            offender = record.offender
            packed = _packed(offender.id, offender.version, Known.of(offender.facts)) if offender.facts else None
            for index in record.cnic_indexes:
                key = index[:_KEY]
                held = _VERSION.unpack_from(self._by_cnic[key]) if key in self._by_cnic else None
                if packed is None:
                    if held and held[0] == offender.id.bytes:
                        del self._by_cnic[key]
                elif held is None or held[0] != offender.id.bytes or held[1] < offender.version:
                    self._by_cnic[key] = packed

    def apply(self, event: Event) -> None:
        """Takes an event of the feed in."""
        self.load([change for change in event.changes if isinstance(change, IndexedOffender)])

    def find(self, cnic_index: bytes) -> Known | None:
        """What is known under a number, or None."""
        held = self._by_cnic.get(cnic_index[:_KEY])
        return _unpacked(held) if held else None

    def __len__(self) -> int:
        """Numbers that it holds."""
        return len(self._by_cnic)


def _packed(id: UUID, version: int, known: Known) -> bytes:
    who = known.person
    names = (who.full_name, who.full_name_ur, who.guardian_name, who.guardian_name_ur)
    text = _SEPARATOR.join((*names, who.guardian_relation, who.sex, *known.finalities))
    return _VERSION.pack(id.bytes, version) + text.encode()


def _unpacked(held: bytes) -> Known:
    full_name, full_name_ur, guardian_name, guardian_name_ur, relation, sex, *finalities = (
        held[_VERSION.size :].decode().split(_SEPARATOR)
    )
    person = DisclosedPerson(
        full_name, full_name_ur, guardian_name, guardian_name_ur, GuardianRelation(relation), Sex(sex)
    )
    return Known(person, frozenset(map(Finality, finalities)))
