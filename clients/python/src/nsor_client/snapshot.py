"""Whether a snapshot is whole: the numbers and the checksum of its end, against what came."""

import hashlib

import grpc

from nsor.federation.v1.federation_service_pb2 import GetSnapshotResponse, SnapshotEnd
from nsor_client.errors import InternalError, Unavailable


class SnapshotCheck:
    """Takes the responses of GetSnapshot in their order; the contract defines the checksum."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._seen = SnapshotEnd()
        self._revision: str | None = None
        self._ended = False

    def add(self, response: GetSnapshotResponse) -> None:
        """Takes the next response.

        Raises:
            InternalError: it does not fit what came before it.
        """
        if self._ended or self._revision not in (None, response.revision):
            raise _not_whole()
        self._revision = response.revision
        for offender in response.offenders:
            self._digest.update(f"{offender.name} {offender.etag}\n".encode())
        for notice in response.notices:
            self._digest.update(f"{notice.name}\n".encode())
        self._seen.offender_count += len(response.offenders)
        self._seen.notice_count += len(response.notices)
        if response.HasField("end"):
            self._seen.checksum = self._digest.digest()
            self._ended = True
            if response.end != self._seen:
                raise _not_whole()

    def finish(self) -> None:
        """The stream is over.

        Raises:
            Unavailable: its end has not come.
        """
        if not self._ended:
            raise Unavailable(grpc.StatusCode.UNAVAILABLE, "The snapshot was cut before its end.")


def _not_whole() -> InternalError:
    return InternalError(grpc.StatusCode.DATA_LOSS, "The snapshot does not match its own numbers and checksum.")
