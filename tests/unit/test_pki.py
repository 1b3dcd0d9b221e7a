"""Certificates of the federation, judged by verifiers that are not ours: `cryptography` and OpenSSL."""

import ipaddress
import ssl
import stat
import string
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import example, given
from hypothesis import strategies as st

from hub.pki import (
    NODE_LIFETIME,
    CertificateAuthority,
    CsrError,
    IdentityError,
    Issued,
    node_spiffe_id,
    peer_node_id,
    write_credentials,
    write_private,
)

TRUST_DOMAIN = "nsor.test"
NODE = "punjab-police"
NODE_URI = f"spiffe://{TRUST_DOMAIN}/node/{NODE}"
NOW = datetime.now(UTC)  # the real time, which OpenSSL compares with

CA_EXTENSIONS = (
    x509.BasicConstraints(ca=True, path_length=None),
    x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    ),
)


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create("test CA", now=NOW)


def read(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.cert_pem)


def uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def verifier(ca: CertificateAuthority, at: datetime = NOW) -> PolicyBuilder:
    return PolicyBuilder().store(Store([x509.load_pem_x509_certificate(ca.cert_pem)])).time(at)


def verify_client(ca: CertificateAuthority, certificate: x509.Certificate, at: datetime = NOW) -> None:
    verifier(ca, at).build_client_verifier().verify(certificate, [])


def odd_certificate(
    ca: CertificateAuthority, names: Sequence[x509.GeneralName], *more: x509.ExtensionType
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate of the CA as it would not make it itself."""
    ca_key = serialization.load_pem_private_key(ca.key_pem(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)]))
        .issuer_name(x509.load_pem_x509_certificate(ca.cert_pem).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(minutes=1))
        .not_valid_after(NOW + timedelta(days=1))
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    for extension in (authority, *([x509.SubjectAlternativeName(names)] if names else []), *more):
        critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(ca_key, hashes.SHA256()), key


class TestIssuing:
    def test_a_node_certificate_is_an_x509_svid(self, ca: CertificateAuthority) -> None:
        issued = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)
        certificate = read(issued)
        extensions = certificate.extensions

        verify_client(ca, certificate)
        assert uris(certificate) == [NODE_URI]
        assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert (usage.value.digital_signature, usage.value.key_cert_sign, usage.value.crl_sign) == (True, False, False)
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]

    def test_what_is_said_of_a_certificate_is_what_it_says(self, ca: CertificateAuthority) -> None:
        issued = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)
        certificate = read(issued)

        assert issued.serial == certificate.serial_number
        assert issued.not_after == certificate.not_valid_after_utc == NOW.replace(microsecond=0) + NODE_LIFETIME
        key = serialization.load_pem_private_key(issued.key_pem, None)
        assert key.public_key() == certificate.public_key()

    def test_it_is_valid_from_a_minute_ago_to_its_end(self, ca: CertificateAuthority) -> None:
        long_valid = CertificateAuthority.create("test CA", now=NOW - timedelta(days=1))
        certificate = read(long_valid.issue_node(TRUST_DOMAIN, NODE, now=NOW))

        for moment in (NOW - timedelta(seconds=59), NOW + NODE_LIFETIME - timedelta(seconds=1)):
            verify_client(long_valid, certificate, moment)
        for moment in (NOW - timedelta(seconds=62), NOW + NODE_LIFETIME + timedelta(seconds=1)):
            with pytest.raises(VerificationError):
                verify_client(long_valid, certificate, moment)

    def test_no_certificate_outlives_its_ca(self) -> None:
        ca = CertificateAuthority.create("test CA", now=NOW, lifetime=timedelta(days=3))

        issued = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)

        assert issued.not_after == x509.load_pem_x509_certificate(ca.cert_pem).not_valid_after_utc

    def test_a_server_certificate_is_good_for_its_names_and_for_no_client(self, ca: CertificateAuthority) -> None:
        issued = ca.issue_server(TRUST_DOMAIN, ["hub.nsor.test"], ["127.0.0.1", "::1"], now=NOW)
        certificate = read(issued)

        assert uris(certificate) == [f"spiffe://{TRUST_DOMAIN}/hub"]
        for name in (
            x509.DNSName("hub.nsor.test"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ):
            verifier(ca).build_server_verifier(name).verify(certificate, [])
        with pytest.raises(VerificationError):
            verifier(ca).build_server_verifier(x509.DNSName("other.test")).verify(certificate, [])
        with pytest.raises(VerificationError):
            verify_client(ca, certificate)

    def test_serials_are_random_and_long(self, ca: CertificateAuthority) -> None:
        serials = {ca.issue_node(TRUST_DOMAIN, NODE, now=NOW).serial for _ in range(20)}

        assert len(serials) == 20
        # RFC 5280, 4.1.2.2: positive, at most 20 octets. Random ones of 159 bits are that long but once in 2**31.
        assert all(0 < serial < 2**159 for serial in serials)
        assert max(serials) > 2**128

    def test_what_a_node_signs_is_not_trusted(self, ca: CertificateAuthority) -> None:
        node = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)
        key = serialization.load_pem_private_key(node.key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        forged = CertificateAuthority(read(node), key).issue_node(TRUST_DOMAIN, "npb", now=NOW)

        with pytest.raises(VerificationError):
            verifier(ca).build_client_verifier().verify(read(forged), [read(node)])

    def test_the_ca_has_no_ca_below_it(self, ca: CertificateAuthority) -> None:
        below, key = odd_certificate(ca, [], *CA_EXTENSIONS)
        leaf = CertificateAuthority(below, key).issue_node(TRUST_DOMAIN, NODE, now=NOW)

        with pytest.raises(VerificationError):
            verifier(ca).build_client_verifier().verify(read(leaf), [below])

    def test_another_ca_of_the_same_name_is_not_trusted(self, ca: CertificateAuthority) -> None:
        twin = CertificateAuthority.create("test CA", now=NOW)

        with pytest.raises(VerificationError):
            verify_client(ca, read(twin.issue_node(TRUST_DOMAIN, NODE, now=NOW)))

    def test_a_private_key_does_not_show_in_logs(self, ca: CertificateAuthority) -> None:
        assert "PRIVATE KEY" not in repr(ca.issue_node(TRUST_DOMAIN, NODE, now=NOW))

    @pytest.mark.parametrize("node_id", ["", "-a", "a-", "A", "a/b", "a.b", "..", "a\n", "a" * 64, "پنجاب"])
    def test_a_node_id_must_be_plain(self, ca: CertificateAuthority, node_id: str) -> None:
        with pytest.raises(ValueError, match="node id"):
            ca.issue_node(TRUST_DOMAIN, node_id, now=NOW)

    @pytest.mark.parametrize("trust_domain", ["", "NSOR.test", "a/b", "a:443", "a@b", "a\n", "a" * 256])
    def test_a_trust_domain_must_be_one(self, ca: CertificateAuthority, trust_domain: str) -> None:
        with pytest.raises(ValueError, match="trust domain"):
            ca.issue_node(trust_domain, NODE, now=NOW)
        with pytest.raises(ValueError, match="trust domain"):
            ca.issue_server(trust_domain, ["localhost"], [], now=NOW)


class TestCa:
    def test_it_survives_being_stored(self, ca: CertificateAuthority) -> None:
        loaded = CertificateAuthority.load(ca.cert_pem, ca.key_pem(b"secret"), b"secret")

        verify_client(ca, read(loaded.issue_node(TRUST_DOMAIN, NODE, now=NOW)))
        assert b"ENCRYPTED" in ca.key_pem(b"secret")

    def test_a_wrong_password_is_refused(self, ca: CertificateAuthority) -> None:
        with pytest.raises(ValueError, match="password"):
            CertificateAuthority.load(ca.cert_pem, ca.key_pem(b"secret"), b"wrong")
        with pytest.raises(TypeError):
            CertificateAuthority.load(ca.cert_pem, ca.key_pem(b"secret"))

    def test_a_key_that_decrypts_to_nonsense_is_a_wrong_password(self, ca: CertificateAuthority) -> None:
        nonsense = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"

        with pytest.raises(ValueError, match="password"):
            CertificateAuthority.load(ca.cert_pem, nonsense)

    def test_a_certificate_of_another_key_is_refused(self, ca: CertificateAuthority) -> None:
        other = CertificateAuthority.create("test CA", now=NOW)

        with pytest.raises(ValueError, match="another key"):
            CertificateAuthority.load(ca.cert_pem, other.key_pem())

    def test_a_node_cannot_be_a_ca(self, ca: CertificateAuthority) -> None:
        issued = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)

        with pytest.raises(ValueError, match="not of a CA"):
            CertificateAuthority.load(issued.cert_pem, issued.key_pem)


def make_csr(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> x509.CertificateSigningRequest:
    """A request that asks for more than it should get."""
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "npb")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hub.nsor.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, algorithm)
    )


class TestRequests:
    def test_a_request_gets_a_certificate_for_its_key_and_no_more(self, ca: CertificateAuthority) -> None:
        key = ec.generate_private_key(ec.SECP256R1())

        certificate = ca.sign_csr(make_csr(key), TRUST_DOMAIN, NODE, now=NOW)

        verify_client(ca, certificate)
        assert certificate.public_key() == key.public_key()
        assert peer_node_id(certificate, TRUST_DOMAIN) == NODE
        assert certificate.subject.rfc4514_string() == f"CN={NODE}"
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.UniformResourceIdentifier(NODE_URI)]

    @pytest.mark.parametrize(
        "key",
        [
            ec.generate_private_key(ec.SECP384R1()),
            rsa.generate_private_key(65537, 2048),
            ed25519.Ed25519PrivateKey.generate(),
        ],
        ids=["P-384", "RSA", "Ed25519"],
    )
    def test_other_keys_are_refused(
        self,
        ca: CertificateAuthority,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
    ) -> None:
        with pytest.raises(CsrError) as caught:
            ca.sign_csr(make_csr(key), TRUST_DOMAIN, NODE, now=NOW)
        assert caught.value.cause == "unsupported_key"

    def test_who_does_not_hold_the_key_is_refused(self, ca: CertificateAuthority) -> None:
        der = bytearray(make_csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(serialization.Encoding.DER))
        der[-1] ^= 1  # the last octet of the signature

        with pytest.raises(CsrError) as caught:
            ca.sign_csr(x509.load_der_x509_csr(bytes(der)), TRUST_DOMAIN, NODE, now=NOW)
        assert caught.value.cause == "bad_signature"


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(value)


class TestIdentity:
    def test_a_node_is_known_by_its_certificate(self, ca: CertificateAuthority) -> None:
        assert peer_node_id(read(ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)), TRUST_DOMAIN) == NODE

    @pytest.mark.parametrize(
        ("names", "cause"),
        [
            ([], "no_uri"),
            ([x509.DNSName(NODE)], "no_uri"),
            ([uri(NODE_URI), uri(f"spiffe://{TRUST_DOMAIN}/node/npb")], "several_uris"),
            ([uri(NODE_URI), uri(NODE_URI)], "several_uris"),
            ([uri(NODE_URI), uri("https://example.com")], "several_uris"),
            ([uri(f"spiffe://other.test/node/{NODE}")], "foreign_trust_domain"),
            ([uri(f"spiffe://{TRUST_DOMAIN}.other/node/{NODE}")], "foreign_trust_domain"),
            ([uri(f"spiffe://{TRUST_DOMAIN}@other/node/{NODE}")], "foreign_trust_domain"),
            ([uri(f"SPIFFE://{TRUST_DOMAIN}/node/{NODE}")], "foreign_trust_domain"),
            ([uri(f"https://{TRUST_DOMAIN}/node/{NODE}")], "foreign_trust_domain"),
            ([uri(f"spiffe://{TRUST_DOMAIN}/hub")], "not_a_node"),
            ([uri(f"spiffe://{TRUST_DOMAIN}/node")], "not_a_node"),
            ([uri(f"spiffe://{TRUST_DOMAIN}/node/")], "not_a_node"),
            ([uri(f"spiffe://{TRUST_DOMAIN}//node/{NODE}")], "not_a_node"),
            ([uri(f"spiffe://{TRUST_DOMAIN}/Node/{NODE}")], "not_a_node"),
            ([uri(NODE_URI + "/")], "not_a_node"),
            ([uri(NODE_URI + "/more")], "not_a_node"),
            ([uri(NODE_URI + "\n")], "not_a_node"),
            ([uri(NODE_URI + "\0")], "not_a_node"),
            ([uri(NODE_URI + "?query")], "not_a_node"),
            ([uri(NODE_URI + "#fragment")], "not_a_node"),
            ([uri(f"spiffe://{TRUST_DOMAIN}/node/../hub")], "not_a_node"),
            ([uri(f"spiffe://{TRUST_DOMAIN}/node/punjab%2Dpolice")], "not_a_node"),
            ([uri(f"spiffe://{TRUST_DOMAIN}/node/{NODE.upper()}")], "not_a_node"),
        ],
    )
    def test_a_certificate_without_exactly_the_uri_of_a_node_is_nobody(
        self, ca: CertificateAuthority, names: list[x509.GeneralName], cause: str
    ) -> None:
        certificate, _ = odd_certificate(ca, names)

        with pytest.raises(IdentityError) as caught:
            peer_node_id(certificate, TRUST_DOMAIN)
        assert caught.value.cause == cause

    @pytest.mark.parametrize("extension", CA_EXTENSIONS, ids=["CA", "keyCertSign"])
    def test_a_certificate_that_may_sign_is_nobody(
        self, ca: CertificateAuthority, extension: x509.ExtensionType
    ) -> None:
        certificate, _ = odd_certificate(ca, [uri(NODE_URI)], extension)

        with pytest.raises(IdentityError) as caught:
            peer_node_id(certificate, TRUST_DOMAIN)
        assert caught.value.cause == "not_a_leaf"

    def test_the_ca_itself_is_nobody(self, ca: CertificateAuthority) -> None:
        with pytest.raises(IdentityError):
            peer_node_id(x509.load_pem_x509_certificate(ca.cert_pem), TRUST_DOMAIN)

    def test_names_that_cannot_be_read_are_nobody(self, ca: CertificateAuthority) -> None:
        garbage = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\x86\x7f\x00")
        certificate, _ = odd_certificate(ca, [], garbage)

        with pytest.raises(IdentityError) as caught:
            peer_node_id(certificate, TRUST_DOMAIN)
        assert caught.value.cause == "no_uri"

    @given(id=st.text(string.ascii_letters + string.digits + "-_./%\n", max_size=70))
    @example(id="sms-7000")
    @example(id="a" * 63)
    def test_whoever_is_recognised_bears_the_uri_that_is_issued(self, ca: CertificateAuthority, id: str) -> None:
        bears = f"spiffe://{TRUST_DOMAIN}/node/{id}"
        certificate, _ = odd_certificate(ca, [uri(bears)])
        try:
            issued = node_spiffe_id(TRUST_DOMAIN, id)
        except ValueError:
            with pytest.raises(IdentityError):
                peer_node_id(certificate, TRUST_DOMAIN)
        else:
            assert (issued, peer_node_id(certificate, TRUST_DOMAIN)) == (bears, id)


def credentials(folder: Path, issued: Issued, ca: CertificateAuthority) -> Path:
    write_credentials(folder, issued, ca.cert_pem)
    return folder


def context(folder: Path, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def shake_hands(hub: Path, node: Path, name: str = "hub.nsor.test") -> x509.Certificate:
    """A TLS 1.3 handshake in memory; returns what the hub sees of the node."""
    to_hub, to_node = ssl.MemoryBIO(), ssl.MemoryBIO()
    node_end = context(node, ssl.PROTOCOL_TLS_CLIENT).wrap_bio(to_node, to_hub, server_hostname=name)
    hub_end = context(hub, ssl.PROTOCOL_TLS_SERVER).wrap_bio(to_hub, to_node, server_side=True)
    for end in (node_end, hub_end, node_end):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    hub_end.do_handshake()
    assert hub_end.version() == "TLSv1.3"
    der = hub_end.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


class TestHandshake:
    @pytest.fixture
    def hub(self, ca: CertificateAuthority, tmp_path: Path) -> Path:
        issued = ca.issue_server(TRUST_DOMAIN, ["hub.nsor.test"], ["127.0.0.1"], now=NOW)
        return credentials(tmp_path / "hub", issued, ca)

    def test_hub_and_node_trust_each_other(self, ca: CertificateAuthority, hub: Path, tmp_path: Path) -> None:
        node = credentials(tmp_path / "node", ca.issue_node(TRUST_DOMAIN, NODE, now=NOW), ca)

        assert peer_node_id(shake_hands(hub, node), TRUST_DOMAIN) == NODE
        shake_hands(hub, node, "127.0.0.1")

    def test_a_node_refuses_a_hub_of_another_name(self, ca: CertificateAuthority, hub: Path, tmp_path: Path) -> None:
        node = credentials(tmp_path / "node", ca.issue_node(TRUST_DOMAIN, NODE, now=NOW), ca)

        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            shake_hands(hub, node, "other.test")

    def test_a_node_cannot_pose_as_the_hub(self, ca: CertificateAuthority, tmp_path: Path) -> None:
        node = credentials(tmp_path / "node", ca.issue_node(TRUST_DOMAIN, NODE, now=NOW), ca)

        with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
            shake_hands(node, node)

    def test_the_hub_cannot_pose_as_a_node(self, hub: Path) -> None:
        with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
            shake_hands(hub, hub)

    def test_a_node_of_another_ca_is_refused(self, ca: CertificateAuthority, hub: Path, tmp_path: Path) -> None:
        issued = CertificateAuthority.create("test CA", now=NOW).issue_node(TRUST_DOMAIN, NODE, now=NOW)
        node = credentials(tmp_path / "node", issued, ca)

        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(hub, node)

    @pytest.mark.parametrize(
        ("since", "message"),
        [
            (NOW - NODE_LIFETIME - timedelta(days=1), "certificate has expired"),
            (NOW + timedelta(days=1), "certificate is not yet valid"),
        ],
    )
    def test_a_node_out_of_its_time_is_refused(
        self, ca: CertificateAuthority, hub: Path, tmp_path: Path, since: datetime, message: str
    ) -> None:
        node = credentials(tmp_path / "node", ca.issue_node(TRUST_DOMAIN, NODE, now=since), ca)

        with pytest.raises(ssl.SSLCertVerificationError, match=message):
            shake_hands(hub, node)


class TestFiles:
    def test_credentials_are_private(self, ca: CertificateAuthority, tmp_path: Path) -> None:
        issued = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)
        folder = credentials(tmp_path / "new" / "node", issued, ca)

        contents = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert contents == {"cert.pem": issued.cert_pem, "key.pem": issued.key_pem, "ca.pem": ca.cert_pem}
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}

    def test_a_reader_sees_the_old_file_or_the_new_one(self, ca: CertificateAuthority, tmp_path: Path) -> None:
        old = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)
        folder = credentials(tmp_path, old, ca)
        with (folder / "key.pem").open("rb") as reader:
            new = ca.issue_node(TRUST_DOMAIN, NODE, now=NOW)
            credentials(folder, new, ca)

            assert reader.read() == old.key_pem
        assert (folder / "key.pem").read_bytes() == new.key_pem
        assert sorted(path.name for path in folder.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]

    def test_a_file_that_cannot_be_written_leaves_nothing_behind(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").mkdir()

        with pytest.raises(IsADirectoryError):
            write_private(tmp_path / "key.pem", b"secret")

        assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]
