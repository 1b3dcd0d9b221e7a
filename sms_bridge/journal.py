"""The durable journal: what the SMSC may forget because we remember it, until the reply is the SMSC's again.

One SQLite file. A segment is on disk before its deliver_sm is acknowledged, so that after any crash either
the SMSC delivers it again or the journal has it; each step of the conversation that follows is on disk before
the next begins.

Personal data (phone numbers, texts, replies) stands in this file and nowhere else, and only while needed: it
is erased when the reply was submitted. Where the acknowledgement may have been lost, because the SMPP session
broke in between, the inbound message stays for `DOUBT` seconds more, so that it is known when it is delivered
again. What remains are counters.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sms_bridge.smpp.text import InboundSegment, Reassembler, UnreadableText

DOUBT: Final = 600.0
"""Seconds for which an answered message is known again after its session broke; assumed: SMSCs differ."""

PATIENCE: Final = 600.0
"""Seconds to wait for the missing parts of a long message before it is answered as unreadable."""

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = f"""
    CREATE TABLE conversation (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: it numbers the parts of the reply
        source TEXT NOT NULL,
        begun_at REAL NOT NULL,
        trace TEXT NOT NULL,
        outcome TEXT NOT NULL DEFAULT '',
        reply TEXT NOT NULL DEFAULT '',        -- empty: not answered yet
        submitted INTEGER NOT NULL DEFAULT 0,  -- segments of the reply that the SMSC has taken
        finished_at REAL                       -- set only while a redelivery is possible
    );
    CREATE TABLE segment (
        id INTEGER PRIMARY KEY,
        conversation INTEGER REFERENCES conversation ON DELETE CASCADE,  -- NULL while parts are missing
        source TEXT NOT NULL,
        destination TEXT NOT NULL,
        data_coding INTEGER NOT NULL,
        payload BLOB NOT NULL,
        reference INTEGER,
        total INTEGER NOT NULL,
        part INTEGER NOT NULL,
        session_id TEXT NOT NULL,              -- the SMPP session that delivered it
        received_at REAL NOT NULL
    );
    CREATE INDEX segment_by_source ON segment (source);
    CREATE INDEX segment_by_conversation ON segment (conversation);
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    PRAGMA user_version = {_SCHEMA_VERSION};
"""
_SEGMENT: Final = "source, destination, data_coding, payload, reference, total, part"
_SAME_SEGMENT: Final = (
    "source = ? AND destination = ? AND data_coding = ? AND payload = ? AND reference IS ? AND total = ? AND part = ?"
)
_SAME_TEXT: Final = "conversation IS NULL AND source = ? AND destination = ? AND reference IS ? AND total = ?"

_Key = tuple[str, str, int | None, int]
"""Source, destination, reference and total: what the parts of one text have in common."""

T = TypeVar("T")


class JournalError(Exception):
    """The file cannot serve as the journal: it is no journal, or another process has it open."""


class JournalFull(Exception):
    """As many segments wait as the journal may hold; nothing was stored."""


class End(StrEnum):
    """How a conversation ended."""

    DONE = "done"
    """The SMSC has taken the whole reply."""
    REFUSED = "refused"
    """The SMSC refused the reply for good."""
    UNSENDABLE = "unsendable"
    """No SMS can carry the reply, or be sent to that number."""
    EXPIRED = "expired"
    """The SMSC did not take the reply in time."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One complete inbound message and how far its answer has come.

    `text` is None where it cannot be read or parts never came; `reply` is empty until it is decided, and
    `submitted` counts its segments that the SMSC has taken. `begun_at` is in seconds of the journal's clock,
    and `trace` the W3C traceparent of the delivery.
    """

    id: int
    source: str = field(repr=False)
    begun_at: float
    trace: str
    outcome: str
    reply: str = field(repr=False)
    submitted: int
    text: str | None = field(repr=False)


class Journal:
    """The journal, open. Every method returns when its effect is on disk (fsync), or raises `sqlite3.Error`.

    Writes that wait at the same time share one transaction. Use `Journal.open`.
    """

    def __init__(
        self, db: sqlite3.Connection, thread: ThreadPoolExecutor, limit: int, clock: Callable[[], float]
    ) -> None:
        self._db = db
        self._thread = thread
        self._limit = limit
        self._clock = clock
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._flushing: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, limit: int = 100_000, clock: Callable[[], float] = time.time
    ) -> AsyncGenerator[Self]:
        """Open or create the journal in the file `path`; `limit` is the number of segments that it may hold.

        The file is readable by its owner only, and locked against other processes while it is open.

        Raises:
            JournalError: the file cannot be opened, is no journal of this version, or is in use.
        """
        with ThreadPoolExecutor(1, "sms-journal") as thread:
            db = await asyncio.get_running_loop().run_in_executor(thread, _connect, path)
            journal = cls(db, thread, limit, clock)
            try:
                yield journal
            finally:
                while journal._flushing:
                    await asyncio.wait({journal._flushing})
                await journal._in_thread(db.close)

    async def receive(self, segment: InboundSegment, *, session_id: str, trace: str = "") -> None:
        """Store a delivered segment; if it completes a message, a conversation begins.

        `session_id` names the SMPP session. A segment that equals one of an earlier session, the conversation
        of which is still known, is an unacknowledged delivery made again: it is stored and answered once.
        Within one session equal messages are different questions.

        Raises:
            JournalFull: nothing was stored.
        """
        key = (segment.source, segment.destination, segment.reference, segment.total)
        values = (
            *(segment.source, segment.destination, segment.data_coding, segment.payload),
            *(segment.reference, segment.total, segment.part),
        )

        def store() -> bool:
            known = self._value(
                f"SELECT id FROM segment WHERE {_SAME_SEGMENT} AND (conversation IS NULL OR session_id <> ?)",
                (*values, session_id),
            )
            if known:
                self._db.execute("UPDATE segment SET session_id = ? WHERE id = ?", (session_id, known))
                return True
            if self._value("SELECT count(*) FROM segment") >= self._limit:
                return False
            if self._value(f"SELECT id FROM segment WHERE {_SAME_TEXT} AND part = ?", (*key, segment.part)):
                # Another text under the same reference: parts of two texts must never be read as one.
                self._db.execute(f"DELETE FROM segment WHERE {_SAME_TEXT}", key)
            self._db.execute(
                f"INSERT INTO segment ({_SEGMENT}, session_id, received_at) VALUES ({', '.join('?' * 9)})",
                (*values, session_id, self._clock()),
            )
            if self._value(f"SELECT count(*) FROM segment WHERE {_SAME_TEXT}", key) == segment.total:
                self._begin(key, trace)
            return True

        if not await self._write(store):
            raise JournalFull("the journal holds as many segments as it may")

    async def unfinished(self, *, after: int = 0, limit: int = 100) -> list[Conversation]:
        """The oldest `limit` conversations that go on, of those with an id greater than `after`.

        It sees every `receive` that was called before it, also one of which the caller was cancelled.
        """

        def load() -> list[Conversation]:
            rows = self._db.execute(
                "SELECT id, source, begun_at, trace, outcome, reply, submitted FROM conversation"
                " WHERE finished_at IS NULL AND id > ? ORDER BY id LIMIT ?",
                (after, limit),
            )
            return [Conversation(*row, text=self._text(row[0])) for row in rows.fetchall()]

        return await self._write(load)

    async def answered(self, id: int, *, outcome: str, reply: str) -> None:
        """Store the reply of a conversation, so that a restart does not ask again."""
        await self._update("UPDATE conversation SET outcome = ?, reply = ? WHERE id = ?", outcome, reply, id)

    async def submitted(self, id: int, count: int) -> None:
        """Store that the SMSC has taken the first `count` segments of the reply."""
        await self._update("UPDATE conversation SET submitted = ? WHERE id = ?", count, id)

    async def finish(self, id: int, end: End, *, session_id: str) -> None:
        """Count a conversation and erase it; `session_id` names the session that took the last of the reply.

        A submit_sm follows the acknowledgements on the same line: an SMSC that answered it has seen them.
        Where they went over another session, the message stays for `DOUBT` seconds, without its reply.
        """

        def finish() -> None:
            outcome = self._value("SELECT outcome FROM conversation WHERE id = ?", (id,))
            self._count(outcome if end is End.DONE else f"given_up.{end}")
            if self._value("SELECT id FROM segment WHERE conversation = ? AND session_id <> ?", (id, session_id)):
                self._db.execute(
                    "UPDATE conversation SET reply = '', finished_at = ? WHERE id = ?", (self._clock(), id)
                )
            else:
                self._db.execute("DELETE FROM conversation WHERE id = ?", (id,))

        await self._write(finish)

    async def tidy(self) -> int:
        """Erase what is past its time, and begin conversations about messages whose parts did not all come.

        Returns the number of conversations that go on. To be called about every minute. It also empties the
        write-ahead log, where erased data still stands.
        """

        def tidy() -> int:
            now = self._clock()
            self._db.execute("DELETE FROM conversation WHERE finished_at <= ?", (now - DOUBT,))
            incomplete = self._db.execute(
                "SELECT source, destination, reference, total FROM segment WHERE conversation IS NULL"
                " GROUP BY 1, 2, 3, 4 HAVING max(received_at) <= ?",
                (now - PATIENCE,),
            )
            for key in incomplete.fetchall():
                self._begin(key, trace="")
            return self._value("SELECT count(*) FROM conversation WHERE finished_at IS NULL")

        going_on = await self._write(tidy)
        await self._in_thread(lambda: self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        return going_on

    async def counters(self) -> dict[str, int]:
        """How many conversations ended with each outcome, or were given up for each reason, since ever."""
        return await self._write(lambda: dict(self._db.execute("SELECT name, value FROM counter").fetchall()))

    # What follows runs in the journal's thread, inside a transaction.

    def _begin(self, key: _Key, trace: str) -> None:
        """Make a conversation of the segments with this key."""
        id = self._db.execute(
            "INSERT INTO conversation (source, begun_at, trace) VALUES (?, ?, ?)", (key[0], self._clock(), trace)
        ).lastrowid
        self._db.execute(f"UPDATE segment SET conversation = ? WHERE {_SAME_TEXT}", (id, *key))

    def _text(self, conversation: int) -> str | None:
        rows = self._db.execute(f"SELECT {_SEGMENT} FROM segment WHERE conversation = ?", (conversation,))
        reassembler, text = Reassembler(), None
        try:
            for row in rows.fetchall():
                text = reassembler.add(InboundSegment(*row))
        except UnreadableText:
            return None
        return text

    def _count(self, name: str) -> None:
        self._db.execute(
            "INSERT INTO counter VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (name,)
        )

    def _value(self, query: str, values: tuple[Any, ...] = ()) -> Any:
        row = self._db.execute(query, values).fetchone()
        return row and row[0]

    # The way into the thread.

    async def _update(self, statement: str, *values: object) -> None:
        def update() -> None:
            self._db.execute(statement, values)

        await self._write(update)

    async def _write(self, operation: Callable[[], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                results = await self._in_thread(self._commit, [operation for operation, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
        self._flushing = None

    def _commit(self, operations: list[Callable[[], Any]]) -> list[Any]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            results = [operation() for operation in operations]
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        return results

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise JournalError(f"{path} cannot be opened: {error.strerror}") from None
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        # Exclusive before the first access: no other process, and no shared-memory file beside the journal.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("BEGIN EXCLUSIVE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        is_new = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        db.execute("COMMIT")
        if is_new:
            db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise JournalError(f"{path} is no journal of this version")
    except sqlite3.DatabaseError as error:
        db.close()
        is_locked = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        raise JournalError(f"{path} is {'in use by another process' if is_locked else 'no journal'}") from None
    except JournalError:
        db.close()
        raise
    return db
