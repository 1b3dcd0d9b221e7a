"""The certificate by which a node proves to the hub who it is."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key


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

    Raises:
        CredentialsError: one of them is no PEM, or the key is not that of the certificate. Whether the
            certificate has ended is left to the hub, whose clock counts.
    """

    cert_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    ca_pem: bytes = field(repr=False)

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
        return cls(cert, key, ca)

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
