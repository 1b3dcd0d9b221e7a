"""A scripted hub for tests of the SDK: a gRPC server over mutual TLS, whose answers the test gives."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from inspect import isawaitable
from ipaddress import ip_address
from typing import Any, Never

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from nsor.federation.v1.federation_service_pb2 import GetSnapshotResponse, SnapshotEnd
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.offender_pb2 import Offender
from nsor_client import Credentials
from nsor_client.channel import SERVICES

Answer = Callable[[Any, grpc.ServicerContext], Any]

LOCAL = [
    x509.DNSName("localhost"),
    x509.IPAddress(ip_address("127.0.0.1")),
    x509.IPAddress(ip_address("::1")),
]


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Private key as unencrypted PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class CertificateAuthority:
    """Issues certificates; each instance is another CA."""

    def __init__(self, name: str = "test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._name, self._key, timedelta(days=1)).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.pem = self._signed(certificate)

    def issue(self, *names: x509.GeneralName, ends_in: timedelta = timedelta(hours=1)) -> tuple[bytes, bytes]:
        """Certificate and key in PEM for these names; it has ended when `ends_in` is negative."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._builder(x509.Name([]), key, ends_in).add_extension(
            x509.SubjectAlternativeName(names), critical=True
        )
        return self._signed(certificate), pem(key)

    def credentials(self, node: str = "punjab-police", *, ends_in: timedelta = timedelta(hours=1)) -> Credentials:
        """Credentials of a node that trusts this CA."""
        uri = x509.UniformResourceIdentifier(f"spiffe://nsor.test/node/{node}")
        return Credentials(*self.issue(uri, ends_in=ends_in), self.pem)

    def renewed(self, credentials: Credentials, *, ends_in: timedelta = timedelta(hours=1)) -> bytes:
        """A further certificate in PEM for the same node and key."""
        key = serialization.load_pem_private_key(credentials.key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        uri = x509.UniformResourceIdentifier(f"spiffe://nsor.test/node/{credentials.node}")
        names = x509.SubjectAlternativeName([uri])
        return self._signed(self._builder(x509.Name([]), key, ends_in).add_extension(names, critical=True))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, ends_in: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + ends_in)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class ScriptedHub:
    """Answers each RPC as `on` says, by its name, and keeps what was asked."""

    target: str = ""
    on: dict[str, Answer] = field(default_factory=dict[str, Answer])
    requests: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    metadata: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def answer(self, method: str, response: Message) -> None:
        """Makes `method` give this response."""
        self.on[method] = lambda request, context: response

    def handlers(self) -> Iterator[grpc.GenericRpcHandler]:
        for service in SERVICES:
            methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
            for method in service.methods:
                kind = "_".join(
                    "stream" if streaming else "unary"
                    for streaming in (method.client_streaming, method.server_streaming)
                )
                handler = getattr(grpc, f"{kind}_rpc_method_handler")
                methods[method.name] = handler(
                    self._behaviour(method.name),
                    request_deserializer=GetMessageClass(method.input_type).FromString,
                    response_serializer=lambda message: message.SerializeToString(),
                )
            yield grpc.method_handlers_generic_handler(service.full_name, methods)

    def _behaviour(self, method: str) -> Answer:
        def behave(request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.setdefault(method, []).append(request)
            self.metadata[method] = dict(context.invocation_metadata())  # pyright: ignore
            return self.on[method](request, context)

        return behave


@contextmanager
def serving(
    ca: CertificateAuthority,
    *,
    names: list[Any] = LOCAL,
    ends_in: timedelta = timedelta(hours=1),
    tls: bool = True,
    port: int = 0,
    options: list[tuple[str, Any]] | None = None,
) -> Iterator[ScriptedHub]:
    """Runs a scripted hub on a free port, with a certificate of `ca`; its clients need one of it too."""
    hub = ScriptedHub()
    server = grpc.server(ThreadPoolExecutor(8), handlers=list(hub.handlers()), options=options)
    certificate, key = ca.issue(*names, ends_in=ends_in)
    credentials = (
        grpc.ssl_server_credentials([(key, certificate)], ca.pem, require_client_auth=True)
        if tls
        else grpc.insecure_server_credentials()
    )
    hub.target = f"127.0.0.1:{server.add_secure_port(f'127.0.0.1:{port}', credentials)}"
    server.start()
    try:
        yield hub
    finally:
        server.stop(None).wait()


def refuse(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    message: str,
    reason: str,
    *,
    domain: str = "nsor",
    metadata: dict[str, str] | None = None,
    fields: tuple[tuple[str, str, str], ...] = (),
    retry_after: float | None = None,
) -> Never:
    """Ends the call as the hub does: status, one ErrorInfo, BadRequest and RetryInfo where they apply."""
    details: list[Message] = [ErrorInfo(reason=reason, domain=domain, metadata=metadata)]
    if fields:
        violations = [
            BadRequest.FieldViolation(field=path, reason=rule, description=text) for path, rule, text in fields
        ]
        details.append(BadRequest(field_violations=violations))
    if retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(timedelta(seconds=retry_after))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status always raises")


def whole_snapshot(
    offenders: Sequence[Offender], notices: Sequence[Notice] = (), revision: str = "e.7"
) -> list[GetSnapshotResponse]:
    """A whole snapshot, each record and notice in a response of its own."""
    lines = [f"{o.name} {o.etag}\n" for o in offenders] + [f"{n.name}\n" for n in notices]
    checksum = sha256("".join(lines).encode()).digest()
    end = SnapshotEnd(offender_count=len(offenders), notice_count=len(notices), checksum=checksum)
    return [
        *(GetSnapshotResponse(revision=revision, offenders=[offender]) for offender in offenders),
        *(GetSnapshotResponse(revision=revision, notices=[notice]) for notice in notices),
        GetSnapshotResponse(revision=revision, end=end),
    ]


def snapshot_of(count: int) -> list[GetSnapshotResponse]:
    """A whole snapshot of this many records."""
    return whole_snapshot([Offender(name=f"offenders/{n}", etag=str(n)) for n in range(count)])


async def settled(value: Any) -> Any:
    """What a method of either client gave: awaited, if it is that of the async one."""
    return await value if isawaitable(value) else value


async def gathered(iterator: Any) -> list[Any]:
    """All that an iterator of either client gives."""
    return [item async for item in iterator] if hasattr(iterator, "__aiter__") else list(iterator)


async def step(iterator: Any) -> Any:
    """The next item of an iterator of either client."""
    return await anext(iterator) if hasattr(iterator, "__anext__") else next(iterator)


async def closed(iterator: Any) -> None:
    """Closes an iterator of either client."""
    await settled(iterator.aclose() if hasattr(iterator, "aclose") else iterator.close())
