"""Methods that generated code adds, and what a server that has them answers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from hub.transport.methods import Methods


def test_methods_of_several_services_are_served() -> None:
    health_of: Any = health
    stubs: Any = health_pb2_grpc
    reflection_stub: Any = reflection_pb2_grpc.ServerReflectionStub

    async def run() -> None:
        methods: Any = Methods()
        stubs.add_HealthServicer_to_server(health_of.aio.HealthServicer(), methods)
        reflection.enable_server_reflection([health.SERVICE_NAME], methods)
        async with serving(methods) as channel:
            answer = await stubs.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            listing: Any = reflection_stub(channel)
            told = await anext(aiter(listing.ServerReflectionInfo(iter([ServerReflectionRequest(list_services="")]))))
            assert [service.name for service in told.list_services_response.service] == [health.SERVICE_NAME]

    asyncio.run(run())


def test_what_is_not_wrapped_is_not_there() -> None:
    health_of: Any = health
    stubs: Any = health_pb2_grpc
    named: list[str] = []

    def only_check(name: str, handler: Any) -> Any:
        named.append(name)
        return handler if name.endswith("/Check") else None

    async def run() -> None:
        methods: Any = Methods(only_check)
        stubs.add_HealthServicer_to_server(health_of.aio.HealthServicer(), methods)
        assert "grpc.health.v1.Health/Watch" in named
        async with serving(methods) as channel:
            await stubs.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            with pytest.raises(grpc.RpcError) as error:
                await anext(aiter(stubs.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())))
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(run())


@asynccontextmanager
async def serving(methods: Methods) -> AsyncGenerator[grpc.aio.Channel]:
    """A channel to a server that has methods."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([methods])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)
