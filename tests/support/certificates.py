"""Nodes of a test's own, with certificates of any kind from the hub's development CA."""

from datetime import UTC, datetime, timedelta
from itertools import count

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.dev.environment import TRUST_DOMAIN
from hub.pki import CertificateAuthority, Issued
from nsor_client import Credentials
from tests.support.hub import RunningHub

_numbers = count(1)


def fresh_node_id() -> str:
    """An id that no other node of the run has."""
    return f"test-police-{next(_numbers)}"


def authority(hub: RunningHub) -> CertificateAuthority:
    """The CA whose certificates the hub lets in."""
    cert, key = ((hub.folder / "ca" / f"{name}.pem").read_bytes() for name in ("cert", "key"))
    return CertificateAuthority.load(cert, key)


def issue(hub: RunningHub, node_id: str, *, ends_in: timedelta = timedelta(hours=1)) -> Issued:
    """A certificate of the CA for a node, not enrolled."""
    return authority(hub).issue_node(TRUST_DOMAIN, node_id, now=datetime.now(UTC), lifetime=ends_in)


def issue_for(hub: RunningHub, *uris: str) -> Issued:
    """A certificate of the CA with any URIs, such as `hub.pki` would not make."""
    ca_pem, ca_key_pem = ((hub.folder / "ca" / f"{name}.pem").read_bytes() for name in ("cert", "key"))
    ca_key = serialization.load_pem_private_key(ca_key_pem, None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    names = [x509.UniformResourceIdentifier(uri) for uri in uris] or [x509.DNSName("nobody.example")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")]))
        .issuer_name(x509.load_pem_x509_certificate(ca_pem).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    cert_pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Issued(cert_pem, key_pem, certificate.serial_number, certificate.not_valid_after_utc)


def enrol(hub: RunningHub, node_id: str, issued: Issued, role: str = "POLICE") -> None:
    """Makes a certificate known to the hub, and its node, if that is new."""
    hub.sql(
        """INSERT INTO node (id, display_name, role, jurisdiction, state, created_at)
           VALUES (%s, %s, %s, 'Punjab', 'ACTIVE', now()) ON CONFLICT DO NOTHING""",
        *(node_id, node_id, role),
    )
    hub.sql(
        "INSERT INTO node_certificate (serial, node_id, expires_at) VALUES (%s, %s, %s)",
        *(issued.serial, node_id, issued.not_after),
    )


def set_state(hub: RunningHub, node_id: str, state: str) -> None:
    """Suspends, revokes or readmits a node."""
    hub.sql("UPDATE node SET state = %s WHERE id = %s", state, node_id)


def credentials(hub: RunningHub, issued: Issued) -> Credentials:
    """Credentials with a certificate, for a node that trusts the hub."""
    return Credentials(issued.cert_pem, issued.key_pem, authority(hub).cert_pem)


def new_node(
    hub: RunningHub, *, ends_in: timedelta = timedelta(hours=1), role: str = "POLICE"
) -> tuple[str, Credentials]:
    """Enrols a node of the test's own, by default a police force: its id and credentials."""
    node_id = fresh_node_id()
    issued = issue(hub, node_id, ends_in=ends_in)
    enrol(hub, node_id, issued, role)
    return node_id, credentials(hub, issued)
