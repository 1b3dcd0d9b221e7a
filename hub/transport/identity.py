"""Who calls: from the certificate on the line to a node.

TLS has checked that the certificate is of our CA, once, when the line was opened. That is not enough for lines that
stay open and sessions that are resumed, so the hub looks at each call again (docs/architecture.md, "Identity").
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509

from hub.domain.errors import Reason, Refused
from hub.domain.node import Node
from hub.pki import IdentityError, peer_node_id
from hub.service.nodes import NodeDirectory


@dataclass(frozen=True, slots=True)
class _Certificate:
    node_id: str
    serial: int
    not_before: datetime
    not_after: datetime


class Identifier:
    """Finds the node behind a call.

    Args:
        trust_domain: of the SPIFFE ids of the federation.
        clock: gives the current time, in UTC.
    """

    def __init__(self, directory: NodeDirectory, trust_domain: str, clock: Callable[[], datetime]) -> None:
        self._directory = directory
        self._trust_domain = trust_domain
        self._clock = clock
        # A line shows the same certificate at every call.
        self._read = lru_cache(maxsize=1024)(self._read_certificate)

    async def catch_up(self) -> None:
        """Learns of certificates that were enrolled just now.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        await self._directory.catch_up()

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> Node:
        """The active node whose certificate is on the line.

        Args:
            auth_context: of gRPC, of the call.

        Raises:
            Refused: IDENTITY_NOT_RECOGNISED, CERTIFICATE_EXPIRED, CERTIFICATE_NOT_ENROLLED, NODE_NOT_ACTIVE.
        """
        pem = next(iter(auth_context.get("x509_pem_cert", ())), None)
        if pem is None:
            raise _not_recognised("no_certificate")
        # A resumed session skips the check of the certificate, also of one that has expired since.
        if b"true" in auth_context.get("ssl_session_reused", ()):
            raise _not_recognised("resumed_session")
        certificate = self._read(pem)
        if not certificate.not_before <= self._clock() < certificate.not_after:
            raise Refused(Reason.CERTIFICATE_EXPIRED, "the certificate is not valid at this time; renew it")
        return self._directory.authenticate(certificate.node_id, certificate.serial)

    def _read_certificate(self, pem: bytes) -> _Certificate:
        certificate = x509.load_pem_x509_certificate(pem)
        try:
            node_id = peer_node_id(certificate, self._trust_domain)
        except IdentityError as error:
            raise _not_recognised(error.cause) from None
        return _Certificate(
            node_id,
            certificate.serial_number,
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )


def _not_recognised(cause: str) -> Refused:
    return Refused(
        Reason.IDENTITY_NOT_RECOGNISED,
        "the certificate does not name a node of this federation",
        metadata={"cause": cause},
    )
