"""`grpc.health.v1.Health` of one worker."""

from typing import Any

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hub.transport.contract import SERVICES
from hub.transport.methods import Methods

SERVICE_NAME: str = health.SERVICE_NAME


class Health:
    """Tells load balancers whether this worker serves, as a whole and by service."""

    def __init__(self) -> None:
        self._servicer: Any = getattr(health, "aio").HealthServicer()  # noqa: B009 - set at run time, so untyped

    def add_to(self, methods: Methods) -> None:
        """Adds its methods."""
        grpc_module: Any = health_pb2_grpc  # generated without types
        grpc_module.add_HealthServicer_to_server(self._servicer, methods)

    async def set_serving(self, serving: bool) -> None:
        """States whether the worker serves."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(service.full_name for service in SERVICES)):
            await self._servicer.set(name, status)
