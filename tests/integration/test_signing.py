"""Who signs for nodes: an external CA behind two folders, and the CA within the hub."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hub.dev.environment import TRUST_DOMAIN
from hub.pki import CertificateAuthority, write_private
from nsor.common.v1.access_pb2 import ROLE_POLICE
from nsor.federation.v1.node_pb2 import Node
from nsor_client import Client, Credentials, Unavailable, enrol
from nsor_client.credentials import new_csr, new_key
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic
from tests.support.served_hub import ServedHub, serving
from tests.support.waiting import eventually

PASSWORD = "a password of the CA"

pytestmark = pytest.mark.slow  # each starts a hub of its own


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class ExternalCa:
    """A CA of its own, as its operator works it: takes CSRs out of a folder, puts certificates into another."""

    outbox: Path
    inbox: Path
    ca: CertificateAuthority

    @property
    def questions(self) -> list[Path]:
        return list(self.outbox.glob("*.csr"))

    def sign(
        self,
        *,
        by: CertificateAuthority | None = None,
        node_id: str = "",
        csr_pem: str = "",
        ends_in: timedelta = timedelta(days=1),
    ) -> None:
        """Answers the one question; the arguments are what can go wrong."""
        [question] = self.questions
        csr = x509.load_pem_x509_csr(csr_pem.encode() or question.read_bytes())
        node_id = node_id or question.stem.rpartition("-")[0]
        signed = (by or self.ca).sign_csr(csr, TRUST_DOMAIN, node_id, now=now(), lifetime=ends_in)
        pem = signed.public_bytes(serialization.Encoding.PEM)
        write_private(self.inbox / f"{question.stem}.pem", pem)


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> ExternalCa:
    folder = tmp_path_factory.mktemp("external")
    (folder / "outbox").mkdir()
    (folder / "inbox").mkdir()
    return ExternalCa(folder / "outbox", folder / "inbox", CertificateAuthority.create("external CA", now=now()))


@pytest.fixture(scope="module")
def served(hub: RunningHub, external: ExternalCa, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    settings = {"csr_outbox": str(external.outbox), "csr_inbox": str(external.inbox), "csr_wait": "0.2"}
    with serving(hub, tmp_path_factory.mktemp("served"), external.ca.cert_pem, **settings) as running:
        yield running


def enrolling(served: ServedHub, node_id: str, folder: Path) -> Callable[[], Credentials]:
    """Tries to enrol a new node, again and again with the same token."""
    token = served.command("node", "create", node_id, "--role", "npb")
    return lambda: enrol(served.enrol_target, token, served.ca.cert_pem, folder)


def not_yet(attempt: Callable[[], object]) -> None:
    with pytest.raises(Unavailable) as caught:
        attempt()
    assert caught.value.reason_name == "ERROR_REASON_SIGNING_UNAVAILABLE"
    assert caught.value.retry_after


def test_an_external_ca_signs_by_files(served: ServedHub, external: ExternalCa, tmp_path: Path) -> None:
    attempt = enrolling(served, "desk", tmp_path)
    not_yet(attempt)
    not_yet(attempt)
    external.sign()
    credentials = attempt()
    assert external.questions == []
    with Client(served.target, credentials, timeout=30) as desk:
        desk.check_cnic(fresh_cnic())
        for _ in range(2):  # a later renewal of the same key is a question of its own
            not_yet(desk.renew)
            external.sign()
            renewed = desk.renew()
            assert renewed.cert_pem != credentials.cert_pem
            credentials = renewed
    assert list(external.inbox.iterdir()) == external.questions == []


def test_a_wait_within_the_call_is_enough_where_the_ca_is_quick(
    hub: RunningHub, external: ExternalCa, tmp_path: Path
) -> None:
    folders = {"csr_outbox": str(tmp_path / "out"), "csr_inbox": str(tmp_path / "in"), "csr_wait": "30"}
    quick = ExternalCa(tmp_path / "out", tmp_path / "in", external.ca)
    quick.outbox.mkdir()
    quick.inbox.mkdir()
    with serving(hub, tmp_path / "hub", external.ca.cert_pem, **folders) as served, ThreadPoolExecutor(1) as pool:
        enrolled = pool.submit(enrolling(served, "desk", tmp_path / "desk"))
        eventually(lambda: quick.questions)
        quick.sign()
        with Client(served.target, enrolled.result(60), timeout=30) as desk:
            desk.check_cnic(fresh_cnic())


@pytest.mark.parametrize("mistake", ["another node", "another key", "another CA", "expired", "no certificate"])
def test_an_answer_that_was_not_asked_for_is_set_aside(
    served: ServedHub, external: ExternalCa, tmp_path: Path, mistake: str
) -> None:
    node_id = mistake.replace(" ", "-").lower()
    attempt = enrolling(served, node_id, tmp_path)
    not_yet(attempt)
    [question] = external.questions
    match mistake:
        case "another node":
            external.sign(node_id="npb")
        case "another key":
            external.sign(csr_pem=new_csr(new_key()))
        case "another CA":
            external.sign(by=CertificateAuthority.create("not ours", now=now()))
        case "expired":
            external.sign(ends_in=timedelta(seconds=-1))
        case _:
            write_private(external.inbox / f"{question.stem}.pem", b"nothing of the kind")
    not_yet(attempt)
    rejected = external.inbox / f"{question.stem}.pem.rejected"
    assert rejected.exists()
    assert f"{question.stem}.pem of the CA is not accepted" in served.log()
    assert external.questions == [question], "it is still to be signed"
    external.sign()
    assert attempt().node == node_id
    rejected.unlink()


def test_the_ca_within_the_hub_has_its_key_encrypted(hub: RunningHub, tmp_path: Path) -> None:
    ca = CertificateAuthority.create("CA of nodes", now=now())
    write_private(tmp_path / "ca" / "key.pem", ca.key_pem(PASSWORD.encode()))
    write_private(tmp_path / "ca" / "cert.pem", ca.cert_pem)
    assert b"ENCRYPTED" in (tmp_path / "ca" / "key.pem").read_bytes()
    settings = {
        "ca_certificate": str(tmp_path / "ca" / "cert.pem"),
        "ca_key": str(tmp_path / "ca" / "key.pem"),
        "ca_password": PASSWORD,
    }
    with serving(hub, tmp_path / "hub", ca.cert_pem, **settings) as served:
        with Client(served.target, enrolling(served, "npb", tmp_path / "npb")(), timeout=30) as npb:
            npb.create_node("kp-police", Node(display_name="KP Police", role=ROLE_POLICE))
        assert PASSWORD not in served.log()
        later = enrolling(served, "later", tmp_path / "later")
        (tmp_path / "ca" / "key.pem").unlink()
        not_yet(later)
