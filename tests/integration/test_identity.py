"""Who is let in: a zoo of certificates at the real hub, by what the hub says and by what the SDK makes of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import grpc
import pytest
from grpc._cython import cygrpc

from hub.dev.environment import TRUST_DOMAIN
from hub.pki import CertificateAuthority, Issued
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicRequest
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceStub
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest
from nsor_client import Client, Credentials, NsorError, PermissionDenied, Unauthenticated, Unavailable
from nsor_client.errors import error_from_rpc
from tests.support import certificates
from tests.support.contract import row
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic
from tests.support.waiting import eventually

OUT_SECONDS = 2
"""Within this time a node that was thrown out gets no more answers."""


@contextmanager
def caller(hub: RunningHub, credentials: Credentials) -> Iterator[Client]:
    with Client(hub.target, credentials, timeout=20) as client:
        yield client


def check(client: Client) -> None:
    client.check_cnic(fresh_cnic())


def refused(client: Client) -> NsorError:
    """The error with which a call ends."""
    with pytest.raises(NsorError) as caught:
        check(client)
    return caught.value


def not_before_tomorrow(hub: RunningHub, node_id: str) -> Issued:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return certificates.authority(hub).issue_node(TRUST_DOMAIN, node_id, now=tomorrow)


class TestAtTheDoor:
    """What TLS itself keeps out. The hub can say nothing there, so the SDK says what it can know."""

    def test_a_certificate_of_another_ca(self, hub: RunningHub) -> None:
        other = CertificateAuthority.create("other CA", now=datetime.now(UTC))
        issued = other.issue_node(TRUST_DOMAIN, "punjab-police", now=datetime.now(UTC))
        certificates.enrol(hub, "punjab-police", issued)
        with caller(hub, certificates.credentials(hub, issued)) as client:
            error = refused(client)
        assert isinstance(error, Unavailable)
        assert "closed by the hub" in error.message
        assert "of another CA" in error.message

    def test_no_certificate(self, hub: RunningHub) -> None:
        class Anonymous(Credentials):
            def channel_credentials(self) -> grpc.ChannelCredentials:
                return grpc.ssl_channel_credentials(self.ca_pem)

        known = hub.credentials("punjab-police")
        with caller(hub, Anonymous(known.cert_pem, known.key_pem, known.ca_pem)) as client:
            error = refused(client)
        assert isinstance(error, Unavailable)
        assert "does not accept the certificate of this node (none," in error.message

    def test_an_expired_certificate(self, hub: RunningHub) -> None:
        node_id = certificates.fresh_node_id()
        issued = certificates.issue(hub, node_id, ends_in=timedelta(seconds=-1))
        certificates.enrol(hub, node_id, issued)
        with caller(hub, certificates.credentials(hub, issued)) as client:
            error = refused(client)
        assert isinstance(error, Unavailable)
        assert "the certificate of this node ended on" in error.message

    def test_a_certificate_not_yet_valid(self, hub: RunningHub) -> None:
        node_id = certificates.fresh_node_id()
        issued = not_before_tomorrow(hub, node_id)
        certificates.enrol(hub, node_id, issued)
        with caller(hub, certificates.credentials(hub, issued)) as client:
            error = refused(client)
        assert isinstance(error, Unavailable)
        assert "out of its time" in error.message

    def test_the_certificate_of_a_server(self, hub: RunningHub) -> None:
        with caller(hub, Credentials.from_dir(hub.folder / "hub")) as client:
            assert isinstance(refused(client), Unavailable)


class TestTheServer:
    """The other way round: a node talks to nobody but its hub."""

    def test_a_hub_of_another_ca(self, hub: RunningHub) -> None:
        other = CertificateAuthority.create("other CA", now=datetime.now(UTC))
        with caller(hub, replace(hub.credentials("punjab-police"), ca_pem=other.cert_pem)) as client:
            error = refused(client)
        assert isinstance(error, Unavailable)
        assert "ca.pem does not vouch for the certificate" in error.message

    def test_a_hub_of_another_name(self, hub: RunningHub) -> None:
        with hub.client("punjab-police", server_name="hub.example") as client:
            error = refused(client)
        assert isinstance(error, Unavailable)
        assert "is not for the name 'hub.example'" in error.message


class TestNames:
    """A certificate of the CA must name exactly one node of this federation."""

    @pytest.mark.parametrize(
        ("uris", "cause"),
        [
            ((f"spiffe://{TRUST_DOMAIN}/node/punjab-police", f"spiffe://{TRUST_DOMAIN}/node/npb"), "several_uris"),
            ((f"spiffe://{TRUST_DOMAIN}/node/npb", f"spiffe://{TRUST_DOMAIN}/node/npb"), "several_uris"),
            ((), "no_uri"),
            (("spiffe://other.internal/node/punjab-police",), "foreign_trust_domain"),
            ((f"spiffe://{TRUST_DOMAIN}.other/node/punjab-police",), "foreign_trust_domain"),
            ((f"https://{TRUST_DOMAIN}/node/punjab-police",), "foreign_trust_domain"),
            ((f"spiffe://{TRUST_DOMAIN}/hub",), "not_a_node"),
            ((f"spiffe://{TRUST_DOMAIN}/node/punjab-police/x",), "not_a_node"),
            ((f"spiffe://{TRUST_DOMAIN}/node/PUNJAB-POLICE",), "not_a_node"),
        ],
    )
    def test_refused_with_the_cause(self, hub: RunningHub, uris: tuple[str, ...], cause: str) -> None:
        issued = certificates.issue_for(hub, *uris)
        certificates.enrol(hub, "punjab-police", issued)
        with caller(hub, certificates.credentials(hub, issued)) as client:
            error = refused(client)
        assert isinstance(error, Unauthenticated)
        assert (error.reason_name, error.metadata) == ("ERROR_REASON_IDENTITY_NOT_RECOGNISED", {"cause": cause})


class TestEnrolment:
    def test_a_good_certificate_is_let_in(self, hub: RunningHub) -> None:
        _, known = certificates.new_node(hub)
        with caller(hub, known) as client:
            check(client)

    def test_a_certificate_that_was_not_enrolled(self, hub: RunningHub) -> None:
        with caller(hub, certificates.credentials(hub, certificates.issue(hub, "punjab-police"))) as client:
            error = refused(client)
        assert isinstance(error, Unauthenticated)
        assert error.reason_name == "ERROR_REASON_CERTIFICATE_NOT_ENROLLED"

    def test_a_certificate_that_was_enrolled_for_another_node(self, hub: RunningHub) -> None:
        issued = certificates.issue(hub, "punjab-police")
        certificates.enrol(hub, "fia", issued)
        with caller(hub, certificates.credentials(hub, issued)) as client:
            error = refused(client)
        assert isinstance(error, Unauthenticated)
        assert error.reason_name == "ERROR_REASON_CERTIFICATE_NOT_ENROLLED"

    def test_a_certificate_that_was_taken_back(self, hub: RunningHub) -> None:
        node_id, known = certificates.new_node(hub)
        with caller(hub, known) as client:
            check(client)
            hub.sql("DELETE FROM node_certificate WHERE node_id = %s", node_id)
            error = out(client)
        assert error.reason_name == "ERROR_REASON_CERTIFICATE_NOT_ENROLLED"


def out(client: Client) -> NsorError:
    """The error of the first call that is refused, which must come soon."""

    def error() -> NsorError | None:
        try:
            check(client)
        except NsorError as refusal:
            return refusal
        return None

    return eventually(error, OUT_SECONDS)


class TestOpenLines:
    """A line that was let in stays open: its caller's right to it is asked for again and again."""

    @pytest.mark.parametrize("state", ["SUSPENDED", "REVOKED"])
    def test_a_node_that_is_thrown_out_gets_no_more_answers(self, hub: RunningHub, state: str) -> None:
        node_id, known = certificates.new_node(hub)
        with caller(hub, known) as client:
            check(client)
            certificates.set_state(hub, node_id, state)
            error = out(client)
        assert isinstance(error, PermissionDenied)
        assert (error.reason_name, error.metadata) == ("ERROR_REASON_NODE_NOT_ACTIVE", {"state": state})

    def test_a_suspended_node_can_be_readmitted_on_the_same_line(self, hub: RunningHub) -> None:
        node_id, known = certificates.new_node(hub)
        with caller(hub, known) as client:
            check(client)
            certificates.set_state(hub, node_id, "SUSPENDED")
            out(client)
            certificates.set_state(hub, node_id, "ACTIVE")

            def readmitted() -> bool:
                with suppress(PermissionDenied):
                    check(client)
                    return True
                return False

            eventually(readmitted)

    @pytest.mark.parametrize("state", ["SUSPENDED", "REVOKED"])
    def test_an_open_stream_of_a_node_that_is_thrown_out_ends(self, hub: RunningHub, state: str) -> None:
        node_id, known = certificates.new_node(hub)
        with caller(hub, known) as client:
            check(client)
            stream = client.watch_changes()
            next(stream)
            certificates.set_state(hub, node_id, state)
            began = time.monotonic()
            with pytest.raises(PermissionDenied) as caught:
                list(stream)
            assert time.monotonic() - began < OUT_SECONDS
        assert caught.value.reason_name == "ERROR_REASON_NODE_NOT_ACTIVE"

    def test_a_node_that_is_thrown_out_writes_nothing_through_an_open_import(self, hub: RunningHub) -> None:
        node_id, known = certificates.new_node(hub)
        rows: SimpleQueue[ImportOffendersRequest | None] = SimpleQueue()
        with caller(hub, known) as client:
            check(client)
            results = client.import_offenders(iter(rows.get, None))
            rows.put(row(1))
            assert next(results).offender
            certificates.set_state(hub, node_id, "REVOKED")
            out(client)
            rows.put(row(2))
            rows.put(None)
            with pytest.raises(PermissionDenied) as caught:
                next(results)
        assert caught.value.reason_name == "ERROR_REASON_NODE_NOT_ACTIVE"
        assert hub.sql("SELECT count(*) FROM offender WHERE owner = %s", node_id) == [(1,)]

    def test_an_open_import_ends_with_the_role_that_opened_it(self, hub: RunningHub) -> None:
        node_id, known = certificates.new_node(hub)
        rows: SimpleQueue[ImportOffendersRequest | None] = SimpleQueue()
        with caller(hub, known) as client:
            results = client.import_offenders(iter(rows.get, None))
            rows.put(row(1))
            assert next(results).offender
            hub.sql("UPDATE node SET role = 'VETTING_AGENCY' WHERE id = %s", node_id)
            with pytest.raises(Unavailable):
                next(results)
            rows.put(None)
            with pytest.raises(PermissionDenied) as caught:
                list(client.import_offenders([row(2)]))
        assert caught.value.reason_name == "ERROR_REASON_ROLE_NOT_ALLOWED"

    def test_a_certificate_that_ends_takes_the_line_and_its_streams_with_it(self, hub: RunningHub) -> None:
        _, known = certificates.new_node(hub, ends_in=timedelta(seconds=5))
        with caller(hub, known) as client:
            check(client)
            stream = client.watch_changes()
            with pytest.raises(Unauthenticated) as caught:
                list(stream)
            assert datetime.now(UTC) < known.expire_time + timedelta(seconds=OUT_SECONDS)
            assert caught.value.reason_name == "ERROR_REASON_CERTIFICATE_EXPIRED"
            assert refused(client).reason_name == "ERROR_REASON_CERTIFICATE_EXPIRED"

    def test_a_resumed_session_is_refused(self, hub: RunningHub) -> None:
        known = hub.credentials("punjab-police")
        # Private to gRPC, but its only way for a client to resume a session.
        # Sessions are kept by the server's name, which an address is not.
        options = [
            ("grpc.ssl_session_cache", cygrpc.SSLSessionCacheLRU(1)),
            ("grpc.ssl_target_name_override", "localhost"),
        ]

        def resumed() -> NsorError | None:
            with grpc.secure_channel(hub.target, known.channel_credentials(), options) as channel:
                try:
                    LookupServiceStub(channel).CheckCnic(CheckCnicRequest(cnic=fresh_cnic()), timeout=20)
                except grpc.RpcError as error:
                    return error_from_rpc(error)
            return None

        # Only the worker that began a session resumes it; which one answers is chance.
        error = eventually(resumed)
        assert (error.reason_name, error.metadata) == (
            "ERROR_REASON_IDENTITY_NOT_RECOGNISED",
            {"cause": "resumed_session"},
        )
