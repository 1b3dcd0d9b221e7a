"""Certificates of the federation: a CA, the hub's own certificate, and those of nodes.

Node certificates are X.509 SVIDs (SPIFFE X509-SVID, §2-5): exactly one URI names the node, as
`spiffe://<trust domain>/node/<id>`. One rule is broken on purpose: SPIFFE (§4.4) wants every certificate to serve
both ends of a line, but here a node's is good for calling only and the hub's for answering only, so that neither can
stand in for the other.
"""

import ipaddress
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Assumed lifetimes: long enough for a province's operators, short enough that a lost key ages.
CA_LIFETIME = timedelta(days=10 * 365)
HUB_LIFETIME = timedelta(days=365)
NODE_LIFETIME = timedelta(days=30)
_CLOCK_SKEW = timedelta(minutes=1)
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_NODE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

IdentityCause = Literal["no_uri", "several_uris", "foreign_trust_domain", "not_a_node", "not_a_leaf"]
CsrCause = Literal["malformed", "unsupported_key", "bad_signature"]


class IdentityError(Exception):
    """A certificate does not name a node.

    Attributes:
        cause: why; "not_a_leaf" is a certificate that may sign others, the rest is about its URI.
    """

    def __init__(self, cause: IdentityCause) -> None:
        super().__init__(f"the certificate does not name a node: {cause}")
        self.cause: IdentityCause = cause


class CsrError(Exception):
    """A request for a certificate is refused.

    Attributes:
        cause: "malformed" (not PEM), "unsupported_key" (not ECDSA P-256), or "bad_signature": who asks does not hold
            the key.
    """

    def __init__(self, cause: CsrCause) -> None:
        super().__init__(f"the request for a certificate is refused: {cause}")
        self.cause: CsrCause = cause


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key, both in PEM."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)
    serial: int
    not_after: datetime


def node_spiffe_id(trust_domain: str, node_id: str) -> str:
    """The SPIFFE id of a node.

    Raises:
        ValueError: the node id is not of lower-case letters, digits and dashes, 1 to 63, or the trust domain is
            not one (SPIFFE-ID, §2.1).
    """
    if not _NODE_ID.fullmatch(node_id):
        raise ValueError("a node id has 1 to 63 lower-case letters, digits and dashes")
    return f"{_domain_uri(trust_domain)}/node/{node_id}"


def peer_node_id(certificate: x509.Certificate, trust_domain: str) -> str:
    """The id of the node that a certificate names.

    The caller has verified its chain and time; this looks at what SPIFFE asks beyond that (X509-SVID, §5.2).

    Raises:
        IdentityError: it may sign certificates, does not have exactly one URI that can be read, or the URI is not
            a node's of this trust domain.
    """
    try:
        extensions = certificate.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        raise IdentityError("no_uri") from None
    if _may_sign(extensions):
        raise IdentityError("not_a_leaf")
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise IdentityError("several_uris" if uris else "no_uri")
    if not uris[0].startswith(f"spiffe://{trust_domain}/"):
        raise IdentityError("foreign_trust_domain")
    kind, _, node_id = uris[0].removeprefix(f"spiffe://{trust_domain}/").partition("/")
    if kind != "node" or not _NODE_ID.fullmatch(node_id):
        raise IdentityError("not_a_node")
    return node_id


def read_csr(pem: bytes) -> x509.CertificateSigningRequest:
    """A request for a certificate that may be signed.

    Raises:
        CsrError: it may not.
    """
    try:
        csr = x509.load_pem_x509_csr(pem)
    except ValueError:
        raise CsrError("malformed") from None
    requested_key(csr)
    return csr


def requested_key(csr: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    """The key that a certificate is asked for.

    Raises:
        CsrError: the key is not ECDSA P-256, or the request is not signed with it.
    """
    try:
        key, signed = csr.public_key(), csr.is_signature_valid
    except (UnsupportedAlgorithm, ValueError):
        raise CsrError("unsupported_key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrError("unsupported_key")
    if not signed:
        raise CsrError("bad_signature")
    return key


def is_node_id(text: str) -> bool:
    """Whether a text can be the id of a node."""
    return _NODE_ID.fullmatch(text) is not None


def _may_sign(extensions: x509.Extensions) -> bool:
    for extension in extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True) | x509.KeyUsage(key_cert_sign=True) | x509.KeyUsage(crl_sign=True):
                return True
            case _:
                pass
    return False


def _domain_uri(trust_domain: str) -> str:
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        raise ValueError("a trust domain has 1 to 255 lower-case letters, digits, dots, dashes and underscores")
    return f"spiffe://{trust_domain}"


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
            ValueError: not PEM, a wrong password, not an ECDSA key, or not the certificate of a CA with that key.
            TypeError: no password for an encrypted key, or one for a key that is not.
        """
        try:
            key = serialization.load_pem_private_key(key_pem, password)
        except ValueError as error:
            # A wrong password now and then passes the check of the padding, and then fails as nonsense.
            raise ValueError("the CA's key is no key in PEM, or this is not its password") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of the CA is not an ECDSA key")
        certificate = x509.load_pem_x509_certificate(cert_pem)
        if certificate.public_key() != key.public_key():
            raise ValueError("the certificate of the CA is of another key")
        if not _may_sign(certificate.extensions):
            raise ValueError("the certificate is not of a CA")
        return cls(certificate, key)

    @property
    def cert_pem(self) -> bytes:
        """The CA's certificate, in PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        """The CA's private key, in PEM, encrypted if there is a password."""
        return _key_pem(self._key, password)

    def sign_csr(
        self,
        csr: x509.CertificateSigningRequest,
        trust_domain: str,
        node_id: str,
        *,
        now: datetime,
        lifetime: timedelta = NODE_LIFETIME,
    ) -> x509.Certificate:
        """Issues the certificate of a node for the key in its request; the names that this asks for don't count.

        Raises:
            CsrError: the key is not ECDSA P-256, or the request is not signed with it.
            ValueError: as of `node_spiffe_id`.
        """
        return self._sign_node(requested_key(csr), trust_domain, node_id, now, lifetime)

    def issue_node(
        self, trust_domain: str, node_id: str, *, now: datetime, lifetime: timedelta = NODE_LIFETIME
    ) -> Issued:
        """Issues the certificate of a node, with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _issued(self._sign_node(key.public_key(), trust_domain, node_id, now, lifetime), key)

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
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"{_domain_uri(trust_domain)}/hub")]
        names += [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return _issued(self._sign(key.public_key(), "nsor-hub", names, usage, now, lifetime), key)

    def _sign_node(
        self, key: ec.EllipticCurvePublicKey, trust_domain: str, node_id: str, now: datetime, lifetime: timedelta
    ) -> x509.Certificate:
        names = [x509.UniformResourceIdentifier(node_spiffe_id(trust_domain, node_id))]
        return self._sign(key, node_id, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime)

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        now: datetime,
        lifetime: timedelta,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        # No certificate outlives the CA: its holder must be told of the real end, to renew before it.
        lifetime = min(lifetime, self._certificate.not_valid_after_utc - now)
        return (
            _builder(subject, self._certificate.subject, key, now, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )


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


def write_credentials(folder: Path, issued: Issued, ca_pem: bytes) -> None:
    """Writes cert.pem, key.pem and ca.pem, each readable by its owner only."""
    for name, content in (("ca.pem", ca_pem), ("key.pem", issued.key_pem), ("cert.pem", issued.cert_pem)):
        write_private(folder / name, content)


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    return Issued(
        cert_pem=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=_key_pem(key, None),
        serial=certificate.serial_number,
        not_after=certificate.not_valid_after_utc,
    )


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
