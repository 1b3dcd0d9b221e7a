"""How a node that has no certificate yet gets one: with the token that NPB handed over."""

from pathlib import Path

import grpc
from opentelemetry.trace import TracerProvider, get_tracer

from nsor.federation.v1.federation_service_pb2 import EnrolNodeRequest
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceStub
from nsor_client.calls import outgoing_call
from nsor_client.channel import Endpoint
from nsor_client.credentials import Credentials, CredentialsError, new_csr, new_key, write_private


def enrol(
    target: str,
    token: str,
    ca_pem: bytes,
    directory: str | Path,
    *,
    timeout: float = 30.0,
    server_name: str | None = None,
    tracer_provider: TracerProvider | None = None,
) -> Credentials:
    """Enrols this node, and keeps its credentials in a folder. The private key is made there and never leaves it.

    Where it fails without an answer it can be called again: the key is in the folder, and the token gives the same
    certificate for it.

    Args:
        target: `HOST:PORT` of the hub for enrolment, which is not the one for everything else.
        token: from NPB; it works once, within its life.
        ca_pem: the CA of the hub, got from NPB on a way that can be trusted.
        directory: afterwards it holds `cert.pem`, `key.pem` and `ca.pem`.
        server_name: a name in the hub's certificate, where it differs from the host of the target.

    Raises:
        NsorError: the hub refuses, or there is no line.
        CredentialsError: the folder holds a certificate already, or a key that is of no use.
        OSError: the folder cannot be written.
    """
    folder = Path(directory)
    key_file = folder / "key.pem"
    if (folder / "cert.pem").exists():
        raise CredentialsError(f"{folder} holds a certificate already")
    if not key_file.exists():
        write_private(key_file, new_key())
    key_pem = key_file.read_bytes()
    endpoint = Endpoint(target, None, server_name)
    request = EnrolNodeRequest(enrolment_token=token, csr=new_csr(key_pem))
    tracer = get_tracer("nsor_client", tracer_provider=tracer_provider)
    line = grpc.ssl_channel_credentials(ca_pem)
    with (
        outgoing_call(tracer, endpoint, EnrolNodeRequest) as outgoing,
        grpc.secure_channel(target, line, options=endpoint.channel_options()) as channel,
    ):
        hub = FederationServiceStub(channel)
        granted = hub.EnrolNode(request, timeout=timeout, metadata=outgoing.metadata)
    credentials = Credentials(granted.certificate.encode(), key_pem, granted.ca_certificates.encode())
    credentials.write(folder)
    return credentials
