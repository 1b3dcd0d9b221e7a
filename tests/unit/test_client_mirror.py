"""The mirror by itself: what it answers, what its file shows, and what it makes of the answers of a scripted hub."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import grpc
import pytest

import hub.domain.cnic
import nsor_client.cnic
from nsor.federation.v1.federation_service_pb2 import (
    AcknowledgeChangesResponse,
    Change,
    Event,
    GetSnapshotResponse,
    WatchChangesResponse,
)
from nsor.lookup.v1.lookup_service_pb2 import (
    CANNOT_ANSWER_REASON_STALE_DATA,
    OUTCOME_CANNOT_ANSWER,
    OUTCOME_HIT,
    OUTCOME_INVALID_CNIC,
    OUTCOME_NO_RECORD,
)
from nsor.monitoring.v1.notice_pb2 import NameChange, Notice
from nsor.registry.v1.offender_pb2 import (
    OFFENDER_STATUS_REGISTERED,
    OFFENDER_STATUS_SEALED,
    Offender,
    Person,
)
from nsor_client import Client, LineState, NsorError
from nsor_client.mirror import CLOCK_TOLERANCE, KEY_BYTES, Mirror, MirrorError, Step, make_key, read_key
from tests.support.sdk_hub import CertificateAuthority, ScriptedHub, refuse, whole_snapshot

pytest_plugins = ["tests.support.sdk_fixtures"]

KEY = bytes(range(KEY_BYTES))
AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAX_AGE = 60.0
LISTED, SET_ASIDE, NEWER, NOBODY = (f"91234-000000{n}-1" for n in range(4))


class Clock:
    """A clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.now = AS_OF

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mirror.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mirror(path: Path, clock: Clock) -> Iterator[Mirror]:
    with Mirror(path, KEY, max_age=MAX_AGE, clock=clock) as mirror:
        yield mirror


@pytest.fixture
def client(sdk_hub: ScriptedHub, sdk_ca: CertificateAuthority) -> Iterator[Client]:
    sdk_hub.answer("AcknowledgeChanges", AcknowledgeChangesResponse())
    with Client(sdk_hub.target, sdk_ca.credentials(), timeout=5) as client:
        yield client


def offender(cnic: str, status: Any = OFFENDER_STATUS_REGISTERED, name: str = "Naheed Fictitious") -> Offender:
    return Offender(
        name=f"offenders/{cnic}-of-the-test", etag="1", status=status, person=Person(cnic=cnic, full_name=name)
    )


def sealed(cnic: str) -> Offender:
    """What is left of the record of that person."""
    return Offender(name=offender(cnic).name, etag="2", status=OFFENDER_STATUS_SEALED)


def register(
    *offenders: Offender, notices: tuple[Notice, ...] = (), revision: str = "e.7"
) -> list[GetSnapshotResponse]:
    """A snapshot of these records."""
    parts = whole_snapshot(offenders, notices, revision)
    for part in parts:
        part.as_of_time.FromDatetime(AS_OF)
    return parts


def change(*records: Offender | Notice, revision: str, seconds: float = 0) -> WatchChangesResponse:
    """A response of the feed; known until so many seconds after the snapshot."""
    changes = [Change(offender=r) if isinstance(r, Offender) else Change(notice=r) for r in records]
    events = [Event(revision=revision, changes=changes)] if changes else []
    response = WatchChangesResponse(events=events, revision=revision)
    response.as_of_time.FromDatetime(AS_OF + timedelta(seconds=seconds))
    return response


def feed(*responses: WatchChangesResponse) -> Callable[[Any, grpc.ServicerContext], Iterator[WatchChangesResponse]]:
    """WatchChanges that sends these, whatever is asked for, and then stays silent."""

    def watch(_: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        ended = threading.Event()
        context.add_callback(ended.set)
        yield from responses
        assert ended.wait(30)

    return watch


def built(mirror: Mirror, client: Client, hub: ScriptedHub, *offenders: Offender, **more: Any) -> list[Step]:
    hub.on["GetSnapshot"] = lambda *_: iter(register(*offenders, **more))
    return list(mirror.build(client))


def followed(mirror: Mirror, client: Client, count: int, **options: Any) -> list[Step]:
    """The first steps of following."""
    with closing(mirror.follow(client, **options)) as steps:
        return [next(steps) for _ in range(count)]


def test_a_text_is_understood_exactly_as_the_hub_understands_it() -> None:
    # Neither can import the other, so both have the same text.
    hub_file, ours = (Path(module.__file__ or "") for module in (hub.domain.cnic, nsor_client.cnic))
    assert ours.read_text() == hub_file.read_text()


def test_the_four_answers(mirror: Mirror, client: Client, sdk_hub: ScriptedHub) -> None:
    built(
        mirror,
        client,
        sdk_hub,
        offender(LISTED),
        sealed(SET_ASIDE),
        offender(NEWER, 77),
    )
    answers = {cnic: mirror.check(cnic) for cnic in (LISTED, SET_ASIDE, NEWER, NOBODY, "nobody")}
    assert [answer.response.outcome for answer in answers.values()] == [
        OUTCOME_HIT,
        OUTCOME_NO_RECORD,
        OUTCOME_CANNOT_ANSWER,
        OUTCOME_NO_RECORD,
        OUTCOME_INVALID_CNIC,
    ]
    assert answers[LISTED].response.person.full_name == "Naheed Fictitious"
    assert answers[LISTED].response.masked_cnic == "91234-*****00-1"
    assert not any(a.response.HasField("person") for cnic, a in answers.items() if cnic != LISTED)
    assert all(a.response.as_of_time.ToDatetime(UTC) == AS_OF and a.age == 0 for a in answers.values())
    assert mirror.check("CNIC ۹۱۲۳۴–۰۰۰۰۰۰۰–۱").response.outcome == OUTCOME_HIT


@pytest.mark.parametrize(
    ("age", "answers"),
    [(0, True), (MAX_AGE, True), (MAX_AGE + 1, False), (-CLOCK_TOLERANCE, True), (-CLOCK_TOLERANCE - 1, False)],
)
def test_a_mirror_older_than_its_bound_or_of_the_future_does_not_answer(
    mirror: Mirror, clock: Clock, client: Client, sdk_hub: ScriptedHub, age: float, answers: bool
) -> None:
    built(mirror, client, sdk_hub, offender(LISTED))
    clock.now += timedelta(seconds=age)
    listed, nobody = mirror.check(LISTED), mirror.check(NOBODY)
    assert listed.age == nobody.age == age
    assert listed.response.outcome == (OUTCOME_HIT if answers else OUTCOME_CANNOT_ANSWER)
    assert nobody.response.outcome == (OUTCOME_NO_RECORD if answers else OUTCOME_CANNOT_ANSWER)
    assert listed.response.HasField("person") == answers
    assert (listed.response.cannot_answer_reason == CANNOT_ANSWER_REASON_STALE_DATA) != answers
    status = mirror.status()
    assert status
    assert (status.age, status.answers) == (age, answers)


def test_a_mirror_that_was_never_built_does_not_answer(mirror: Mirror) -> None:
    answer = mirror.check(LISTED)
    assert (answer.response.outcome, answer.age) == (OUTCOME_CANNOT_ANSWER, None)
    assert not answer.response.HasField("as_of_time")
    assert mirror.check("nobody").response.outcome == OUTCOME_INVALID_CNIC
    assert mirror.status() is None


def test_with_another_key_nothing_is_answered(mirror: Mirror, path: Path, client: Client, sdk_hub: ScriptedHub) -> None:
    with Mirror(path, bytes(KEY_BYTES)) as opened_before:
        built(mirror, client, sdk_hub, offender(LISTED))
        for use in (lambda: opened_before.check(LISTED), opened_before.status, lambda: Mirror(path, bytes(KEY_BYTES))):
            with pytest.raises(MirrorError, match="another key"):
                use()
    with pytest.raises(ValueError, match="32 octets"):
        Mirror(path, b"short")


def test_a_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "node" / "mirror.key"
    key = make_key(file)
    assert read_key(file) == key
    assert len(key) == KEY_BYTES
    assert file.stat().st_mode & 0o777 == 0o600
    for content in ("", "00", "no key"):
        file.write_text(content)
        with pytest.raises(MirrorError, match="not the key of a mirror"):
            read_key(file)


def test_nothing_personal_is_in_the_files(mirror: Mirror, path: Path, client: Client, sdk_hub: ScriptedHub) -> None:
    notice = Notice(name="offenders/1/notices/1", name_change=NameChange(full_name="Newname Fictitious"))
    built(mirror, client, sdk_hub, offender(LISTED), notices=(notice,))
    changed = offender(LISTED, name="Changedname Fictitious")
    sdk_hub.on["WatchChanges"] = feed(change(changed, notice, revision="e.8"))
    followed(mirror, client, 1)
    files = {file: file.read_bytes() for file in path.parent.glob("mirror.db*")}
    assert {file.name for file in files} > {"mirror.db", "mirror.db-wal"}
    for canary in (b"Fictitious", LISTED[6:13].encode(), LISTED.replace("-", "").encode()):
        assert canary not in b"".join(files.values()).replace(b"%b-of-the-test" % LISTED.encode(), b"")
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert list(mirror.offenders()) == [changed]
    assert list(mirror.notices()) == [notice]


def test_a_number_that_is_moved_is_not_believed(
    mirror: Mirror, path: Path, client: Client, sdk_hub: ScriptedHub
) -> None:
    built(mirror, client, sdk_hub, offender(LISTED), offender(SET_ASIDE))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE number SET record = 3 - record")
    with pytest.raises(MirrorError, match="damaged"):
        mirror.check(LISTED)


def test_a_person_is_found_by_every_number_while_the_record_stands(
    mirror: Mirror, client: Client, sdk_hub: ScriptedHub
) -> None:
    renumbered = offender(NEWER)
    renumbered.name = offender(LISTED).name
    renumbered.person.history.former_cnics.add(cnic=LISTED, end_date="2026-01-01")
    built(mirror, client, sdk_hub, offender(LISTED))
    sdk_hub.on["WatchChanges"] = feed(change(renumbered, revision="e.8"), change(sealed(LISTED), revision="e.9"))
    with closing(mirror.follow(client)) as steps:
        next(steps)
        assert [mirror.check(cnic).response.outcome for cnic in (LISTED, NEWER)] == [OUTCOME_HIT, OUTCOME_HIT]
        next(steps)
        assert [mirror.check(cnic).response.outcome for cnic in (LISTED, NEWER)] == [OUTCOME_NO_RECORD] * 2


def test_a_mirror_of_an_earlier_version_answers_nothing_until_it_is_built_anew(
    path: Path, clock: Clock, client: Client, sdk_hub: ScriptedHub
) -> None:
    # It had no table of numbers, so who has another one now would have no record.
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE mirror (id INTEGER PRIMARY KEY, key_check BLOB, node TEXT, revision TEXT, as_of INTEGER)"
        )
        db.execute("CREATE TABLE record (name TEXT PRIMARY KEY, kind TEXT, cnic BLOB, body BLOB)")
        db.execute("INSERT INTO mirror VALUES (1, x'00', 'fia', 'e.6', 1)")
    with Mirror(path, KEY, max_age=MAX_AGE, clock=clock) as mirror:
        assert mirror.status() is None
        assert mirror.check(LISTED).response.outcome == OUTCOME_CANNOT_ANSWER
        built(mirror, client, sdk_hub, offender(LISTED))
    with Mirror(path, KEY, max_age=MAX_AGE, clock=clock) as mirror:
        assert mirror.check(LISTED).response.outcome == OUTCOME_HIT


@pytest.mark.parametrize("forgery", ["body = (SELECT body FROM record WHERE name LIKE '%0-1-of%')", "kind = 'notice'"])
def test_a_row_that_is_moved_is_not_believed(
    mirror: Mirror, path: Path, client: Client, sdk_hub: ScriptedHub, forgery: str
) -> None:
    built(mirror, client, sdk_hub, offender(LISTED), offender(SET_ASIDE))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE record SET {forgery} WHERE name LIKE '%1-1-of%'")
    with pytest.raises(MirrorError, match="damaged"):
        mirror.check(SET_ASIDE)


def test_changes_are_applied_with_their_revision_and_acknowledged(
    mirror: Mirror, path: Path, client: Client, sdk_hub: ScriptedHub
) -> None:
    built(mirror, client, sdk_hub, offender(LISTED))
    sdk_hub.on["WatchChanges"] = feed(
        change(sealed(LISTED), offender(NOBODY), revision="e.8", seconds=3), change(revision="e.9", seconds=2)
    )
    first, second = followed(mirror, client, 2)
    assert (first.changes, first.revision, first.as_of) == (2, "e.8", AS_OF + timedelta(seconds=3))
    assert second.as_of == first.as_of, "another worker of the hub may know a little less; the mirror does not forget"
    assert sdk_hub.requests["WatchChanges"][0].after == "e.7"
    assert sdk_hub.requests["AcknowledgeChanges"][0].revision == "e.8"
    assert mirror.check(LISTED).response.outcome == OUTCOME_NO_RECORD
    assert mirror.check(NOBODY).response.outcome == OUTCOME_HIT
    with Mirror(path, KEY) as reopened:
        status = reopened.status()
    assert status
    assert (status.node, status.revision, status.offenders, status.notices) == ("punjab-police", "e.9", 2, 0)


def test_the_time_stands_still_while_the_feed_catches_up(mirror: Mirror, client: Client, sdk_hub: ScriptedHub) -> None:
    built(mirror, client, sdk_hub, offender(LISTED))
    behind = change(offender(NOBODY), revision="e.8")
    behind.ClearField("as_of_time")
    sdk_hub.on["WatchChanges"] = feed(behind)
    [step] = followed(mirror, client, 1)
    assert step.as_of == AS_OF


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.OUT_OF_RANGE, "ERROR_REASON_REVISION_COMPACTED"),
        (grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_REVISION_EPOCH_CHANGED"),
    ],
)
def test_where_the_feed_cannot_go_on_a_new_copy_is_built_while_the_old_one_answers(
    mirror: Mirror, client: Client, sdk_hub: ScriptedHub, code: grpc.StatusCode, reason: str
) -> None:
    built(mirror, client, sdk_hub, offender(LISTED), revision="e.7")
    sdk_hub.on["GetSnapshot"] = lambda *_: iter(register(offender(NOBODY), offender(SET_ASIDE), revision="f.2"))

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        if request.after == "e.7":
            refuse(context, code, "why", reason)
        yield from feed(change(revision="f.3"))(request, context)

    sdk_hub.on["WatchChanges"] = watch
    with closing(mirror.follow(client)) as steps:
        for step in takewhile(lambda step: step.building, steps):
            assert step.revision == "f.2"
            assert mirror.check(LISTED).response.outcome == OUTCOME_HIT
            assert mirror.check(NOBODY).response.outcome == OUTCOME_NO_RECORD
        assert mirror.check(LISTED).response.outcome == OUTCOME_NO_RECORD
        assert mirror.check(NOBODY).response.outcome == OUTCOME_HIT
        assert next(steps).revision == "f.3"


def test_a_snapshot_that_is_cut_changes_nothing(mirror: Mirror, client: Client, sdk_hub: ScriptedHub) -> None:
    built(mirror, client, sdk_hub, offender(LISTED))
    before = mirror.status()
    sdk_hub.on["GetSnapshot"] = lambda *_: iter(register(offender(NOBODY), offender(SET_ASIDE), revision="e.9")[:-1])
    with pytest.raises(NsorError, match="cut before its end"):
        list(mirror.build(client))
    with closing(mirror.build(client)) as steps:  # as one that is interrupted
        assert next(steps).building
    assert mirror.status() == before
    assert mirror.check(NOBODY).response.outcome == OUTCOME_NO_RECORD


def test_following_builds_a_first_copy_as_soon_as_there_is_a_line(
    mirror: Mirror, client: Client, sdk_hub: ScriptedHub
) -> None:
    tries = iter([1, 2])

    def snapshot(_: Any, context: grpc.ServicerContext) -> Iterator[GetSnapshotResponse]:
        if next(tries) == 1:
            refuse(context, grpc.StatusCode.UNAVAILABLE, "starting", "ERROR_REASON_HUB_UNAVAILABLE")
        yield from register(offender(LISTED))

    states: list[LineState] = []
    sdk_hub.on["GetSnapshot"] = snapshot
    sdk_hub.on["WatchChanges"] = feed(change(revision="e.7"))
    steps = followed(mirror, client, 4, on_state=states.append)
    assert [step.building for step in steps] == [True, True, False, False]
    assert [state.connected for state in states] == [False, True]


def test_a_change_of_an_unknown_kind_stops_the_mirror_before_it(
    mirror: Mirror, client: Client, sdk_hub: ScriptedHub
) -> None:
    built(mirror, client, sdk_hub, offender(LISTED))
    unknown = change(revision="e.9", seconds=9)
    unknown.events.append(Event(revision="e.9", changes=[Change()]))
    sdk_hub.on["WatchChanges"] = feed(change(revision="e.8"), unknown)
    with closing(mirror.follow(client)) as steps:
        assert next(steps).revision == "e.8"
        with pytest.raises(MirrorError, match="update nsor-client"):
            next(steps)
    status = mirror.status()
    assert status
    assert status.revision == "e.8"


def test_one_process_works_on_a_mirror_and_of_one_node(
    mirror: Mirror, path: Path, client: Client, sdk_hub: ScriptedHub, sdk_ca: CertificateAuthority
) -> None:
    sdk_hub.on["GetSnapshot"] = lambda *_: iter(register(offender(LISTED)))
    building = mirror.build(client)
    next(building)
    with closing(building) as steps, Mirror(path, KEY) as other:
        with pytest.raises(MirrorError, match="another process"):
            next(other.build(client))
        assert other.status() is None, "reading goes on meanwhile"
        list(steps)
    with (
        Client(sdk_hub.target, sdk_ca.credentials("sindh-police")) as stranger,
        pytest.raises(MirrorError, match="'punjab-police'"),
    ):
        next(mirror.follow(stranger))


def test_a_file_that_is_no_mirror_is_refused(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    with pytest.raises(MirrorError, match="cannot be used"):
        Mirror(path, KEY)
