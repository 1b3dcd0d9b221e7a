"""Clients renew their certificates at a real hub, while calls and watches go on."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hub.dev.environment import TRUST_DOMAIN
from hub.pki import CertificateAuthority, write_private
from nsor.federation.v1.federation_service_pb2 import WatchChangesResponse
from nsor_client import Client, Credentials, NsorError, Unauthenticated, enrol
from tests.support import certificates
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender
from tests.support.served_hub import serving
from tests.support.waiting import eventually

LIFE = timedelta(seconds=30)
"""Long enough for a renewal on a busy machine: one comes a second after the other, since half of it is over at once."""


def entered(response: WatchChangesResponse) -> list[str]:
    """Names of the records in a response."""
    return [change.offender.name for event in response.events for change in event.changes]


def refused(client: Client) -> bool:
    try:
        client.check_cnic(fresh_cnic())
    except Unauthenticated:
        return True
    return False


def test_a_renewed_client_needs_its_old_certificate_no_more(
    hub: RunningHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node_id, hour = certificates.fresh_node_id(), timedelta(hours=1)
    old = certificates.authority(hub).issue_node(
        TRUST_DOMAIN, node_id, now=datetime.now(UTC) - 2 * hour, lifetime=3 * hour
    )
    certificates.enrol(hub, node_id, old)
    certificates.credentials(hub, old).write(tmp_path)
    caplog.set_level(logging.INFO, "nsor_client")
    with (
        hub.client("punjab-police", timeout=30) as punjab,
        Client(hub.target, Credentials.from_dir(tmp_path), timeout=30, renew=True) as client,
        closing(client.watch_changes()) as responses,
    ):
        next(responses)
        eventually(lambda: "was renewed" in caplog.text)
        hub.sql("DELETE FROM node_certificate WHERE serial = %s", old.serial)
        with Client(hub.target, certificates.credentials(hub, old), timeout=30) as late:
            eventually(lambda: refused(late))
        client.check_cnic(fresh_cnic())
        written = punjab.create_offender(fresh_offender()).offender.name
        while written not in entered(next(responses)):
            pass
    assert Credentials.from_dir(tmp_path).expire_time > old.not_after


@contextmanager
def signing(ca: CertificateAuthority, outbox: Path, inbox: Path) -> Iterator[None]:
    """Works an external CA whose certificates end soon."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            for question in outbox.glob("*.csr"):
                with suppress(FileNotFoundError):  # the hub has found the answer to it meanwhile
                    csr = x509.load_pem_x509_csr(question.read_bytes())
                    node_id = question.stem.rpartition("-")[0]
                    signed = ca.sign_csr(csr, TRUST_DOMAIN, node_id, now=datetime.now(UTC), lifetime=LIFE)
                    write_private(inbox / f"{question.stem}.pem", signed.public_bytes(Encoding.PEM))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_certificates_that_end_soon_are_renewed_without_a_failed_call(hub: RunningHub, tmp_path: Path) -> None:
    ca = CertificateAuthority.create("external CA", now=datetime.now(UTC))
    outbox, inbox, node = tmp_path / "outbox", tmp_path / "inbox", tmp_path / "node"
    outbox.mkdir()
    inbox.mkdir()
    settings = {"csr_outbox": str(outbox), "csr_inbox": str(inbox)}
    with (
        serving(hub, tmp_path / "served", ca.cert_pem, **settings) as served,
        signing(ca, outbox, inbox),
    ):
        token = served.command("node", "create", "station", "--role", "police")
        enrol(served.enrol_target, token, served.ca.cert_pem, node)
        failures, written, used = list[NsorError](), list[str](), set[bytes]()
        stop = threading.Event()

        def call(client: Client) -> None:
            try:
                while not stop.is_set():
                    client.check_cnic(fresh_cnic())
                    written.append(client.create_offender(fresh_offender()).offender.name)
            except NsorError as error:
                failures.append(error)

        with (
            Client(served.target, Credentials.from_dir(node), timeout=30, renew=True) as client,
            closing(client.watch_changes("0")) as responses,
        ):
            thread = threading.Thread(target=call, args=(client,))
            thread.start()
            seen, first_ends = list[str](), Credentials.from_dir(node).expire_time
            try:
                while not failures and (datetime.now(UTC) < first_ends or len(used) < 4):
                    seen += entered(next(responses))
                    used.add((node / "cert.pem").read_bytes())
            finally:
                stop.set()
                thread.join()
            while len(seen) < len(written):
                seen += entered(next(responses))
    assert not failures
    assert seen == written, "nothing left out, nothing twice"
