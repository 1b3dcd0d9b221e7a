"""Who signs the certificates of nodes: the CA within the hub, or an external one that is asked by files."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from hub.config import HubSettings
from hub.domain.errors import Reason, Refused
from hub.domain.node import Certificate
from hub.pki import CertificateAuthority, IdentityError, peer_node_id, read_csr
from hub.service.membership import Signer

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_LARGEST_ANSWER = 64 * 1024


def signer_of(settings: HubSettings, clock: Callable[[], datetime]) -> Signer:
    """The signer that the settings name."""
    if settings.ca_certificate and settings.ca_key:
        password = settings.ca_password.get_secret_value().encode() or None
        return BuiltInSigner(settings.ca_certificate, settings.ca_key, password, settings.trust_domain, clock)
    if settings.csr_outbox and settings.csr_inbox:
        return FileSigner(
            settings.csr_outbox,
            settings.csr_inbox,
            settings.client_ca,
            settings.trust_domain,
            clock,
            wait=settings.csr_wait,
        )
    return NoSigner()


class NoSigner:
    """Signs nothing: the hub has no CA."""

    async def sign(self, node_id: str, csr_pem: bytes) -> Certificate:
        """Refuses.

        Raises:
            Refused: SIGNING_UNAVAILABLE.
        """
        raise Refused(Reason.SIGNING_UNAVAILABLE, "this hub has no CA that signs for nodes")


class BuiltInSigner:
    """The CA within the hub.

    Its key is read and decrypted for each certificate, and forgotten: that is rare, a CA can be replaced without a
    restart, and the key is in no worker's memory for long.
    """

    def __init__(
        self,
        ca_certificate: Path,
        ca_key: Path,
        password: bytes | None,
        trust_domain: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._ca_certificate = ca_certificate
        self._ca_key = ca_key
        self._password = password
        self._trust_domain = trust_domain
        self._clock = clock

    async def sign(self, node_id: str, csr_pem: bytes) -> Certificate:
        """Signs at once.

        Raises:
            Refused: SIGNING_UNAVAILABLE: the files of the CA cannot be used; the log says why.
        """
        return await asyncio.to_thread(self._sign, node_id, csr_pem)

    def _sign(self, node_id: str, csr_pem: bytes) -> Certificate:
        try:
            ca = CertificateAuthority.load(self._ca_certificate.read_bytes(), self._ca_key.read_bytes(), self._password)
        except (OSError, ValueError, TypeError) as error:
            log.error("the CA cannot be used: %s", error)
            raise _not_now() from error
        signed = ca.sign_csr(read_csr(csr_pem), self._trust_domain, node_id, now=self._clock())
        return _certificate([signed])


class FileSigner:
    """An external CA, such as step-ca or Vault, behind two folders.

    The hub writes NODE-HASH.csr into the outbox; whoever works the CA signs it, for the URI that the name stands for,
    and puts NODE-HASH.pem into the inbox: the certificate, and intermediate ones after it. It should be moved there in
    one piece. An answer is taken by the call that waits for it, or by the same request when it comes again, and both
    files are gone. One that is not what was asked for is set aside as NODE-HASH.pem.rejected, and the log says why.

    Args:
        client_ca: bundle of the CAs whose certificates the hub accepts; the answer must come from one of them.
        wait: seconds to wait for the answer before the caller is told to retry.
    """

    def __init__(
        self,
        outbox: Path,
        inbox: Path,
        client_ca: Path,
        trust_domain: str,
        clock: Callable[[], datetime],
        wait: float = 5,
    ) -> None:
        self._outbox = outbox
        self._inbox = inbox
        self._client_ca = client_ca
        self._trust_domain = trust_domain
        self._clock = clock
        self._wait = wait

    async def sign(self, node_id: str, csr_pem: bytes) -> Certificate:
        """Asks the CA and waits.

        Raises:
            Refused: SIGNING_UNAVAILABLE: it has not answered yet.
        """
        name = f"{node_id}-{hashlib.sha256(csr_pem).hexdigest()[:32]}"
        question, answer = self._outbox / f"{name}.csr", self._inbox / f"{name}.pem"
        deadline = time.monotonic() + self._wait
        while True:
            if found := await asyncio.to_thread(self._exchange, node_id, csr_pem, question, answer):
                return found
            if time.monotonic() >= deadline:
                raise _not_now()
            await asyncio.sleep(_POLL_SECONDS)

    def _exchange(self, node_id: str, csr_pem: bytes, question: Path, answer: Path) -> Certificate | None:
        """Takes the answer if it is there and good; sees to it that the question is there otherwise."""
        try:
            if answer.exists():
                try:
                    accepted = self._read(node_id, csr_pem, answer)
                    answer.unlink()
                    question.unlink(missing_ok=True)
                    return accepted
                except (ValueError, VerificationError, IdentityError) as error:
                    log.error("the answer %s of the CA is not accepted: %s", answer.name, error)
                    answer.replace(answer.with_suffix(".pem.rejected"))
            if not question.exists():
                draft = self._outbox / f".{uuid4()}"
                draft.write_bytes(csr_pem)
                draft.replace(question)
        except OSError as error:
            log.error("the folders of the external CA cannot be used: %s", error)
            raise _not_now() from error
        return None

    def _read(self, node_id: str, csr_pem: bytes, answer: Path) -> Certificate:
        """The certificate in an answer, if it is the one that was asked for.

        Raises:
            ValueError, VerificationError, IdentityError: it is not.
        """
        if answer.stat().st_size > _LARGEST_ANSWER:
            raise ValueError("it is too large")
        chain = x509.load_pem_x509_certificates(answer.read_bytes())
        leaf = chain[0]
        if leaf.public_key() != read_csr(csr_pem).public_key():
            raise ValueError("it is for another key")
        if peer_node_id(leaf, self._trust_domain) != node_id:
            raise ValueError("it names another node")
        roots = x509.load_pem_x509_certificates(self._client_ca.read_bytes())
        verifier = PolicyBuilder().store(Store(roots)).time(self._clock()).build_client_verifier()
        verifier.verify(leaf, chain[1:])
        return _certificate(chain)


def _certificate(chain: list[x509.Certificate]) -> Certificate:
    pem = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)
    return Certificate(pem.decode(), chain[0].serial_number, chain[0].not_valid_after_utc)


def _not_now() -> Refused:
    message = "the CA has not signed yet; send the same request for a certificate again"
    return Refused(Reason.SIGNING_UNAVAILABLE, message)
