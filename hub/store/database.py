"""Connections and transactions, and the one place where database errors become refusals."""

import asyncio
import os
import select
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from socket import SHUT_RDWR, socket
from typing import Any, LiteralString

import psycopg
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hub.domain.audit import AuditEntry
from hub.domain.errors import Reason, Refused
from hub.store import audit
from hub.store.rows import to_json
from hub.store.transaction import StoreTransaction
from hub.store.vault import Vault

# Bounds of everything that waits for the database. A transaction whose process stands still is ended by the server, so
# that the locks it holds, the sequencer's among them, are free again within the two seconds that the feed promises.
_SESSION = {
    "statement_timeout": "10s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "1500ms",
    "application_name": "nsor-hub",
}
_APPEND_AUDIT = audit.append_statement("%s")
_tracer = trace.get_tracer("nsor.hub")
_OPTIONS = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 11
"""Longer than any statement may take: a server that does not keep its own limits stands still."""


class _Connection(psycopg.AsyncConnection[Any]):
    """A connection on which nobody waits for ever: a server that does not answer is as good as gone."""

    async def wait(self, *args: Any, **options: Any) -> Any:
        """As psycopg's own, through which every wait for the server goes; the line is cut when it takes too long."""
        watchdog = asyncio.get_running_loop().call_later(_ANSWER_SECONDS, self._cut)
        try:
            return await super().wait(*args, **options)
        finally:
            watchdog.cancel()

    def _cut(self) -> None:
        # Of a copy of the descriptor, since the connection closes its own. Cancelling the wait would ask the server.
        with suppress(OSError), socket(fileno=os.dup(self.pgconn.socket)) as line:
            line.shutdown(SHUT_RDWR)


class PostgresDatabase:
    """The register's database.

    Args:
        dsn: "postgresql://…" URL.
        pool_size: connections of this process at most.
    """

    def __init__(self, dsn: str, vault: Vault, pool_size: int = 8) -> None:
        self._vault = vault
        self._peeker = _StandingLine(dsn)
        self._auditor = _StandingLine(dsn)
        self._auditing = asyncio.Lock()
        self.engine: AsyncEngine = create_async_engine(
            make_url(dsn).set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_CONNECT_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=to_json,
            connect_args={
                "async_creator_fn": _Connection.connect,
                "connect_timeout": _CONNECT_SECONDS,
                "options": _OPTIONS,
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[StoreTransaction]:
        """Opens a transaction: committed when the block ends, rolled back when it raises.

        Raises:
            Refused: DATABASE_UNAVAILABLE; HUB_UNAVAILABLE when another write got in the way and a retry will do.
        """
        async with self.connection() as connection:
            yield StoreTransaction(connection, self._vault)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AsyncConnection]:
        """The same, for the parts of this room that write their own SQL."""
        with refusals():
            async with self.engine.begin() as connection:
                yield connection

    async def peek(self, query: LiteralString) -> tuple[Any, ...]:
        """The one row of a query that is asked many times a second. One call at a time.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        with refusals():
            cursor = await self._peeker.open()
            row = await (await cursor.execute(query, prepare=True)).fetchone()
        assert row is not None, "the query gives one row"
        return row

    async def is_exempt(self) -> bool:
        """Whether the server's own rules do not bind this process: its user is a superuser, or the tables' owner.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        [exempt] = await self.peek(
            """SELECT (rolsuper OR rolbypassrls OR pg_has_role(relowner, 'MEMBER'))
            FROM pg_roles, pg_class WHERE rolname = current_user AND pg_class.oid = 'offender'::regclass"""
        )
        return bool(exempt)

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Writes audit entries that go with no write, all or none.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        accesses = to_json(audit.accesses(entries))
        with refusals(), _traced(_APPEND_AUDIT):
            async with self._auditing:
                await (await self._auditor.open()).execute(_APPEND_AUDIT.encode(), [accesses], prepare=True)

    async def close(self) -> None:
        """Closes every connection."""
        await self._peeker.close()
        await self._auditor.close()
        await self.engine.dispose()


class _StandingLine:
    """A cursor kept for one statement, in autocommit: it costs a tenth of a transaction of the pool."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._cursor: psycopg.AsyncCursor[Any] | None = None

    async def open(self) -> psycopg.AsyncCursor[Any]:
        """The cursor, opened anew if its connection is gone."""
        if self._cursor is None or self._cursor.connection.closed or _has_spoken(self._cursor.connection):
            await self.close()
            connection = await _Connection.connect(
                self._dsn, autocommit=True, connect_timeout=_CONNECT_SECONDS, options=_OPTIONS
            )
            self._cursor = connection.cursor()
        return self._cursor

    async def close(self) -> None:
        """Closes it."""
        if self._cursor:
            await self._cursor.connection.close()


def _has_spoken(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server says something unasked on an idle line, which is its farewell."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _traced(statement: str) -> Generator[None]:
    """A span like those of the engine's statements, for one that goes past it."""
    if not trace.get_current_span().is_recording():
        yield
        return
    operation = statement.split(None, 1)[0]
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": statement}
    with _tracer.start_as_current_span(
        operation, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ):
        yield


@contextmanager
def refusals() -> Generator[None]:
    """Turns errors of the database into refusals; their texts can quote data, so they go no further."""
    try:
        yield
    except (PoolTimeout, TimeoutError, OSError) as error:
        raise _unavailable() from error
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code: str = getattr(cause, "sqlstate", None) or ""
        # SQLSTATE class 40: deadlock or serialization failure. 23503, 23505, 23P01: what another one entered or took
        # away; the rest of class 23 are rows that nobody may write. 08, 25, 53, 55, 57, 58 and no code at all: no
        # server, too many connections, a time limit, a shutdown.
        if code.startswith("40") or code in ("23503", "23505", "23P01"):
            raise _conflict() from error
        if code[:2] in ("", "08", "25", "53", "55", "57", "58"):
            raise _unavailable() from error
        raise


def _unavailable() -> Refused:
    return Refused(Reason.DATABASE_UNAVAILABLE, "the hub cannot reach its database; retry with the same request_id")


def _conflict() -> Refused:
    return Refused(Reason.HUB_UNAVAILABLE, "another write got in the way; retry with the same request_id")
