"""What the SDK says when TLS, or the way to the hub, does not work out; from real handshakes that fail."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, CheckCnicResponse
from nsor_client import AsyncClient, Client, Credentials, CredentialsError, Unavailable
from tests.support.sdk_hub import CertificateAuthority, serving, settled

pytest_plugins = ["tests.support.sdk_fixtures"]

ENDED = timedelta(days=-1)
ELSEWHERE = [x509.DNSName("hub.example")]


@contextmanager
def nobody() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def failure(kind: Any, target: str, credentials: Credentials) -> str:
    client = kind(target, credentials)
    try:
        with pytest.raises(Unavailable) as caught:
            await settled(client.check_cnic("1"))
    finally:
        await settled(client.close())
    assert caught.value.reason is None
    return caught.value.message


@pytest.mark.parametrize("kind", [AsyncClient, Client], ids=["async", "sync"])
async def test_a_node_of_another_ca_is_told_of_its_certificate(kind: Any, sdk_ca: CertificateAuthority) -> None:
    theirs = CertificateAuthority().credentials()
    mixed = Credentials(theirs.cert_pem, theirs.key_pem, sdk_ca.pem)
    with serving(sdk_ca) as hub:
        message = await failure(kind, hub.target, mixed)
    assert f"closed by the hub at {hub.target} before the first call" in message
    assert "does not accept the certificate of this node" in message
    assert "going down" in message  # gRPC does not let us know which


async def test_an_ended_certificate_is_named_as_the_cause(sdk_ca: CertificateAuthority) -> None:
    credentials = sdk_ca.credentials(ends_in=ENDED)
    with serving(sdk_ca) as hub:
        message = await failure(AsyncClient, hub.target, credentials)
    assert f"the certificate of this node ended on {credentials.expire_time:%Y-%m-%d}" in message


@pytest.mark.parametrize("name", ["test CA", "another CA"])
async def test_a_hub_of_another_ca_is_not_trusted(name: str, sdk_ca: CertificateAuthority) -> None:
    with serving(CertificateAuthority(name)) as hub:
        message = await failure(AsyncClient, hub.target, sdk_ca.credentials())
    assert "ca.pem does not vouch for the certificate of the hub" in message


async def test_a_hub_of_another_name_is_not_trusted(sdk_ca: CertificateAuthority) -> None:
    with serving(sdk_ca, names=ELSEWHERE) as hub:
        message = await failure(AsyncClient, hub.target, sdk_ca.credentials())
    assert "is not for the name '127.0.0.1'" in message


async def test_an_ended_certificate_of_the_hub_is_named(sdk_ca: CertificateAuthority) -> None:
    with serving(sdk_ca, ends_in=ENDED) as hub:
        message = await failure(AsyncClient, hub.target, sdk_ca.credentials())
    assert f"The certificate of the hub at {hub.target} has ended" in message


async def test_a_port_without_tls_is_named(sdk_ca: CertificateAuthority) -> None:
    with serving(sdk_ca, tls=False) as hub:
        message = await failure(AsyncClient, hub.target, sdk_ca.credentials())
    assert "does not speak TLS" in message


async def test_a_port_where_nobody_listens_is_named(sdk_ca: CertificateAuthority) -> None:
    with nobody() as target:
        message = await failure(AsyncClient, target, sdk_ca.credentials())
    assert f"Nothing listens at {target}" in message


async def test_a_name_without_address_is_named(sdk_ca: CertificateAuthority) -> None:
    message = await failure(AsyncClient, "hub.invalid:7443", sdk_ca.credentials())
    assert "'hub.invalid' cannot be resolved" in message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_host_of_the_target_is_the_name_to_prove(host: str, sdk_ca: CertificateAuthority) -> None:
    with serving(sdk_ca) as hub:
        hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT))
        target = hub.target.replace("127.0.0.1", host)
        with Client(target, sdk_ca.credentials()) as client:
            assert client.check_cnic("1").outcome == OUTCOME_HIT


def test_another_name_to_prove_can_be_given(sdk_ca: CertificateAuthority) -> None:
    with serving(sdk_ca, names=ELSEWHERE) as hub:
        hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT))
        with Client(hub.target, sdk_ca.credentials(), server_name="hub.example") as client:
            assert client.check_cnic("1").outcome == OUTCOME_HIT


def test_credentials_know_their_node_and_their_end(sdk_ca: CertificateAuthority) -> None:
    credentials = sdk_ca.credentials("fia", ends_in=timedelta(hours=1))
    assert credentials.node == "fia"
    assert not credentials.expired
    assert sdk_ca.credentials(ends_in=ENDED).expired


def test_credentials_do_not_show_the_key(sdk_ca: CertificateAuthority) -> None:
    assert "KEY" not in repr(sdk_ca.credentials())


def test_credentials_are_read_from_a_folder(sdk_ca: CertificateAuthority, tmp_path: Any) -> None:
    credentials = sdk_ca.credentials()
    for name, content in (
        ("cert", credentials.cert_pem),
        ("key", credentials.key_pem),
        ("ca", credentials.ca_pem),
    ):
        (tmp_path / f"{name}.pem").write_bytes(content)
    assert Credentials.from_dir(tmp_path) == credentials
    (tmp_path / "key.pem").unlink()
    with pytest.raises(CredentialsError, match=r"key\.pem: No such file"):
        Credentials.from_dir(tmp_path)


def test_credentials_that_cannot_work_are_refused_at_once(sdk_ca: CertificateAuthority) -> None:
    good, other = sdk_ca.credentials(), sdk_ca.credentials()
    for cert, key, ca, problem in (
        (good.cert_pem, other.key_pem, good.ca_pem, "does not belong"),
        (good.cert_pem, b"no key", good.ca_pem, "not an unencrypted PEM key"),
        (b"no certificate", good.key_pem, good.ca_pem, r"cert\.pem\) is not a PEM"),
        (good.cert_pem, good.key_pem, b"no certificate", r"ca\.pem\) is not a PEM"),
    ):
        with pytest.raises(CredentialsError, match=problem):
            Credentials(cert, key, ca)
