"""A hub that knows CheckCnic only: a real gRPC server over mutual TLS, which the test can take away and bring back."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import trustme

from nsor.lookup.v1.lookup_service_pb2 import CheckCnicRequest, CheckCnicResponse
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceServicer, add_LookupServiceServicer_to_server

Context = grpc.aio.ServicerContext[CheckCnicRequest, CheckCnicResponse]
Answer = Callable[[str, Context], Awaitable[CheckCnicResponse]]


class Authority:
    """A CA, and the folders of the nodes that it signed for."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        hub = self._ca.issue_cert("localhost", "127.0.0.1")
        self.server_credentials = grpc.ssl_server_credentials(
            [(hub.private_key_pem.bytes(), hub.cert_chain_pems[0].bytes())],
            self._ca.cert_pem.bytes(),
            require_client_auth=True,
        )

    def enrol(self, folder: Path) -> Path:
        """Write the credentials of a node into a folder."""
        node = self._ca.issue_cert("sms-7000.test")
        folder.mkdir()
        (folder / "cert.pem").write_bytes(node.cert_chain_pems[0].bytes())
        (folder / "key.pem").write_bytes(node.private_key_pem.bytes())
        (folder / "ca.pem").write_bytes(self._ca.cert_pem.bytes())
        return folder


@dataclass
class FakeLookup(LookupServiceServicer):
    """Answers as `answer` says; keeps what it was asked, and the metadata."""

    answer: Answer
    asked: list[str] = field(default_factory=list[str])
    end_users: list[bytes] = field(default_factory=list[bytes])
    metadata: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def CheckCnic(self, request: CheckCnicRequest, context: Context) -> CheckCnicResponse:
        self.asked.append(request.cnic)
        self.end_users.append(request.end_user)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.was_asked.set()
        return await self.answer(request.cnic, context)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serve(self, authority: Authority) -> AsyncGenerator[None]:
        """Listen; on a free port the first time, on the same one after that."""
        server = grpc.aio.server()
        add_LookupServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]
        self.port = server.add_secure_port(f"127.0.0.1:{self.port}", authority.server_credentials)
        await server.start()
        try:
            yield
        finally:
            await server.stop(grace=None)
