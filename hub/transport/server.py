"""The gRPC server of one worker process."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from grpc_reflection.v1alpha import reflection

from hub.service.access_desk import AccessDesk
from hub.service.area import AreaStatus
from hub.service.consents import Consents
from hub.service.disclosure import Disclosure
from hub.service.federation import Federation
from hub.service.lookup import Lookup
from hub.service.membership import Membership
from hub.service.monitoring import Monitoring
from hub.service.registry import Registry
from hub.service.search import Search
from hub.service.vetting import Vetting
from hub.service.vigilance import Vigilance
from hub.transport import health
from hub.transport.access_desk import AccessDeskServicer
from hub.transport.consents import ConsentServicer
from hub.transport.contract import SERVICES
from hub.transport.federation import FederationServicer
from hub.transport.lookup import LookupServicer
from hub.transport.methods import Methods
from hub.transport.monitoring import MonitoringServicer
from hub.transport.pipeline import Pipeline
from hub.transport.registry import RegistryServicer
from hub.transport.vetting import VettingServicer
from nsor.federation.v1.federation_service_pb2_grpc import add_FederationServiceServicer_to_server
from nsor.lookup.v1.consent_service_pb2_grpc import add_ConsentServiceServicer_to_server
from nsor.lookup.v1.lookup_service_pb2_grpc import add_LookupServiceServicer_to_server
from nsor.lookup.v1.vetting_service_pb2_grpc import add_VettingServiceServicer_to_server
from nsor.monitoring.v1.monitoring_service_pb2_grpc import add_MonitoringServiceServicer_to_server
from nsor.registry.v1.access_desk_service_pb2_grpc import add_AccessDeskServiceServicer_to_server
from nsor.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server

log = logging.getLogger(__name__)

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

# Whoever finds the enrolment port may knock there, so it is narrow.
_ENROLMENT_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 1),
    ("grpc.max_concurrent_streams", 4),
    ("grpc.server_handshake_timeout_ms", 10 * 1000),
    ("grpc.max_connection_age_ms", 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 30 * 1000),
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
]
_ENROLMENTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the servicers call."""

    registry: Registry
    search: Search
    access_desk: AccessDesk
    lookup: Lookup
    area_status: AreaStatus
    disclosure: Disclosure
    vigilance: Vigilance
    federation: Federation
    membership: Membership
    monitoring: Monitoring
    vetting: Vetting
    consents: Consents


class Tls:
    """The hub's own certificate and the CAs that its callers' certificates come from, as files in PEM.

    When the files change, lines that open afterwards are served with what they hold then. Files that do not fit
    together, as while they are being replaced one by one, change nothing.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca

    def ca_certificates(self) -> str:
        """The CAs of the federation, in PEM."""
        return self._client_ca.read_text()

    def credentials(self, *, of_callers: bool = True) -> grpc.ServerCredentials:
        """Credentials of a port.

        Args:
            of_callers: whether nobody is let in without a certificate of the CAs.

        Raises:
            OSError, ValueError: the files cannot be used.
        """
        served = self._stamp()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """The new configuration, if there is one. gRPC asks at every new line, on a thread of its own."""
            nonlocal served
            try:
                stamp = self._stamp()
                if stamp == served:
                    return None
                configuration = self._configuration()
            except (OSError, ValueError, TypeError) as error:
                log.warning("the hub's certificate is not replaced: %s", error)
                return None
            served = stamp
            log.info("the hub's certificate or its CAs were replaced")
            return configuration

        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            changed,  # pyright: ignore[reportArgumentType] - None means no change, see its docstring
            require_client_authentication=of_callers,
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, client_ca = (f.read_bytes() for f in (self._certificate, self._key, self._client_ca))
        public = serialization.load_pem_private_key(key, None).public_key()
        if x509.load_pem_x509_certificate(certificate).public_key() != public:
            raise ValueError("the certificate is of another key")
        x509.load_pem_x509_certificates(client_ca)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        stats = (file.stat() for file in (self._certificate, self._key, self._client_ca))
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)


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
    # Any: generated code is typed to take servers only.
    methods: Any = Methods(pipeline.wrap)
    add_RegistryServiceServicer_to_server(RegistryServicer(use_cases.registry, use_cases.search, clock), methods)
    add_AccessDeskServiceServicer_to_server(AccessDeskServicer(use_cases.access_desk, clock), methods)
    lookup = LookupServicer(use_cases.lookup, use_cases.area_status, use_cases.disclosure, use_cases.vigilance)
    add_LookupServiceServicer_to_server(lookup, methods)
    federation = FederationServicer(use_cases.federation, use_cases.membership, tls.ca_certificates)
    add_FederationServiceServicer_to_server(federation, methods)
    add_MonitoringServiceServicer_to_server(MonitoringServicer(use_cases.monitoring, clock), methods)
    add_VettingServiceServicer_to_server(VettingServicer(use_cases.vetting), methods)
    add_ConsentServiceServicer_to_server(ConsentServicer(use_cases.consents), methods)
    # These say nothing of the register, and load balancers ask with any certificate of our CA.
    open_methods: Any = Methods()
    own_health.add_to(open_methods)
    if with_reflection:
        names = [service.full_name for service in SERVICES]
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], open_methods)
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers([methods, open_methods])
    server.add_secure_port(address, tls.credentials())
    return server


def build_enrolment_server(
    address: str, tls: Tls, pipeline: Pipeline, federation: Federation, membership: Membership
) -> grpc.aio.Server:
    """A server for callers that have no certificate yet, bound to an address of its own, not started yet.

    Args:
        pipeline: with a gate.

    Raises:
        RuntimeError: the address is not to be had.
    """
    methods: Any = Methods(pipeline.wrap)
    add_FederationServiceServicer_to_server(FederationServicer(federation, membership, tls.ca_certificates), methods)
    server = grpc.aio.server(options=_ENROLMENT_OPTIONS, maximum_concurrent_rpcs=_ENROLMENTS_AT_ONCE)
    server.add_generic_rpc_handlers([methods])
    server.add_secure_port(address, tls.credentials(of_callers=False))
    return server
