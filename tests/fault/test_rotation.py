"""Certificates are replaced while everybody works: of the hub, of nodes, and of the CA itself."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from hub.dev.environment import TRUST_DOMAIN
from hub.pki import CertificateAuthority, write_credentials, write_private
from nsor.common.v1.access_pb2 import ROLE_POLICE
from nsor.federation.v1.node_pb2 import Node
from nsor_client import Client, Credentials, NsorError, Unavailable, enrol
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic
from tests.support.waiting import eventually

pytestmark = pytest.mark.fault

LOCAL = (["localhost"], ["127.0.0.1"])


def authority(hub: RunningHub) -> CertificateAuthority:
    ca = hub.folder / "ca"
    return CertificateAuthority.load((ca / "cert.pem").read_bytes(), (ca / "key.pem").read_bytes())


def replace_hub_certificate(hub: RunningHub, ca: CertificateAuthority) -> int:
    """Gives the hub a new certificate, as `nsor-hub pki issue-hub` does; its serial number."""
    issued = ca.issue_server(TRUST_DOMAIN, *LOCAL, now=datetime.now(UTC))
    write_credentials(hub.folder / "hub", issued, (hub.folder / "hub" / "ca.pem").read_bytes())
    return issued.serial


def served_serial(target: str, ca_pem: bytes, node: Path | None) -> int:
    """Serial number of the certificate that a new line is shown."""
    context = ssl.create_default_context(cadata=ca_pem.decode())
    context.set_alpn_protocols(["h2"])
    if node:
        context.load_cert_chain(node / "cert.pem", node / "key.pem")
    host, _, port = target.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as line,
        context.wrap_socket(line, server_hostname=host) as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"").serial_number


class Load:
    """Callers that never stop: on one long line, on one that is replaced at each renewal, and on ever new ones.

    Any failed call is remembered.
    """

    def __init__(self, hub: RunningHub, credentials: Credentials) -> None:
        self._target = hub.target
        self._never_renewed = hub.credentials("sindh-police")
        self.credentials = credentials
        self.failures: list[str] = []
        self.calls = 0
        self._stopping = threading.Event()

    def long_line(self) -> None:
        with Client(self._target, self._never_renewed, timeout=30) as client:
            while not self._stopping.is_set():
                self._call(client)

    def swapped_line(self) -> None:
        known = self.credentials
        client = Client(self._target, known, timeout=30)
        while not self._stopping.is_set():
            self._call(client)
            if self.credentials is not known:  # make before break
                known, old = self.credentials, client
                client = Client(self._target, known, timeout=30)
                self._call(client)
                old.close()
        client.close()

    def new_lines(self) -> None:
        while not self._stopping.is_set():
            with Client(self._target, self.credentials, timeout=30) as client:
                self._call(client)

    def _call(self, client: Client) -> None:
        try:
            client.check_cnic(fresh_cnic())
            self.calls += 1
        except NsorError as error:
            self.failures.append(str(error))

    def more(self) -> None:
        """Waits until calls were answered that began after this."""
        before = self.calls
        eventually(lambda: self.calls >= before + 6 or self.failures)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=work) for work in (self.long_line, self.swapped_line, self.new_lines)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()


@pytest.mark.timeout(600)
def test_certificates_rotate_under_load_without_a_failed_call(
    folder_hub: RunningHub, request: pytest.FixtureRequest
) -> None:
    hub, ca = folder_hub, authority(folder_hub)
    rotations = 100 if request.config.getoption("--long") else 5
    load = Load(hub, hub.credentials("punjab-police"))
    node = hub.folder / "nodes" / "punjab-police"
    shown: set[int] = set()
    with load.running():
        for _ in range(rotations):
            serial = replace_hub_certificate(hub, ca)
            for target, who in ((hub.target, node), (hub.enrol_target, None)):
                assert served_serial(target, ca.cert_pem, who) == serial
            shown.add(serial)
            with Client(hub.target, load.credentials, timeout=30) as client:
                load.credentials = client.renew()
            load.more()
    assert not load.failures, load.failures[:3]
    assert len(shown) == rotations


def test_files_that_do_not_fit_together_change_nothing(folder_hub: RunningHub) -> None:
    """As they are for a moment while they are replaced one by one."""
    hub, ca = folder_hub, authority(folder_hub)
    node = hub.folder / "nodes" / "punjab-police"
    before = served_serial(hub.target, ca.cert_pem, node)
    issued = ca.issue_server(TRUST_DOMAIN, *LOCAL, now=datetime.now(UTC))
    write_private(hub.folder / "hub" / "key.pem", issued.key_pem)
    assert served_serial(hub.target, ca.cert_pem, node) == before
    write_private(hub.folder / "hub" / "cert.pem", issued.cert_pem)
    assert served_serial(hub.target, ca.cert_pem, node) == issued.serial


def test_one_ca_takes_the_place_of_another(folder_hub: RunningHub, tmp_path: Path) -> None:
    """The steps of docs/operations.md, without a restart and without a moment in which a node is out."""
    hub, old = folder_hub, authority(folder_hub)
    new = CertificateAuthority.create("the next CA", now=datetime.now(UTC))
    files = hub.folder / "hub"
    with ExitStack() as stack:
        stays_behind = hub.credentials("sindh-police")
        long_line = stack.enter_context(Client(hub.target, hub.credentials("punjab-police"), timeout=30))
        long_line.check_cnic(fresh_cnic())

        # 1. The hub accepts both; 2. the new one signs for nodes.
        write_private(files / "ca.pem", old.cert_pem + new.cert_pem)
        write_private(hub.folder / "ca" / "key.pem", new.key_pem())
        write_private(hub.folder / "ca" / "cert.pem", new.cert_pem)
        renewed = long_line.renew()
        assert issuer(renewed) == "the next CA"
        assert renewed.ca_pem == old.cert_pem + new.cert_pem
        for credentials in (renewed, stays_behind):
            with Client(hub.target, credentials, timeout=30) as client:
                client.check_cnic(fresh_cnic())

        # 3. The hub itself is of the new one.
        replace_hub_certificate(hub, new)
        with Client(hub.target, renewed, timeout=30) as client:
            client.check_cnic(fresh_cnic())
        with hub_client(hub, "npb", renewed.ca_pem) as npb:
            token = npb.create_node("newcomer", Node(display_name="x", role=ROLE_POLICE)).enrolment_token
            newcomer = enrol(hub.enrol_target, token, new.cert_pem, tmp_path / "newcomer")

        # 4. The old one is out.
        write_private(files / "ca.pem", new.cert_pem)
        for credentials in (renewed, newcomer):
            with Client(hub.target, credentials, timeout=30) as client:
                client.check_cnic(fresh_cnic())
        late = Credentials(stays_behind.cert_pem, stays_behind.key_pem, new.cert_pem)
        with Client(hub.target, late, timeout=5) as client, pytest.raises(Unavailable):
            client.check_cnic(fresh_cnic())
        assert "ended with" not in hub.log()  # no worker was started anew


def hub_client(hub: RunningHub, node: str, ca_pem: bytes) -> Client:
    known = hub.credentials(node)
    return Client(hub.target, Credentials(known.cert_pem, known.key_pem, ca_pem), timeout=30)


def issuer(credentials: Credentials) -> str:
    name = x509.load_pem_x509_certificate(credentials.cert_pem).issuer
    return str(name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
