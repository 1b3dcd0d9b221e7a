"""The line to a hub: options of the gRPC channel, what may be sent twice, and what a broken line means."""

import json
import re
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from nsor.federation.v1 import federation_service_pb2
from nsor.lookup.v1 import consent_service_pb2, lookup_service_pb2, vetting_service_pb2
from nsor.monitoring.v1 import monitoring_service_pb2
from nsor.registry.v1 import access_desk_service_pb2, registry_service_pb2
from nsor_client.credentials import Credentials

MAX_REQUEST_BYTES = 256 * 1024
"""Size of the largest request: what a hub reads by default. A larger one is refused before it is sent."""

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Size of the largest response: a page of 200 records that have 50 convictions each fits."""

SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for module in (
        lookup_service_pb2,
        consent_service_pb2,
        vetting_service_pb2,
        registry_service_pb2,
        access_desk_service_pb2,
        federation_service_pb2,
        monitoring_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)

_HARMLESS = ("Get", "List", "Check", "Acknowledge")


@dataclass(frozen=True)
class Endpoint:
    """Where a hub listens, who asks, and the name that the hub must prove.

    Args:
        target: `HOST:PORT`; an IPv6 address stands in brackets.
        credentials: of the node that asks; None while it enrols.
        server_name: a name in the hub's certificate, where it differs from the host of the target.

    Raises:
        ValueError: the target is not `HOST:PORT`.
    """

    target: str
    credentials: Credentials | None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:/@\[\]]+):([0-9]{1,5})", self.target):
            raise ValueError("the target of a hub is HOST:PORT, for example 127.0.0.1:7443")

    @property
    def host(self) -> str:
        """Host of the target, without brackets."""
        return self.target.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port of the target."""
        return int(self.target.rpartition(":")[2])

    def channel_options(self) -> list[tuple[str, str | int]]:
        """Options of the gRPC channel."""
        options: list[tuple[str, str | int]] = [
            ("grpc.service_config", service_config()),
            ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
            ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
            # A line that went dead silently (mobile data, a router switched off) is noticed after 40 s, and
            # only looked after while a call is open. Hubs must allow pings this often.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
            # By default gRPC waits for up to 2 minutes; a station should be back soon after its line is.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 10_000),
        ]
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        return options

    def explain(self, details: str) -> str:
        """Says in plain words why there is no line, as far as gRPC's text (of 1.85) lets us know it."""
        hub = f"the hub at {self.target}"
        if "CERTIFICATE_VERIFY_FAILED" in details and "expired" in details:
            return f"The certificate of {hub} has ended, or the clock of this machine is wrong."
        # The second is what a CA of the same name with another key brings: a hub that was set up anew.
        if "CERTIFICATE_VERIFY_FAILED" in details or "certificate signature failure" in details:
            return (
                f"ca.pem does not vouch for the certificate of {hub}: "
                "it is another hub, or ca.pem is not the CA of this one."
            )
        if "Hostname Verification Check failed" in details:
            return (
                f"The certificate of {hub} is not for the name {self.server_name or self.host!r}. If it is "
                "the right hub, connect by a name in its certificate, or give that one as the server name."
            )
        if "WRONG_VERSION_NUMBER" in details:
            return f"What listens at {self.target} does not speak TLS: it is no hub, or the port is wrong."
        if "Connection refused" in details:
            return f"Nothing listens at {self.target}: the hub is down, or the address is wrong."
        if "errors resolving" in details:
            return f"The name {self.host!r} cannot be resolved to an address."
        if "failed to connect" in details and ("Socket closed" in details or "reset by peer" in details):
            # With TLS 1.3 a hub refuses our certificate after our side of the handshake, and gRPC drops the
            # alert that names the cause. Known is only that the line was closed before the first call.
            cause = (
                f"the certificate of this node ended on {self.credentials.expire_time:%Y-%m-%d}."
                if self.credentials and self.credentials.expired
                else "most likely it does not accept the certificate of this node (none, of another CA, or "
                "out of its time); a hub that is going down does the same."
            )
            return f"The line was closed by {hub} before the first call: {cause}"
        return f"No answer from {hub}: {details}"


def may_be_retried(method: MethodDescriptor) -> bool:
    """Whether sending a call a second time can do no harm.

    Reads change nothing, and an acknowledgement says the same once more. A write carries a `request_id`, made once
    before the first try: the hub keeps it together with its answer in the transaction of the write, and a
    second try is given that answer. A stream is continued by who reads it, since only they know how far they
    got.
    """
    streams = method.client_streaming or method.server_streaming
    repeatable = method.name.startswith(_HARMLESS) or "request_id" in method.input_type.fields_by_name
    return repeatable and not streams


def service_config() -> str:
    """gRPC service config: on UNAVAILABLE, tries again what may be retried, within the call's deadline."""
    names = [
        {"service": service.full_name, "method": method.name}
        for service in SERVICES
        for method in service.methods
        if may_be_retried(method)
    ]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.25s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    # After a dozen failed calls in a row the throttle stops retries until some succeed: a hub in trouble is not
    # asked four times as much.
    throttle = {"maxTokens": 100, "tokenRatio": 1}
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}], "retryThrottling": throttle})
