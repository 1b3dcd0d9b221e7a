"""The node's side of `Reconcile`: ranges of keyed hashes, compared with the hub's until every difference is named."""

import hashlib
import hmac
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc

from nsor.federation.v1.federation_service_pb2 import (
    RangeDifference,
    RangeDigest,
    ReconcileBegin,
    ReconcileFound,
    ReconcileRanges,
    ReconcileRequest,
    ReconcileResponse,
    ReconcileScope,
)
from nsor_client.errors import Unavailable

_DIGITS = "0123456789abcdef"
_HASH = 16
_RANGES = 256


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What differs between a node's register and the hub's.

    Attributes:
        revision: of the hub's register.
        as_of: every change committed before this time is in it.
        records: how many records of the node were compared.
        only_at_hub: names of the hub's records whose numbers the node does not have.
        only_at_node: the node's numbers, as it gave them, that stand on no record of the hub.
    """

    revision: str
    as_of: datetime
    records: int
    only_at_hub: list[str]
    only_at_node: list[str]


class Comparison:
    """Asks and takes answers in turn; the contract defines hashes, ranges and digests.

    Args:
        cnics: the numbers of the node's records, 13 ASCII digits, with or without dashes; a number given twice
            counts once.

    Raises:
        ValueError: a number is not one. It is not quoted.
    """

    def __init__(self, cnics: Iterable[str], *, everything: bool, at_least_revision: str) -> None:
        self._cnics: dict[str, str] = {}
        for place, cnic in enumerate(cnics, 1):
            digits = cnic.replace("-", "").strip()
            if len(digits) != 13 or not (digits.isascii() and digits.isdigit()):
                raise ValueError(f"number {place} is not a CNIC of 13 digits")
            self._cnics[digits] = cnic
        scope = ReconcileScope.RECONCILE_SCOPE_ALL if everything else ReconcileScope.RECONCILE_SCOPE_OWN
        self._next: ReconcileRequest | None = ReconcileRequest(
            begin=ReconcileBegin(scope=scope, at_least_revision=at_least_revision)
        )
        self._by_hash: dict[str, str] = {}
        self._hashes: list[str] = []
        self._prefixes = deque([""])
        self._only_at_hub: list[str] = []
        self._only_at_node: list[str] = []
        self._begun = ReconcileResponse()
        self._complete = False

    def request(self) -> ReconcileRequest | None:
        """The next request; None after the last."""
        request, self._next = self._next, None
        return request

    def take(self, response: ReconcileResponse) -> None:
        """Takes the answer to the last request."""
        if response.key:
            self._begun = response
            for digits, cnic in self._cnics.items():
                self._by_hash[hmac.digest(response.key, digits.encode(), hashlib.sha256)[:_HASH].hex()] = cnic
            self._hashes = sorted(self._by_hash)
        for difference in response.differences:
            self._look_into(difference)
        if self._prefixes:
            asked = [self._prefixes.popleft() for _ in range(min(_RANGES, len(self._prefixes)))]
            digests = [RangeDigest(prefix=prefix, digest=self._digest(prefix)) for prefix in asked]
            self._next = ReconcileRequest(ranges=ReconcileRanges(ranges=digests))
        else:
            found = ReconcileFound(
                records=len(self._cnics),
                only_at_hub=len(self._only_at_hub),
                only_at_node=len(self._only_at_node),
            )
            self._next = ReconcileRequest(found=found)
            self._complete = True

    def result(self) -> Reconciliation:
        """What was found, once there is no further request.

        Raises:
            Unavailable: the comparison was cut.
        """
        if not self._complete:
            raise Unavailable(grpc.StatusCode.UNAVAILABLE, "The hub ended the comparison before its end.")
        return Reconciliation(
            revision=self._begun.revision,
            as_of=self._begun.as_of_time.ToDatetime(UTC),
            records=len(self._cnics),
            only_at_hub=self._only_at_hub,
            only_at_node=self._only_at_node,
        )

    def _look_into(self, difference: RangeDifference) -> None:
        if difference.too_many:
            self._prefixes.extend(difference.prefix + digit for digit in _DIGITS)
            return
        there = {record.hash.hex(): record.name for record in difference.records}
        here = self._range(difference.prefix)
        self._only_at_hub += [name for hash, name in there.items() if hash not in self._by_hash]
        self._only_at_node += [self._by_hash[hash] for hash in here if hash not in there]

    def _range(self, prefix: str) -> list[str]:
        return self._hashes[bisect_left(self._hashes, prefix) : bisect_left(self._hashes, prefix + "g")]

    def _digest(self, prefix: str) -> bytes:
        return hashlib.sha256(bytes.fromhex("".join(self._range(prefix)))).digest()
