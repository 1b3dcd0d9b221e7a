"""Comparing the hub's register with a node's, range by range of keyed hashes."""

import hashlib
import hmac
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.domain.cnic import Cnic

_HASH = 16
_LISTED = 32


@dataclass(frozen=True, slots=True)
class Difference:
    """A range in which the registers differ.

    Attributes:
        records: the hub's records in it by their hashes; None if they are too many to list.
    """

    prefix: str
    records: Sequence[tuple[bytes, UUID]] | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a node found when it compared registers."""

    records: int
    only_at_hub: int
    only_at_node: int
    reconciled_at: datetime


def keyed(key: bytes, cnic: Cnic, id: UUID) -> bytes:
    """A record as it is compared: the hash of its number, then its id. A million of them take 75 MB."""
    return hmac.digest(key, cnic.digits.encode(), hashlib.sha256)[:_HASH] + id.bytes


class RangeDigests:
    """The hub's side: records by their hashes, which tell nothing without the key.

    The contract (`FederationService.Reconcile`) defines hashes, ranges and digests.

    Args:
        records: of `keyed`, in any order.
    """

    def __init__(self, records: Iterable[bytes]) -> None:
        self._records = sorted(records)

    def compare(self, ranges: Iterable[tuple[str, bytes]]) -> list[Difference]:
        """Those of some ranges, given by prefix and digest, that are not the same here."""
        return [difference for prefix, digest in ranges if (difference := self._compare(prefix, digest))]

    def _compare(self, prefix: str, digest: bytes) -> Difference | None:
        first = bisect_left(self._records, bytes.fromhex(prefix.ljust(2 * _HASH, "0")))
        last = bisect_right(self._records, bytes.fromhex(prefix.ljust(2 * _HASH, "f")) + b"\xff" * _HASH)
        records = self._records[first:last]
        if hashlib.sha256(b"".join(record[:_HASH] for record in records)).digest() == digest:
            return None
        if len(records) > _LISTED:
            return Difference(prefix, None)
        return Difference(prefix, [(record[:_HASH], UUID(bytes=record[_HASH:])) for record in records])
