"""Certificates of the federation: a CA, the hub's own certificate, and those of nodes.

Node certificates are X.509 SVIDs (SPIFFE X509-SVID, §2-5): exactly one URI names the node, as
`spiffe://<trust domain>/node/<id>`.
"""

import ipaddress
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Assumed lifetimes: long enough for a province's operators, short enough that a lost key ages.
CA_LIFETIME = timedelta(days=10 * 365)
HUB_LIFETIME = timedelta(days=365)
NODE_LIFETIME = timedelta(days=30)
_CLOCK_SKEW = timedelta(minutes=1)
_NODE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class IdentityError(Exception):
    """A certificate does not name a node.

    Attributes:
        cause: "no_uri", "several_uris", "foreign_trust_domain" or "not_a_node".
    """

    def __init__(self, cause: str) -> None:
        super().__init__(f"the certificate does not name a node: {cause}")
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key, both in PEM."""

    cert_pem: bytes
    key_pem: bytes
    serial: int
    not_after: datetime


def node_spiffe_id(trust_domain: str, node_id: str) -> str:
    """The SPIFFE id of a node.

    Raises:
        ValueError: the node id is not of lower-case letters, digits and dashes, 1 to 63.
    """
    if not _NODE_ID.fullmatch(node_id):
        raise ValueError("a node id has 1 to 63 lower-case letters, digits and dashes")
    return f"spiffe://{trust_domain}/node/{node_id}"


def peer_node_id(certificate: x509.Certificate, trust_domain: str) -> str:
    """The id of the node that a certificate names.

    Raises:
        IdentityError: it does not have exactly one URI, or the URI is not a node's of this trust domain.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        raise IdentityError("no_uri") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise IdentityError("several_uris" if uris else "no_uri")
    if not uris[0].startswith(f"spiffe://{trust_domain}/"):
        raise IdentityError("foreign_trust_domain")
    kind, _, node_id = uris[0].removeprefix(f"spiffe://{trust_domain}/").partition("/")
    if kind != "node" or not _NODE_ID.fullmatch(node_id):
        raise IdentityError("not_a_node")
    return node_id


class CertificateAuthority:
    """A CA that signs the certificates of nodes and of the hub."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, common_name: str, *, now: datetime, lifetime: timedelta = CA_LIFETIME) -> "CertificateAuthority":
        """A new CA with an ECDSA P-256 key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            _builder(name, name, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, cert_pem: bytes, key_pem: bytes, password: bytes | None = None) -> "CertificateAuthority":
        """Reads a CA.

        Raises:
            ValueError: not PEM, a wrong password, or not an ECDSA key.
        """
        key = serialization.load_pem_private_key(key_pem, password)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of the CA is not an ECDSA key")
        return cls(x509.load_pem_x509_certificate(cert_pem), key)

    @property
    def cert_pem(self) -> bytes:
        """The CA's certificate, in PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        """The CA's private key, in PEM, encrypted if there is a password."""
        return _key_pem(self._key, password)

    def issue_node(
        self, trust_domain: str, node_id: str, *, now: datetime, lifetime: timedelta = NODE_LIFETIME
    ) -> Issued:
        """Issues the certificate of a node, with a new key."""
        names = [x509.UniformResourceIdentifier(node_spiffe_id(trust_domain, node_id))]
        return self._issue(node_id, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime)

    def issue_server(
        self,
        trust_domain: str,
        dns: Sequence[str],
        ips: Sequence[str],
        *,
        now: datetime,
        lifetime: timedelta = HUB_LIFETIME,
    ) -> Issued:
        """Issues the hub's own certificate, with a new key, for the names by which callers reach it."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"spiffe://{trust_domain}/hub")]
        names += [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        return self._issue("nsor-hub", names, ExtendedKeyUsageOID.SERVER_AUTH, now, lifetime)

    def _issue(
        self,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        now: datetime,
        lifetime: timedelta,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(
            cert_pem=certificate.public_bytes(serialization.Encoding.PEM),
            key_pem=_key_pem(key, None),
            serial=certificate.serial_number,
            not_after=certificate.not_valid_after_utc,
        )


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, at once or not at all; makes the folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def write_credentials(folder: Path, issued: Issued, ca_pem: bytes) -> None:
    """Writes cert.pem, key.pem and ca.pem, each readable by its owner only."""
    for name, content in (("ca.pem", ca_pem), ("key.pem", issued.key_pem), ("cert.pem", issued.cert_pem)):
        write_private(folder / name, content)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
