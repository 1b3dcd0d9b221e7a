"""The certificate by which a node proves to the hub who it is."""

import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class CredentialsError(Exception):
    """The files of a node cannot be used. The message says which one and why."""


@dataclass(frozen=True)
class Credentials:
    """Certificate and key of a node, and the CA that the hub must prove itself by. All are PEM.

    Args:
        cert_pem: the node's certificate, followed by intermediate ones where there are any.
        key_pem: its private key, not encrypted.
        ca_pem: the certificate of the CA (or CAs, while one replaces another) that signs the hub's
            certificate.
        directory: the folder that they were read from; None where they came otherwise.

    Raises:
        CredentialsError: one of them is no PEM, or the key is not that of the certificate. Whether the
            certificate has ended is left to the hub, whose clock counts.
    """

    cert_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    ca_pem: bytes = field(repr=False)
    directory: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        try:
            key = load_pem_private_key(self.key_pem, password=None)
        except (ValueError, TypeError) as error:  # TypeError: the key is encrypted
            raise CredentialsError("the private key (key.pem) is not an unencrypted PEM key") from error
        if key.public_key() != self._certificate.public_key():
            raise CredentialsError("the private key (key.pem) does not belong to the certificate (cert.pem)")
        try:
            x509.load_pem_x509_certificates(self.ca_pem)
        except ValueError as error:
            raise CredentialsError("the CA (ca.pem) is not a PEM certificate") from error

    @classmethod
    def from_dir(cls, directory: str | Path) -> Self:
        """Reads `cert.pem`, `key.pem` and `ca.pem` of a node's folder.

        Raises:
            CredentialsError: a file is missing, cannot be read, or cannot be used.
        """
        try:
            cert, key, ca = (Path(directory, name).read_bytes() for name in ("cert.pem", "key.pem", "ca.pem"))
        except OSError as error:
            raise CredentialsError(f"cannot read {error.filename}: {error.strerror}") from error
        return cls(cert, key, ca, Path(directory))

    def write(self, directory: str | Path) -> None:
        """Writes the files that `from_dir` reads, each at once or not at all, for the eyes of their owner only.

        A renewal changes certificate and CAs but not the key, so whoever reads the folder meanwhile finds files that
        fit together.
        """
        for name, content in (("key.pem", self.key_pem), ("ca.pem", self.ca_pem), ("cert.pem", self.cert_pem)):
            write_private(Path(directory, name), content)

    def csr(self) -> str:
        """A request for a certificate for this key, in PEM."""
        return new_csr(self.key_pem)

    @cached_property
    def _certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificates(self.cert_pem)[0]
        except ValueError as error:
            raise CredentialsError("the certificate (cert.pem) is not a PEM certificate") from error

    @property
    def node(self) -> str:
        """Identifier of the node, such as "punjab-police", from the SPIFFE URI; empty where there is none."""
        try:
            names = self._certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ""
        paths = [urlsplit(uri).path for uri in names.get_values_for_type(x509.UniformResourceIdentifier)]
        return next((path.removeprefix("/node/") for path in paths if path.startswith("/node/")), "")

    @property
    def begin_time(self) -> datetime:
        """When the certificate begins."""
        return self._certificate.not_valid_before_utc

    @property
    def expire_time(self) -> datetime:
        """When the certificate ends."""
        return self._certificate.not_valid_after_utc

    @property
    def expired(self) -> bool:
        """Whether the certificate has ended by the clock of this machine."""
        return self.expire_time < datetime.now(UTC)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Mutual TLS for a gRPC channel."""
        return grpc.ssl_channel_credentials(self.ca_pem, self.key_pem, self.cert_pem)


def new_key() -> bytes:
    """A new private key (ECDSA P-256) in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_csr(key_pem: bytes) -> str:
    """A request for a certificate for a key, in PEM; the hub decides about the names in it.

    It is the same each time (RFC 6979), so that a CA which a person works can be asked again for what it has signed.

    Raises:
        CredentialsError: the key is not an unencrypted ECDSA key.
    """
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise CredentialsError("the private key (key.pem) is not an unencrypted PEM key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CredentialsError("the private key (key.pem) is not an ECDSA key")
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.PEM).decode()


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, at once or not at all; makes the folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink()
        raise
