"""A durable queue of writes, for a station whose line to the hub comes and goes.

It is sync only: SQLite is, and a queue that a disk orders has nothing to do at the same time.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self, TypeAlias
from uuid import uuid4

import grpc

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.monitoring.v1.monitoring_service_pb2 import RecordNoticeRequest, RecordNoticeResponse
from nsor.registry.v1.registry_service_pb2 import (
    CreateOffenderRequest,
    CreateOffenderResponse,
    DuplicateOverride,
    UpdateOffenderRequest,
    UpdateOffenderResponse,
)
from nsor_client import lock_file, sqlite_file
from nsor_client._sync.client import Client
from nsor_client.channel import MAX_REQUEST_BYTES
from nsor_client.errors import NsorError

Write: TypeAlias = CreateOffenderRequest | UpdateOffenderRequest | RecordNoticeRequest
Written: TypeAlias = CreateOffenderResponse | UpdateOffenderResponse | RecordNoticeResponse

MAX_ENTRIES = 100_000
"""Entries that an outbox holds at most."""

_KINDS: dict[str, type[Write]] = {
    kind.DESCRIPTOR.name.removesuffix("Request"): kind
    for kind in (CreateOffenderRequest, UpdateOffenderRequest, RecordNoticeRequest)
}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they are sent
    request_id TEXT    NOT NULL UNIQUE,
    kind       TEXT    NOT NULL,                   -- name of the RPC
    request    BLOB    NOT NULL,
    add_time   TEXT    NOT NULL,
    refusal    TEXT                                -- why the hub refused it; null while it waits
) STRICT
"""

_NAME = "INSERT INTO outbox SELECT ? WHERE NOT EXISTS (SELECT * FROM outbox)"

_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
}

_REFUSAL_REASONS = {
    ErrorReason.ERROR_REASON_NOT_OWNER,
    ErrorReason.ERROR_REASON_PURPOSE_NOT_ALLOWED,
    ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE,
}


class OutboxError(Exception):
    """The outbox cannot do what was asked. The message holds nothing personal."""


class EntryState(StrEnum):
    """What has become of an entry. One that was written is no longer in the outbox."""

    queued = "queued"
    refused = "refused"


@dataclass(frozen=True)
class Entry:
    """A write in the outbox.

    Attributes:
        id: its place in the order.
        kind: name of the RPC, for example "CreateOffender".
        request: what is sent; it has its `request_id`.
        add_time: when it was queued, by the clock of this machine.
        refusal: why the hub refused it, without personal data; None while it waits.
    """

    id: int
    kind: str
    request: Write
    add_time: datetime
    refusal: str | None = None

    @property
    def state(self) -> EntryState:
        """Whether it waits or was refused."""
        return EntryState.queued if self.refusal is None else EntryState.refused


@dataclass(frozen=True)
class Sent:
    """What a run of `Outbox.send` did.

    Attributes:
        written: entries that the hub wrote; they have left the outbox.
        refused: entries that it refused; they stay, with the reason.
        stopped_by: why the run ended before the last entry, or the hub could not be told how far it came; None if all
            was done.
    """

    written: int
    refused: int
    stopped_by: NsorError | None


OnResult = Callable[[Entry, Written | NsorError], object]
"""Told of each entry: the answer of the hub, or the error with which it refused."""


class Outbox:
    """Writes that wait for the hub, in a SQLite file that only its owner can read.

    What `add` took is on the disk when it returns. `send` gives it to the hub in the order of `add`, each under
    the `request_id` made when it was queued: whenever a process dies, the next run sends what was not
    acknowledged, and the hub writes nothing twice. An outbox belongs to the node that sent from it first, since
    request_ids count for each node by itself. An update is of the record as it was read: if that has changed in
    the meantime, the hub refuses it.

    The file holds personal data in the clear (mode 0600): keep it on an encrypted disk. What has left is
    overwritten. Use it as a context manager, in one thread; several processes may, and one of them sends.

    Raises:
        OutboxError: the file is no outbox, or is locked for longer than 10 s.
        OSError: it cannot be created or opened.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        with _typed_errors():
            self._db = sqlite_file.connect(self._path)
            try:
                self._db.execute(_SCHEMA)
                self._db.execute("CREATE TABLE IF NOT EXISTS owner (node TEXT NOT NULL) STRICT")
                self._db.execute("CREATE TABLE IF NOT EXISTS outbox (id TEXT NOT NULL) STRICT")
                self._db.execute(_NAME, (str(uuid4()),))
                [[self._id]] = self._db.execute("SELECT id FROM outbox")
            except sqlite3.Error:
                self._db.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """The id under which the hub knows how far it has come: a UUID, the same for as long as there is the file."""
        return self._id

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def add(self, request: Write) -> Entry:
        """Queues a write, durably; gives its entry.

        A request without a `request_id` gets one. Adding the same request with its request_id again changes
        nothing, so a caller that was cut can repeat.

        Raises:
            OutboxError: the outbox is full, the request is larger than a hub takes, or another one waits
                under the same request_id.
        """
        queued = deepcopy(request)
        queued.request_id = queued.request_id or str(uuid4())
        kind, body = queued.DESCRIPTOR.name.removesuffix("Request"), queued.SerializeToString()
        if len(body) > MAX_REQUEST_BYTES:
            raise OutboxError("the request is larger than a hub takes")
        with self._transaction():
            row = self._db.execute("SELECT * FROM entry WHERE request_id = ?", (queued.request_id,)).fetchone()
            if row is not None:
                if (entry := _entry(row)).request != queued:
                    raise OutboxError("another request waits under this request_id")
                return entry
            [[count]] = self._db.execute("SELECT count(*) FROM entry")
            if count >= MAX_ENTRIES:
                raise OutboxError(f"the outbox is full: it holds {MAX_ENTRIES} entries")
            row = self._db.execute(
                "INSERT INTO entry (request_id, kind, request, add_time) VALUES (?, ?, ?, ?) RETURNING *",
                (queued.request_id, kind, body, datetime.now(UTC).isoformat()),
            ).fetchone()
            return _entry(row)

    def entries(self) -> Iterator[Entry]:
        """What waits or was refused, in order."""
        after = 0
        while (entry := self._next(after, "")) is not None:
            yield entry
            after = entry.id

    def override(self, entry_id: int, override: DuplicateOverride) -> Entry:
        """Lets a creation that was refused with LIKELY_DUPLICATE wait again, now with the override; gives its entry.

        Raises:
            OutboxError: no creation that was refused stands under this id.
        """
        with self._transaction():
            row = self._db.execute("SELECT * FROM entry WHERE id = ?", (entry_id,)).fetchone()
            entry = None if row is None else _entry(row)
            if entry is None or entry.refusal is None or not isinstance(entry.request, CreateOffenderRequest):
                raise OutboxError(f"entry {entry_id} is no creation that was refused")
            # Under the same request_id: of what it refused the hub keeps nothing.
            entry.request.duplicate_override.CopyFrom(override)
            row = self._db.execute(
                "UPDATE entry SET request = ?, refusal = NULL WHERE id = ? RETURNING *",
                (entry.request.SerializeToString(), entry_id),
            ).fetchone()
            return _entry(row)

    def drop(self, entry_id: int) -> bool:
        """Takes an entry out without sending it; whether there was one.

        One that waits may have reached the hub already, if a run was cut while it was on its way.
        """
        with _typed_errors():
            return self._db.execute("DELETE FROM entry WHERE id = ?", (entry_id,)).rowcount == 1

    def send(self, client: Client, on_result: OnResult | None = None) -> Sent:
        """Sends what waits, in order, until nothing does or the hub cannot be asked.

        An entry that the hub refuses stays with the reason, and the next one is sent. Where the line breaks,
        the hub is in trouble, or it does not accept this node, the run ends and everything not yet sent waits
        for the next run. At last the hub is told how long the oldest entry waits, so that it knows up to when it has
        what this node decided: call it every minute or so, also while nothing waits.

        Raises:
            OutboxError: another process is sending, or the outbox belongs to another node.
        """
        with self._alone():
            self._claim(client.node)
            sent = self._send(client, on_result)
            unreported = self._report(client)
        return replace(sent, stopped_by=sent.stopped_by or unreported)

    def _send(self, client: Client, on_result: OnResult | None) -> Sent:
        written = refused = after = 0
        while (entry := self._next(after, "AND refusal IS NULL")) is not None:
            after = entry.id
            try:
                answer = client.write(entry.request)
            except NsorError as error:
                if not _is_refusal(error):
                    return Sent(written, refused, error)
                self._change("UPDATE entry SET refusal = ? WHERE id = ?", _why(error), entry.id)
                refused += 1
                answer = error
            else:
                self._change("DELETE FROM entry WHERE id = ?", entry.id)
                written += 1
            if on_result:
                on_result(entry, answer)
        return Sent(written, refused, None)

    def _report(self, client: Client) -> NsorError | None:
        oldest = self._next(0, "AND refusal IS NULL")
        wait = datetime.now(UTC) - oldest.add_time if oldest else timedelta(0)
        if wait < timedelta(0):
            return None  # the clock was set back before the entry: better no report than that nothing waits
        try:
            client.report_outbox(self._id, wait)
        except NsorError as error:
            return error
        return None

    def _next(self, after: int, condition: str) -> Entry | None:
        query = f"SELECT * FROM entry WHERE id > ? {condition} ORDER BY id LIMIT 1"
        with _typed_errors():
            row = self._db.execute(query, (after,)).fetchone()
        return None if row is None else _entry(row)

    def _change(self, statement: str, *values: str | int) -> None:
        with _typed_errors():
            self._db.execute(statement, values)

    def _claim(self, node: str) -> None:
        """Makes the outbox that of this node, if it is nobody's yet."""
        with self._transaction():
            owner = self._db.execute("SELECT node FROM owner").fetchone()
            if owner is None:
                self._db.execute("INSERT INTO owner VALUES (?)", (node,))
            elif owner[0] != node:
                raise OutboxError(f"the outbox is that of the node {owner[0]!r}: another one must not send from it")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with _typed_errors():
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                yield

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Holds the right to send: a lock that ends with the process, on a file beside the outbox."""
        with _typed_errors(), lock_file.alone(self._path.with_name(self._path.name + ".sending")):
            yield


def _entry(row: tuple[int, str, str, bytes, str, str | None]) -> Entry:
    entry_id, _, kind, body, add_time, refusal = row
    return Entry(entry_id, kind, _KINDS[kind].FromString(body), datetime.fromisoformat(add_time), refusal)


def _is_refusal(error: NsorError) -> bool:
    """Whether the entry is at fault; not the line, the hub, or the standing of this node."""
    return error.code in _REFUSALS or error.reason in _REFUSAL_REASONS


def _why(error: NsorError) -> str:
    """The error, and the records of those much alike."""
    return "; ".join(filter(None, (str(error), error.metadata.get("candidates", ""))))


@contextmanager
def _typed_errors() -> Generator[None]:
    try:
        yield
    except lock_file.FileBusy as error:
        raise OutboxError("another process is sending from this outbox") from error
    except sqlite3.Error as error:
        raise OutboxError(f"the outbox cannot be used: {error}") from error
