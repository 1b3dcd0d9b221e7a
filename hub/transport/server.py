"""The gRPC server of one worker process."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
from grpc_reflection.v1alpha import reflection

from hub.service.federation import Federation
from hub.service.lookup import Lookup
from hub.service.monitoring import Monitoring
from hub.service.registry import Registry
from hub.transport import health
from hub.transport.contract import SERVICES
from hub.transport.federation import FederationServicer
from hub.transport.lookup import LookupServicer
from hub.transport.monitoring import MonitoringServicer
from hub.transport.pipeline import Pipeline
from hub.transport.registry import RegistryServicer
from nsor.federation.v1.federation_service_pb2_grpc import add_FederationServiceServicer_to_server
from nsor.lookup.v1.lookup_service_pb2_grpc import add_LookupServiceServicer_to_server
from nsor.monitoring.v1.monitoring_service_pb2_grpc import add_MonitoringServiceServicer_to_server
from nsor.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server

# Health says nothing of the register, and load balancers ask it with any certificate of our CA.
OPEN_SERVICES = frozenset({health.SERVICE_NAME})

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 1),
    # Without a limit, thousands of half-open streams of one caller starve the others.
    ("grpc.max_concurrent_streams", 100),
    # Lines are opened anew now and then, so that callers spread over the workers and show their certificate again.
    ("grpc.max_connection_age_ms", 30 * 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 60 * 1000),
    # Above the contract's own limit, so that what is too large is refused with a reason.
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the servicers call."""

    registry: Registry
    lookup: Lookup
    federation: Federation
    monitoring: Monitoring


@dataclass(frozen=True, slots=True)
class Tls:
    """Files, in PEM, of the hub's own certificate and of the CA that its callers' certificates come from."""

    certificate: Path
    key: Path
    client_ca: Path

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that let nobody in without a certificate of the CA."""
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=self.client_ca.read_bytes(),
            require_client_auth=True,
        )


def build_server(
    address: str,
    tls: Tls,
    pipeline: Pipeline,
    use_cases: UseCases,
    own_health: health.Health,
    clock: Callable[[], datetime],
    *,
    with_reflection: bool,
) -> grpc.aio.Server:
    """A server bound to an address, not started yet.

    Raises:
        RuntimeError: the address is not to be had.
    """
    server = grpc.aio.server(interceptors=[pipeline], options=_OPTIONS)
    add_RegistryServiceServicer_to_server(RegistryServicer(use_cases.registry, clock), server)
    add_LookupServiceServicer_to_server(LookupServicer(use_cases.lookup), server)
    add_FederationServiceServicer_to_server(FederationServicer(use_cases.federation), server)
    add_MonitoringServiceServicer_to_server(MonitoringServicer(use_cases.monitoring, clock), server)
    own_health.add_to(server)
    if with_reflection:
        names = [service.full_name for service in SERVICES]
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    server.add_secure_port(address, tls.credentials())
    return server
