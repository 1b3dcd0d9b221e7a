"""What a check is compared with: servers that do less, or do it the usual way, each in one process.

    python -m benchmarks.peers echo|psycopg|fastapi PORT HUB DSN

HUB is the folder of a running `nsor-hub dev`, whose certificates they have; callers must show one of the same CA.
"""

import asyncio
import hashlib
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString

import asyncpg
import grpc
import psycopg
import uvicorn
import uvloop
from fastapi import FastAPI

from hub import bootstrap
from hub.dev.environment import DevEnvironment
from hub.domain.disclosure import Grant
from hub.domain.lookup import Answer
from hub.domain.node import Caller
from hub.service.lookup import Lookup
from nsor.lookup.v1.lookup_service_pb2 import (
    OUTCOME_HIT,
    OUTCOME_NO_RECORD,
    CheckCnicRequest,
    CheckCnicResponse,
    DisclosedPerson,
)

Connections = asyncio.Queue[psycopg.AsyncConnection[tuple[Any, ...]]]

TABLE = """
    CREATE TABLE IF NOT EXISTS peer (cnic_index bytea PRIMARY KEY, person bytea NOT NULL);
    CREATE TABLE IF NOT EXISTS peer_audit (at timestamptz, node_id text, subject bytea, decision text);
"""
SELECT: LiteralString = "SELECT person FROM peer WHERE cnic_index = "
_CONNECTIONS = 8
PERSON = DisclosedPerson(
    full_name="Muhammad Khan", full_name_ur="محمد خان", guardian_name="Ali Khan", guardian_name_ur="علی خان"
)


def index(cnic: str) -> bytes:
    """Where a number stands in the table of the peers."""
    return hashlib.sha256(cnic.replace("-", "").encode()).digest()


def answer(person: bytes | None) -> CheckCnicResponse:
    """An answer of the same shape as the hub's."""
    response = CheckCnicResponse(revision="01234567.w1234567890", masked_cnic="91234-*****00-1")
    response.as_of_time.GetCurrentTime()
    response.outcome = OUTCOME_NO_RECORD
    if person:
        response.outcome = OUTCOME_HIT
        response.person.MergeFromString(person)
    response.padding = bytes(1021 - response.ByteSize())
    return response


class Echo:
    """Answers everybody alike: what grpc.aio itself takes."""

    def __init__(self) -> None:
        self._answer = answer(PERSON.SerializeToString())

    async def CheckCnic(self, request: CheckCnicRequest, context: Any) -> CheckCnicResponse:
        return self._answer


class SelectingLookup(Lookup):
    """Asks the database at each check, by psycopg; everything else is the hub's."""

    _connections: Connections | None = None

    async def _check(
        self, caller: Caller, grant: Grant | None, texts: Sequence[str], end_user: bytes = b""
    ) -> list[Answer]:
        if not self._connections:
            self._connections = asyncio.Queue()
            for _ in range(_CONNECTIONS):
                self._connections.put_nowait(await psycopg.AsyncConnection.connect(_dsn, autocommit=True))
        connection = await self._connections.get()
        try:
            for text in texts:
                await (await connection.execute(SELECT + "%s", [index(text)], prepare=True)).fetchone()
        finally:
            self._connections.put_nowait(connection)
        return await super()._check(caller, grant, texts, end_user)


def serve_selecting(port: str, hub: Path) -> None:
    """A worker of the hub that does a SELECT at each check, on the hub's own register, until it is ended."""
    settings = DevEnvironment(hub).start(f"127.0.0.1:{port}", "", 1)
    bootstrap.Lookup = SelectingLookup
    bootstrap.run_worker(settings, settings.listen, "", (hub / "selecting").touch)


async def serve_echo(port: str, folder: Path) -> None:
    """Serves the echo until it is ended."""
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 100)])
    check: Any = Echo().CheckCnic
    handler = grpc.unary_unary_rpc_method_handler(
        check, CheckCnicRequest.FromString, CheckCnicResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("nsor.lookup.v1.LookupService", {"CheckCnic": handler}),)
    )
    cert, key, ca = ((folder / f"{name}.pem").read_bytes() for name in ("cert", "key", "ca"))
    server.add_secure_port(
        f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
    )
    await server.start()
    await server.wait_for_termination()


def serve_fastapi(port: str, folder: Path, dsn: str) -> None:
    """Serves `GET /check/CNIC`: a SELECT, then an INSERT of the audit entry."""
    app = FastAPI()
    pool: Any = None
    driver: Any = asyncpg

    @app.get("/check/{cnic}")
    async def check(cnic: str) -> dict[str, str]:
        nonlocal pool
        if pool is None:
            pool = asyncio.ensure_future(driver.create_pool(dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS))
        connections = await pool
        subject = index(cnic)
        async with connections.acquire() as connection:
            person = await connection.fetchval(SELECT + "$1", subject)
            outcome = "OUTCOME_HIT" if person else "OUTCOME_NO_RECORD"
            await connection.execute(
                "INSERT INTO peer_audit VALUES (now(), $1, $2, $3)", "punjab-police", subject, outcome
            )
        found = DisclosedPerson.FromString(person or b"")
        return {"outcome": outcome, "full_name": found.full_name, "full_name_ur": found.full_name_ur}

    cert, key, ca = (str(folder / f"{name}.pem") for name in ("cert", "key", "ca"))
    uvicorn.run(
        app,
        port=int(port),
        loop="uvloop",
        log_level="error",
        access_log=False,
        ssl_certfile=cert,
        ssl_keyfile=key,
        ssl_ca_certs=ca,
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )


if __name__ == "__main__":
    _kind, _port, _hub, _dsn = sys.argv[1:]
    match _kind:
        case "echo":
            uvloop.run(serve_echo(_port, Path(_hub, "hub")))
        case "psycopg":
            serve_selecting(_port, Path(_hub))
        case _:
            serve_fastapi(_port, Path(_hub, "hub"), _dsn)
