"""The life of a node at the real hub: created, enrolled, renewed, suspended, resumed, revoked."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from hub.__main__ import app
from nsor.common.v1.access_pb2 import ROLE_NPB, ROLE_POLICE
from nsor.federation.v1 import federation_service_pb2 as pb
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceStub
from nsor.federation.v1.node_pb2 import NODE_STATE_ACTIVE, NODE_STATE_REVOKED, NODE_STATE_SUSPENDED, Node
from nsor_client import (
    AlreadyExists,
    Client,
    Credentials,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    NsorError,
    PermissionDenied,
    Unauthenticated,
    enrol,
)
from nsor_client.credentials import new_csr, new_key
from nsor_client.errors import error_from_rpc
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic
from tests.support.waiting import eventually

OUT_SECONDS = 2
"""The promise is a second; the rest is for a busy machine."""

_numbers = count(1)


@pytest.fixture
def npb(hub: RunningHub) -> Iterator[Client]:
    with hub.client("npb", timeout=30) as client:
        yield client


@pytest.fixture
def node_id() -> str:
    """The id of a node that no other test uses."""
    return f"node-{next(_numbers)}-{uuid4().hex[:8]}"


def police(display_name: str = "Test Police", jurisdiction: str = "Balochistan") -> Node:
    return Node(display_name=display_name, role=ROLE_POLICE, jurisdiction=jurisdiction)


def ca_of(hub: RunningHub) -> bytes:
    return (hub.folder / "ca" / "cert.pem").read_bytes()


def enrolled(hub: RunningHub, npb: Client, node_id: str, folder: Path, node: Node | None = None) -> Credentials:
    """The credentials of a new node."""
    token = npb.create_node(node_id, node or police()).enrolment_token
    return enrol(hub.enrol_target, token, ca_of(hub), folder)


def check(client: Client) -> None:
    client.check_cnic(fresh_cnic())


def refused(action: Callable[[], object]) -> tuple[type[NsorError], str, dict[str, str]]:
    """Class, reason and metadata of the error with which the hub refuses."""
    with pytest.raises(NsorError) as caught:
        action()
    return type(caught.value), caught.value.reason_name.removeprefix("ERROR_REASON_"), caught.value.metadata


def ask(hub: RunningHub, token: str, csr: str) -> pb.EnrolNodeResponse:
    """EnrolNode, without the SDK."""
    line = grpc.ssl_channel_credentials(ca_of(hub))
    with grpc.secure_channel(hub.enrol_target, line) as channel:
        try:
            stub = FederationServiceStub(channel)
            return stub.EnrolNode(pb.EnrolNodeRequest(enrolment_token=token, csr=csr), timeout=30)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from None


def csr_of(key: object) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]


def state_of(client: Client, node_id: str) -> Node:
    return next(node for node in client.list_nodes() if node.name == f"nodes/{node_id}")


def test_the_life_of_a_node(hub: RunningHub, npb: Client, node_id: str, tmp_path: Path) -> None:
    created = npb.create_node(node_id, police())
    assert created.node.state == NODE_STATE_ACTIVE
    assert not created.node.HasField("certificate_expire_time")

    first = enrol(hub.enrol_target, created.enrolment_token, ca_of(hub), tmp_path)
    assert first.node == node_id
    assert Credentials.from_dir(tmp_path) == first
    assert {file.name for file in tmp_path.iterdir()} == {"cert.pem", "key.pem", "ca.pem"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())

    with Client(hub.target, first, timeout=30) as client:
        check(client)  # at once, whichever worker is at the other end
        second = client.renew()
        assert second.cert_pem != first.cert_pem
        check(client)  # the old one stays good
    with Client(hub.target, second, timeout=30) as client:
        check(client)
        npb.suspend_node(f"nodes/{node_id}", "under inquiry")
        assert state_of(npb, node_id).state == NODE_STATE_SUSPENDED
        assert state_of(npb, node_id).state_reason == "under inquiry"
        await_out(client, "SUSPENDED")
        npb.resume_node(f"nodes/{node_id}", "inquiry closed")
        await_in(client)
        stream = client.watch_changes()
        next(stream)
        began = time.monotonic()
        npb.revoke_node(f"nodes/{node_id}", "key lost")
        assert refused(lambda: list(stream)) == (PermissionDenied, "NODE_NOT_ACTIVE", {"state": "REVOKED"})
        assert time.monotonic() - began < OUT_SECONDS
        await_out(client, "REVOKED")
    assert state_of(npb, node_id).state == NODE_STATE_REVOKED

    [methods] = zip(
        *hub.sql(
            "SELECT regexp_replace(method, '.*/', '') FROM audit_entry WHERE subject = %s ORDER BY id",
            f"nodes/{node_id}".encode(),
        ),
        strict=True,
    )
    assert methods == ("CreateNode", "EnrolNode", "RenewCertificate", "SuspendNode", "ResumeNode", "RevokeNode")


def await_out(client: Client, state: str) -> None:
    """Calls until the node is out, which must be soon."""

    def error() -> PermissionDenied | None:
        try:
            check(client)
        except PermissionDenied as refusal:
            return refusal
        return None

    assert eventually(error, OUT_SECONDS).metadata == {"state": state}


def await_in(client: Client) -> None:
    """Calls until the node is in again."""

    def answered() -> bool:
        with suppress(PermissionDenied):
            check(client)
            return True
        return False

    eventually(answered)


class TestTokens:
    def test_sent_again_it_gives_the_same_certificate(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        token, csr = npb.create_node(node_id, police()).enrolment_token, new_csr(new_key())
        assert ask(hub, token, csr).certificate == ask(hub, token, csr).certificate

    def test_with_another_csr_it_is_refused(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        token = npb.create_node(node_id, police()).enrolment_token
        ask(hub, token, new_csr(new_key()))
        again = refused(lambda: ask(hub, token, new_csr(new_key())))
        assert again == (Unauthenticated, "ENROLMENT_TOKEN_INVALID", {"cause": "used"})
        [(decision,)] = hub.sql(
            "SELECT decision FROM audit_entry WHERE subject = %s ORDER BY id DESC LIMIT 1", f"nodes/{node_id}".encode()
        )
        assert decision == "ENROLMENT_TOKEN_INVALID"

    def test_after_its_end_it_is_refused(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        token, csr = npb.create_node(node_id, police()).enrolment_token, new_csr(new_key())
        ask(hub, token, csr)
        hub.sql("UPDATE enrolment SET expires_at = now() WHERE node_id = %s", node_id)
        expired = (Unauthenticated, "ENROLMENT_TOKEN_INVALID", {"cause": "expired"})
        assert refused(lambda: ask(hub, token, csr)) == expired
        assert refused(lambda: ask(hub, token, new_csr(new_key()))) == expired

    def test_one_that_was_never_made_is_refused(self, hub: RunningHub) -> None:
        unknown = (Unauthenticated, "ENROLMENT_TOKEN_INVALID", {"cause": "unknown"})
        assert refused(lambda: ask(hub, "A" * 43, new_csr(new_key()))) == unknown

    def test_it_is_for_its_own_node_whatever_the_csr_says(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        token = npb.create_node(node_id, police()).enrolment_token
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://nsor.internal/node/npb")])
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, False)
        csr = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        granted = ask(hub, token, csr)
        assert granted.node.name == f"nodes/{node_id}"
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        own = Credentials(granted.certificate.encode(), key_pem, granted.ca_certificates.encode())
        assert own.node == node_id
        with Client(hub.target, own, timeout=30) as client:
            again = client._federation.RenewCertificate(pb.RenewCertificateRequest(csr=csr), timeout=30)  # type: ignore[attr-defined]
        assert Credentials(again.certificate.encode(), key_pem, own.ca_pem).node == node_id

    def test_a_newer_one_takes_its_place(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        old = npb.create_node(node_id, police()).enrolment_token
        new = npb.create_enrolment_token(f"nodes/{node_id}").enrolment_token
        assert refused(lambda: ask(hub, old, new_csr(new_key())))[2] == {"cause": "unknown"}
        assert ask(hub, new, new_csr(new_key())).certificate

    def test_a_retry_of_the_creation_gives_it_again(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        request_id = str(uuid4())
        first = npb.create_node(node_id, police(), request_id=request_id)
        again = npb.create_node(node_id, police(), request_id=request_id)
        assert again == first
        reused = refused(lambda: npb.create_node(f"{node_id}-b", police(), request_id=request_id))
        assert reused == (AlreadyExists, "REQUEST_ID_REUSED", {})
        assert ask(hub, first.enrolment_token, new_csr(new_key())).certificate

    def test_the_database_does_not_hold_it(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        token = npb.create_node(node_id, police()).enrolment_token
        [(row,)] = hub.sql("SELECT enrolment::text FROM enrolment WHERE node_id = %s", node_id)
        assert token not in row
        assert token.encode().hex() not in row

    @pytest.mark.parametrize("state", ["suspended", "revoked"])
    def test_it_is_worth_nothing_while_the_node_is_out(
        self, hub: RunningHub, npb: Client, node_id: str, state: str
    ) -> None:
        token = npb.create_node(node_id, police()).enrolment_token
        {"suspended": npb.suspend_node, "revoked": npb.revoke_node}[state](f"nodes/{node_id}", "a test")
        out = (PermissionDenied, "NODE_NOT_ACTIVE", {"state": state.upper()})
        assert refused(lambda: ask(hub, token, new_csr(new_key()))) == out


class TestRequestsForCertificates:
    @pytest.mark.parametrize(
        ("csr", "cause"),
        [
            ("not a CSR", "malformed"),
            (csr_of(ec.generate_private_key(ec.SECP384R1())), "unsupported_key"),
        ],
    )
    def test_a_wrong_one_is_refused_and_leaves_the_token(
        self, hub: RunningHub, npb: Client, node_id: str, csr: str, cause: str
    ) -> None:
        token = npb.create_node(node_id, police()).enrolment_token
        assert refused(lambda: ask(hub, token, csr)) == (InvalidRequest, "CSR_INVALID", {"cause": cause})
        assert ask(hub, token, new_csr(new_key())).certificate

    def test_of_many_certificates_the_oldest_are_taken_back(
        self, hub: RunningHub, npb: Client, node_id: str, tmp_path: Path
    ) -> None:
        first = enrolled(hub, npb, node_id, tmp_path)
        with Client(hub.target, first, timeout=30) as client:
            newest = [client.renew() for _ in range(16)][-1]
        assert hub.sql("SELECT count(*) FROM node_certificate WHERE node_id = %s", node_id) == [(16,)]
        with Client(hub.target, newest, timeout=30) as client:
            check(client)


class TestTheEnrolmentPort:
    def test_nothing_else_is_there(self, hub: RunningHub) -> None:
        with grpc.secure_channel(hub.enrol_target, grpc.ssl_channel_credentials(ca_of(hub))) as channel:
            for method in (
                "/nsor.federation.v1.FederationService/ListNodes",
                "/nsor.federation.v1.FederationService/WatchChanges",
                "/nsor.lookup.v1.LookupService/CheckCnic",
                "/grpc.health.v1.Health/Check",
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(method)(b"", timeout=30)
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]

    def test_enrolment_is_nowhere_else(self, hub: RunningHub, npb: Client, node_id: str) -> None:
        token = npb.create_node(node_id, police()).enrolment_token
        with hub.channel("npb") as channel:
            request = pb.EnrolNodeRequest(enrolment_token=token, csr=new_csr(new_key()))
            with pytest.raises(grpc.RpcError) as caught:
                FederationServiceStub(channel).EnrolNode(request, timeout=30)
        assert error_from_rpc(caught.value).reason_name == "ERROR_REASON_ROLE_NOT_ALLOWED"


class TestStates:
    def test_npb_cannot_lock_itself_out(self, npb: Client) -> None:
        for throw_out in (npb.suspend_node, npb.revoke_node):
            assert refused(lambda t=throw_out: t("nodes/npb", "a test")) == (FailedPrecondition, "NODE_IS_CALLER", {})
        check(npb)

    def test_of_two_that_throw_each_other_out_one_remains(
        self, hub: RunningHub, npb: Client, node_id: str, tmp_path: Path
    ) -> None:
        ids = [f"{node_id}-a", f"{node_id}-b"]
        desks = [
            Client(hub.target, enrolled(hub, npb, id, tmp_path / id, Node(display_name="A desk", role=ROLE_NPB)))
            for id in ids
        ]
        with ThreadPoolExecutor(2) as pool:

            def throw_out(number: int) -> str:
                try:
                    desks[number].suspend_node(f"nodes/{ids[1 - number]}", "a test", timeout=30)
                except NsorError as error:
                    return error.reason_name
                return ""

            results = sorted(pool.map(throw_out, range(2)))
        for desk in desks:
            desk.close()
        assert results == ["", "ERROR_REASON_NODE_NOT_ACTIVE"]
        assert sorted(state_of(npb, id).state for id in ids) == [NODE_STATE_ACTIVE, NODE_STATE_SUSPENDED]

    def test_revoked_is_for_ever(self, npb: Client, node_id: str) -> None:
        npb.create_node(node_id, police())
        npb.revoke_node(f"nodes/{node_id}", "a test")
        gone = (FailedPrecondition, "NODE_REVOKED", {})
        assert refused(lambda: npb.resume_node(f"nodes/{node_id}", "a test")) == gone
        assert refused(lambda: npb.suspend_node(f"nodes/{node_id}", "a test")) == gone
        assert refused(lambda: npb.create_enrolment_token(f"nodes/{node_id}")) == gone
        assert refused(lambda: npb.create_node(node_id, police())) == (AlreadyExists, "NODE_ALREADY_EXISTS", {})

    def test_a_retry_changes_nothing_a_second_time(self, npb: Client, node_id: str) -> None:
        npb.create_node(node_id, police())
        request_id = str(uuid4())
        assert npb.suspend_node(f"nodes/{node_id}", "a test", request_id=request_id).state == NODE_STATE_SUSPENDED
        npb.resume_node(f"nodes/{node_id}", "a test")
        assert npb.suspend_node(f"nodes/{node_id}", "a test", request_id=request_id).state == NODE_STATE_ACTIVE

    def test_a_node_that_is_not_there(self, npb: Client) -> None:
        for call in (npb.suspend_node, npb.resume_node, npb.revoke_node):
            assert refused(lambda c=call: c("nodes/nobody", "a test")) == (NotFound, "NODE_NOT_FOUND", {})

    def test_the_fields_of_a_node_are_checked(self, npb: Client, node_id: str) -> None:
        for node in (
            police(display_name=""),
            police(display_name=" "),
            police(jurisdiction="Atlantis"),
            Node(display_name="x"),
        ):
            assert refused(lambda n=node: npb.create_node(node_id, n))[1] == "INVALID_FIELD"
        assert refused(lambda: npb.create_node("Punjab Police", police()))[1] == "INVALID_FIELD"


def test_the_operator_does_it_at_the_database(hub: RunningHub, npb: Client, node_id: str, tmp_path: Path) -> None:
    """So the first node comes into the world, and NPB's own can be thrown out."""

    def nsor_hub(*arguments: str) -> str:
        environment = {
            "NSOR_DSN": hub.dsn,
            "NSOR_TLS_CERTIFICATE": str(hub.folder / "hub" / "cert.pem"),
            "NSOR_TLS_KEY": str(hub.folder / "hub" / "key.pem"),
            "NSOR_CLIENT_CA": str(hub.folder / "ca" / "cert.pem"),
            "NSOR_KEYRING": str(hub.folder / "keyring.json"),
            "COLUMNS": "200",
        }
        done = CliRunner().invoke(app, ["node", *arguments], env=environment)
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    assert nsor_hub("create", node_id, "--role", "npb")
    token = nsor_hub("token", node_id)
    with Client(hub.target, enrol(hub.enrol_target, token, ca_of(hub), tmp_path), timeout=30) as desk:
        desk.create_node(f"{node_id}-2", police())
        nsor_hub("suspend", node_id, "--reason", "a test of the operator")
        await_out(desk, "SUSPENDED")
        nsor_hub("resume", node_id, "--reason", "passed")
        await_in(desk)
        nsor_hub("revoke", node_id, "--reason", "over")
        await_out(desk, "REVOKED")
    printed = nsor_hub("list")
    assert [line for line in printed.splitlines() if f" {node_id} " in line and "REVOKED" in line and "over" in line]
    [(actor,)] = hub.sql("SELECT DISTINCT node_id FROM audit_entry WHERE method LIKE 'nsor-hub node revoke'")
    assert actor == "(operator)"
