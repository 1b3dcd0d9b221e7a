"""A local, encrypted copy of the register, for a station whose line to the hub comes and goes.

It is sync only: SQLite is, and what follows the feed has nothing to do at the same time.
"""

import hmac
import sqlite3
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from os import urandom
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from google.protobuf.timestamp_pb2 import Timestamp

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.federation.v1.federation_service_pb2 import Change, GetSnapshotResponse
from nsor.lookup.v1.lookup_service_pb2 import CannotAnswerReason, CheckCnicResponse, DisclosedPerson, Outcome
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.offender_pb2 import Offender, OffenderStatus
from nsor_client import lock_file, sqlite_file
from nsor_client._sync.client import Client
from nsor_client.cnic import Cnic
from nsor_client.credentials import write_private
from nsor_client.errors import NsorError
from nsor_client.following import Backoff, LineState, OnState, may_pass

Record: TypeAlias = Offender | Notice

_Record = TypeVar("_Record", Offender, Notice)

KEY_BYTES = 32

_NONCE_BYTES = 12

MAX_AGE = 3600.0
"""Seconds after which a mirror no longer answers, unless its node sets another bound. Assumed."""

ACKNOWLEDGE_SECONDS = 2.0
"""Time between two acknowledgements to the hub, at least."""

CLOCK_TOLERANCE = 5.0
"""Seconds by which the clock of this machine may be behind the hub's. Further behind, no age can be told."""

_COPY_AGAIN = {ErrorReason.ERROR_REASON_REVISION_COMPACTED, ErrorReason.ERROR_REASON_REVISION_EPOCH_CHANGED}

_SCHEMA = (
    "DROP TABLE IF EXISTS mirror",
    "DROP TABLE IF EXISTS record",
    """CREATE TABLE mirror (                     -- one row, once there is a whole copy
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        key_check BLOB    NOT NULL,               -- tells whether a key is the one of this mirror
        node      TEXT    NOT NULL,
        revision  TEXT    NOT NULL,               -- all changes up to it are in
        as_of     INTEGER NOT NULL                -- ... and everything committed before; nanoseconds since 1970
    ) STRICT""",
    """CREATE TABLE record (
        id   INTEGER PRIMARY KEY,
        name TEXT    NOT NULL UNIQUE,
        kind TEXT    NOT NULL,                    -- field of `Change`
        body BLOB    NOT NULL                     -- the message, sealed
    ) STRICT""",
    """CREATE TABLE number (                     -- by which records are found
        record INTEGER NOT NULL,
        cnic   BLOB    NOT NULL,                  -- keyed hash of a number that the person has, or had before
        PRIMARY KEY (record, cnic)
    ) STRICT, WITHOUT ROWID""",
    "PRAGMA user_version = 2",
)
# A mirror of an earlier version is built anew: who is not found by a number for want of a table would have no record.
_SCHEMA_VERSION = 2
_PUT = """
    INSERT INTO record (name, kind, body) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, body = excluded.body
    RETURNING id
"""
_ADVANCE = "UPDATE mirror SET revision = ?, as_of = max(as_of, ?) RETURNING as_of"
_COUNT = "SELECT count(*) FILTER (WHERE kind = 'offender'), count(*) FROM record"

_DAMAGED = "the mirror is damaged: build it again"


class MirrorError(Exception):
    """The mirror cannot do what was asked. The message holds nothing personal."""


@dataclass(frozen=True)
class Step:
    """A step of the work on a mirror. It is durable, unless it is a part of a new copy.

    Attributes:
        building: whether it is a part of a new copy, which takes the place of the old one when it is whole.
        changes: records and notices in it; 0 where only the time went on.
        revision: of the register, after it.
        as_of: everything committed before is in; of a part of a new copy, will be.
    """

    building: bool
    changes: int
    revision: str
    as_of: datetime


@dataclass(frozen=True)
class MirrorAnswer:
    """The answer to a check.

    Attributes:
        response: as the hub would give it; `as_of_time` is set whenever there is a copy, whatever the outcome.
        age: seconds since `as_of_time`, by the clock of this machine; None where there is no copy yet.
    """

    response: CheckCnicResponse
    age: float | None


@dataclass(frozen=True)
class MirrorStatus:
    """What a mirror holds.

    Attributes:
        node: that it belongs to.
        revision: of the register.
        as_of: everything committed before is in.
        age: seconds since then, by the clock of this machine.
        answers: whether it is fresh enough to answer checks.
        offenders: records of convicts.
        notices: what they notified.
    """

    node: str
    revision: str
    as_of: datetime
    age: float
    answers: bool
    offenders: int
    notices: int


def make_key(path: str | Path) -> bytes:
    """Makes a key, and keeps it in a file that only its owner can read.

    Raises:
        OSError: the file cannot be written.
    """
    key = urandom(KEY_BYTES)
    write_private(Path(path), key.hex().encode() + b"\n")
    return key


def read_key(path: str | Path) -> bytes:
    """Reads a key: 64 hexadecimal digits.

    Raises:
        MirrorError: the file holds none.
        OSError: it cannot be read.
    """
    try:
        key = bytes.fromhex(Path(path).read_text("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise MirrorError(f"{path} is not the key of a mirror")
    return key


class Mirror:
    """The records and notices that this node may see, in a SQLite file, with the revision that they are of.

    What came of the hub in one response, and the revision after it, are one transaction: a process that is killed at
    any moment leaves a whole copy of an earlier revision, and the next one goes on after it. A new copy is built in one
    transaction as well; until it is whole, the old one answers.

    Each record is encrypted (AES-256-GCM, bound to its name and kind), and found by keyed hashes of its numbers.
    This protects a file that gets lost, is copied or backed up *without its key*. It does not protect from who can read
    the key as well, nor from who can write the file: they could take records out, or put an older file in its place.

    A check leaves a trace at the hub only where it is the hub that answers; keep account of who asked the mirror.

    Use it as a context manager, and check in the thread that opened it. `build` and `follow` may run in another one, or
    in another process; one of them at a time.

    Args:
        key: 32 octets, see `make_key` and `read_key`.
        max_age: seconds; when the copy is older, checks end with OUTCOME_CANNOT_ANSWER.
        clock: gives the time, in UTC.

    Raises:
        MirrorError: the file is no mirror, or has another key, or is locked for longer than 10 s.
        OSError: it cannot be created or opened.
    """

    def __init__(
        self,
        path: str | Path,
        key: bytes,
        *,
        max_age: float = MAX_AGE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = Path(path)
        self._seal = _Seal(key)
        self._max_age = max_age
        self._clock = clock
        with _typed_errors():
            self._db = sqlite_file.connect(self._path)
            try:
                _make_tables(self._db)
                self._state(self._db)
            except (sqlite3.Error, MirrorError):
                self._db.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def check(self, cnic: str) -> MirrorAnswer:
        """Tells whether the holder of a CNIC is on the register, as the hub would: in one of four outcomes.

        OUTCOME_CANNOT_ANSWER means that there is no copy yet, that it is older than the bound, that the clock of this
        machine is behind the time of the copy, or that the record is in a state that this version does not know.

        Args:
            cnic: the number as it was typed, understood as the hub does.

        Raises:
            MirrorError: the file cannot be read.
        """
        try:
            number = Cnic.parse(cnic)
        except ValueError:
            number = None
        with self._one_moment():
            state = self._state(self._db)
            found = self._found(number) if number else []
        age = self._age(state) if state else None
        response = CheckCnicResponse(
            outcome=Outcome.OUTCOME_INVALID_CNIC,
            as_of_time=_timestamp(state.as_of) if state else None,
            revision=state.revision if state else "",
        )
        if number:
            response.masked_cnic = number.masked
            if self._is_fresh(age):
                response.outcome = _outcome(found)
            else:
                response.outcome = Outcome.OUTCOME_CANNOT_ANSWER
                response.cannot_answer_reason = CannotAnswerReason.CANNOT_ANSWER_REASON_STALE_DATA
        if response.outcome == Outcome.OUTCOME_HIT:
            response.person.CopyFrom(_disclosed(found))
        return MirrorAnswer(response, age)

    def status(self) -> MirrorStatus | None:
        """What the mirror holds; None where there is no copy yet.

        Raises:
            MirrorError: the file cannot be read.
        """
        with self._one_moment():
            state = self._state(self._db)
            [(offenders, records)] = self._db.execute(_COUNT)
        if state is None:
            return None
        age = self._age(state)
        as_of, fresh = _moment(_timestamp(state.as_of)), self._is_fresh(age)
        return MirrorStatus(state.node, state.revision, as_of, age, fresh, offenders, records - offenders)

    def offenders(self) -> Iterator[Offender]:
        """Every record, by name, as they were at one moment."""
        return self._records(Offender, "kind = 'offender' ORDER BY name")

    def notices(self) -> Iterator[Notice]:
        """Every notice, by name, as they were at one moment."""
        return self._records(Notice, "kind = 'notice' ORDER BY name")

    def build(self, client: Client, *, at_least_revision: str = "") -> Generator[Step]:
        """Builds a new copy from a snapshot, and puts it in the place of the old one when it is whole.

        Each step is a part of the snapshot; the last one, with `building` false, says that the copy is in place.
        Closing the iterator before leaves everything as it was.

        Args:
            at_least_revision: the copy must be as new as this revision, for example that of a write of one's own.

        Raises:
            NsorError: there is no line, or it broke: the old copy is still there; build again.
            MirrorError: another process is at work on the mirror, it belongs to another node, or the hub sent what this
                version does not know.
        """
        with self._writing(client) as db:
            yield from self._copy(db, client, at_least_revision)

    def follow(self, client: Client, *, on_state: OnState | None = None) -> Generator[Step]:
        """Keeps the mirror as new as the register, until the iterator is closed; builds it where there is none.

        Each step was durable before it is given, and the hub is told every few seconds how far that is. Where the line
        breaks it goes on when there is one again. Where the hub no longer has what changed since, or the register was
        restored, a new copy is built, while the old one answers as long as it is fresh enough.

        Args:
            on_state: told when it is connected, and each time that it waits for another try, and why.

        Raises:
            NsorError: one that no later try can mend, see `Client.watch_changes`.
            MirrorError: as `build`.
        """
        tell: OnState = on_state or (lambda _: None)
        with self._writing(client) as db:
            outdated = self._state(db) is None
            while True:
                if outdated:
                    yield from self._copy_patiently(db, client, tell)
                try:
                    yield from self._keep(db, client, tell)
                except NsorError as error:
                    if error.reason not in _COPY_AGAIN:
                        raise
                outdated = True

    def _copy_patiently(self, db: sqlite3.Connection, client: Client, tell: OnState) -> Generator[Step]:
        backoff = Backoff()
        while True:
            try:
                return (yield from self._copy(db, client))
            except NsorError as error:
                if not may_pass(error):
                    raise
                wait = backoff.next(error.retry_after)
                tell(LineState(error, wait))
                time.sleep(wait)

    def _copy(self, db: sqlite3.Connection, client: Client, at_least_revision: str = "") -> Generator[Step]:
        """Replaces everything in one transaction. Others see what was there before until it is committed."""
        part = GetSnapshotResponse()
        with _transaction(db), closing(client.get_snapshot(at_least_revision=at_least_revision)) as parts:
            db.execute("DELETE FROM record")
            db.execute("DELETE FROM number")
            db.execute("DROP INDEX IF EXISTS number_cnic")  # made anew in one go: its keys come in no order
            for part in parts:
                self._put(db, [("offender", record) for record in part.offenders])
                self._put(db, [("notice", record) for record in part.notices])
                yield Step(True, len(part.offenders) + len(part.notices), part.revision, _moment(part.as_of_time))
            db.execute("CREATE INDEX number_cnic ON number (cnic)")
            state = (1, self._seal.check, client.node, part.revision, part.as_of_time.ToNanoseconds())
            db.execute("INSERT OR REPLACE INTO mirror VALUES (?, ?, ?, ?, ?)", state)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or the log would stay as large as the register
        yield Step(False, 0, part.revision, _moment(part.as_of_time))

    def _keep(self, db: sqlite3.Connection, client: Client, tell: OnState) -> Generator[Step]:
        """Applies what comes: the changes of a response and its revision in one transaction."""
        state = self._state(db)
        assert state, "there is a copy"
        acknowledged_at = float("-inf")
        with closing(client.watch_changes(state.revision, on_state=tell)) as responses:
            for response in responses:
                changes = [change for event in response.events for change in event.changes]
                with _transaction(db):
                    self._put(db, map(_record_of, changes))
                    [(as_of,)] = db.execute(_ADVANCE, (response.revision, response.as_of_time.ToNanoseconds()))
                if time.monotonic() - acknowledged_at >= ACKNOWLEDGE_SECONDS:
                    _acknowledge(client, response.revision)
                    acknowledged_at = time.monotonic()
                yield Step(False, len(changes), response.revision, _moment(_timestamp(as_of)))

    def _put(self, db: sqlite3.Connection, records: Iterable[tuple[str, Record]]) -> None:
        for kind, record in records:
            [(id,)] = db.execute(_PUT, self._seal.row(kind, record)).fetchall()
            if isinstance(record, Notice):
                continue
            db.execute("DELETE FROM number WHERE record = ?", (id,))
            numbers = [(id, index) for index in self._seal.indexes(record)]
            db.executemany("INSERT INTO number VALUES (?, ?)", numbers)
            if record.status == OffenderStatus.OFFENDER_STATUS_SEALED:
                # Who it was about is erased everywhere; so is what they notified.
                db.execute("DELETE FROM record WHERE name GLOB ?", (f"{record.name}/*",))

    def _state(self, db: sqlite3.Connection) -> "_State | None":
        row = db.execute("SELECT key_check, node, revision, as_of FROM mirror").fetchone()
        if row is None:
            return None
        if row[0] != self._seal.check:
            # Found by another key's hash, every number would have no record.
            raise MirrorError("the mirror was made with another key")
        return _State(*row[1:])

    def _found(self, number: Cnic) -> list[Offender]:
        """The records that have a number."""
        index = self._seal.index(number.digits)
        found = list(self._records(Offender, "id IN (SELECT record FROM number WHERE cnic = ?)", index))
        if not all(index in self._seal.indexes(record) for record in found):
            raise MirrorError(_DAMAGED)
        return found

    def _records(self, kind: type[_Record], condition: str, *values: bytes) -> Iterator[_Record]:
        for row in self._db.execute(f"SELECT name, kind, body FROM record WHERE {condition}", values):
            yield kind.FromString(self._seal.body(*row))

    def _age(self, state: "_State") -> float:
        return (self._clock() - _moment(_timestamp(state.as_of))).total_seconds()

    def _is_fresh(self, age: float | None) -> bool:
        return age is not None and -CLOCK_TOLERANCE <= age <= self._max_age

    @contextmanager
    def _one_moment(self) -> Generator[None]:
        """What is read in the block is of one transaction, whatever another process commits meanwhile."""
        with _typed_errors():
            self._db.execute("BEGIN")
            with self._db:
                yield

    @contextmanager
    def _writing(self, client: Client) -> Generator[sqlite3.Connection]:
        """A connection of its own, since checks must not see what is not committed, and the right to write.

        The right is a lock that ends with the process, on a file beside the mirror.
        """
        lock = self._path.with_name(self._path.name + ".writing")
        with _typed_errors(), lock_file.alone(lock), closing(sqlite_file.connect(self._path)) as db:
            state = self._state(db)
            if state and state.node != client.node:
                raise MirrorError(f"the mirror is that of the node {state.node!r}: another one sees other records")
            yield db


@dataclass(frozen=True)
class _State:
    """How far a mirror is; `as_of` in nanoseconds since 1970."""

    node: str
    revision: str
    as_of: int


class _Seal:
    """What is done with the key of a mirror."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key of a mirror has {KEY_BYTES} octets")
        keys = HKDF(SHA256(), 2 * KEY_BYTES, salt=None, info=b"nsor mirror 1").derive(key)
        self._cipher = AESGCM(keys[:KEY_BYTES])
        self._index_key = keys[KEY_BYTES:]
        self.check = hmac.digest(self._index_key, b"key check", "sha256")

    def index(self, digits: str) -> bytes:
        """The keyed hash by which a number is found: a plain one of 13 digits would be tried out in minutes."""
        return hmac.digest(self._index_key, b"cnic " + digits.encode(), "sha256")

    def indexes(self, record: Offender) -> set[bytes]:
        """The keyed hashes of the numbers that a person has or had before, those of merged records among them.

        Raises:
            MirrorError: a number cannot be read.
        """
        people = [record.person, *record.other_identities]
        cnics = {cnic for who in people for cnic in (who.cnic, *(had.cnic for had in who.history.former_cnics)) if cnic}
        try:
            return {self.index(Cnic(cnic.replace("-", "")).digits) for cnic in cnics}
        except ValueError:
            raise MirrorError("the hub sent a record whose number cannot be read") from None

    def row(self, kind: str, record: Record) -> tuple[str, str, bytes]:
        """A record as it is stored: name, kind, sealed body."""
        nonce = urandom(_NONCE_BYTES)
        body = self._cipher.encrypt(nonce, record.SerializeToString(), _place(record.name, kind))
        return record.name, kind, nonce + body

    def body(self, name: str, kind: str, sealed: bytes) -> bytes:
        """The serialized message of a row.

        Raises:
            MirrorError: the row is not as it was written.
        """
        try:
            nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, body, _place(name, kind))
        except InvalidTag:
            raise MirrorError(_DAMAGED) from None


def _place(name: str, kind: str) -> bytes:
    """What a sealed body is bound to."""
    return f"record|{kind}|{name}".encode()


def _record_of(change: Change) -> tuple[str, Record]:
    match change.WhichOneof("record"):
        case "offender":
            return "offender", change.offender
        case "notice":
            return "notice", change.notice
        case None:
            # Passed over, it could be the one that matters.
            raise MirrorError("the hub sent a change that this version does not know: update nsor-client")


def _outcome(found: Collection[Offender]) -> Outcome.ValueType:
    """Only authorities have mirrors; for them, whoever has a conviction that stands is a hit."""
    states = {offender.status for offender in found}
    if OffenderStatus.OFFENDER_STATUS_REGISTERED in states:
        return Outcome.OUTCOME_HIT
    if not states:
        return Outcome.OUTCOME_NO_RECORD
    return Outcome.OUTCOME_CANNOT_ANSWER


def _disclosed(found: Iterable[Offender]) -> DisclosedPerson:
    person = next(o.person for o in found if o.status == OffenderStatus.OFFENDER_STATUS_REGISTERED)
    return DisclosedPerson(
        full_name=person.full_name,
        full_name_ur=person.full_name_ur,
        guardian_name=person.guardian_name,
        guardian_name_ur=person.guardian_name_ur,
        guardian_relation=person.guardian_relation,
        sex=person.sex,
    )


def _acknowledge(client: Client, revision: str) -> None:
    try:
        client.acknowledge_changes(revision)
    except NsorError as error:
        if not may_pass(error):  # otherwise a later one says it as well
            raise


def _moment(time: Timestamp) -> datetime:
    return time.ToDatetime(UTC)


def _timestamp(nanoseconds: int) -> Timestamp:
    time = Timestamp()
    time.FromNanoseconds(nanoseconds)
    return time


def _make_tables(db: sqlite3.Connection) -> None:
    """Makes the tables of a file that is new, or of an earlier version and so without a copy that can be used."""

    def made() -> bool:
        return db.execute("PRAGMA user_version").fetchone() == (_SCHEMA_VERSION,)

    if made():
        return
    with _transaction(db):
        if not made():  # by another process meanwhile
            for statement in _SCHEMA:
                db.execute(statement)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    with db:
        yield


@contextmanager
def _typed_errors() -> Generator[None]:
    try:
        yield
    except lock_file.FileBusy as error:
        raise MirrorError("another process is at work on this mirror") from error
    except sqlite3.Error as error:
        raise MirrorError(f"the mirror cannot be used: {error}") from error
