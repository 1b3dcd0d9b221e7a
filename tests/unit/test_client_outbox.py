"""The outbox by itself: what it keeps, in which order, and what it makes of the answers of a scripted hub."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from nsor.federation.v1.federation_service_pb2 import ReportOutboxResponse
from nsor.monitoring.v1.monitoring_service_pb2 import RecordNoticeRequest, RecordNoticeResponse
from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import CreateOffenderRequest, CreateOffenderResponse
from nsor_client import Client
from nsor_client.outbox import EntryState, Outbox, OutboxError
from tests.support.sdk_hub import CertificateAuthority, ScriptedHub, refuse

pytest_plugins = ["tests.support.sdk_fixtures"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def client(sdk_hub: ScriptedHub, sdk_ca: CertificateAuthority) -> Iterator[Client]:
    sdk_hub.answer("ReportOutbox", ReportOutboxResponse())
    with Client(sdk_hub.target, sdk_ca.credentials(), timeout=2) as client:
        yield client


def creation(district: str) -> CreateOffenderRequest:
    return CreateOffenderRequest(offender=Offender(district=district))


def answers(hub: ScriptedHub, refusals: dict[str, tuple[grpc.StatusCode, str]]) -> list[str]:
    """Makes the hub refuse the records of these districts and write the others; gives the districts written."""
    written: list[str] = []

    def create(request: CreateOffenderRequest, context: grpc.ServicerContext) -> CreateOffenderResponse:
        if refusal := refusals.get(request.offender.district):
            refuse(context, refusal[0], "why", f"ERROR_REASON_{refusal[1]}")
        written.append(request.offender.district)
        return CreateOffenderResponse(revision="e.7")

    hub.on["CreateOffender"] = create
    return written


def test_what_was_added_is_there_for_the_next_process_in_order(path: Path) -> None:
    notice = RecordNoticeRequest(parent="offenders/1", request_id=str(uuid4()))
    with Outbox(path) as outbox:
        first, second = outbox.add(creation("Lahore")), outbox.add(notice)
    with Outbox(path) as outbox:
        assert list(outbox.entries()) == [first, second]
    assert second.request == notice
    assert UUID(first.request.request_id)
    assert (first.kind, second.kind) == ("CreateOffender", "RecordNotice")
    assert first.state is EntryState.queued


def test_only_the_owner_of_the_file_can_read_it(path: Path) -> None:
    path.touch(mode=0o644)
    with Outbox(path) as outbox:
        outbox.add(creation("Lahore"))
        files = list(path.parent.glob("outbox.db*"))
        assert len(files) == 3  # the write-ahead log and its index hold the same data
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_nothing_of_what_has_left_stays_in_the_file(path: Path) -> None:
    with Outbox(path) as outbox:
        kept, gone = outbox.add(creation("Kept-District")), outbox.add(creation("Gone-District"))
        assert outbox.drop(gone.id)
        assert not outbox.drop(gone.id)
        assert list(outbox.entries()) == [kept]
    assert b"Kept-District" in path.read_bytes()
    assert b"Gone-District" not in path.read_bytes()


def test_adding_a_request_again_adds_nothing_but_another_under_its_id_is_refused(path: Path) -> None:
    with Outbox(path) as outbox:
        entry = outbox.add(creation("Lahore"))
        assert outbox.add(entry.request) == entry
        other = creation("Multan")
        other.request_id = entry.request.request_id
        with pytest.raises(OutboxError, match="another request"):
            outbox.add(other)
        assert list(outbox.entries()) == [entry]


def test_the_outbox_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsor_client.outbox.MAX_ENTRIES", 1)
    with Outbox(path) as outbox:
        with pytest.raises(OutboxError, match="larger"):
            outbox.add(creation("x" * 300_000))
        outbox.add(creation("Lahore"))
        with pytest.raises(OutboxError, match="full"):
            outbox.add(creation("Multan"))


def test_a_file_that_is_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(OutboxError, match="cannot be used"):
        Outbox(path)


def test_what_is_refused_stays_with_its_reason_and_stops_nothing(
    path: Path, client: Client, sdk_hub: ScriptedHub
) -> None:
    written = answers(sdk_hub, {"Nowhere": (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")})
    with Outbox(path) as outbox:
        for district in ("Lahore", "Nowhere", "Multan"):
            outbox.add(creation(district))
        results: list[Any] = []
        sent = outbox.send(client, lambda entry, answer: results.append((entry.id, type(answer).__name__)))
        assert (sent.written, sent.refused, sent.stopped_by) == (2, 1, None)
        assert results == [(1, "CreateOffenderResponse"), (2, "InvalidRequest"), (3, "CreateOffenderResponse")]
        [refused] = outbox.entries()
        assert refused.state is EntryState.refused
        assert "ERROR_REASON_INVALID_FIELD" in (refused.refusal or "")
        again = outbox.send(client)  # it is not sent a second time
    assert (again.written, again.refused) == (0, 0)
    assert written == ["Lahore", "Multan"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        # These are about the node, not about the entry: refusing all that waits would help nobody.
        (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_EXPIRED"),
        (grpc.StatusCode.PERMISSION_DENIED, "NODE_NOT_ACTIVE"),
    ],
)
def test_where_the_hub_cannot_be_asked_everything_waits_and_keeps_its_id(
    path: Path, client: Client, sdk_hub: ScriptedHub, code: grpc.StatusCode, reason: str
) -> None:
    answers(sdk_hub, {"Multan": (code, reason)})
    with Outbox(path) as outbox:
        _, second, third = (outbox.add(creation(district)) for district in ("Lahore", "Multan", "Quetta"))
        sent = outbox.send(client)
        assert sent.written == 1
        assert sent.stopped_by
        # A hub that is unavailable is asked again, which can take the whole time of the call.
        assert sent.stopped_by.code in (code, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert list(outbox.entries()) == [second, third]
        assert answers(sdk_hub, {}) == []
        assert outbox.send(client).written == 2
    assert sdk_hub.requests["CreateOffender"][-2:] == [second.request, third.request]


def test_a_record_of_another_owner_is_a_refusal(path: Path, client: Client, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["RecordNotice"] = lambda _, context: refuse(
        context, grpc.StatusCode.PERMISSION_DENIED, "why", "ERROR_REASON_NOT_OWNER"
    )
    with Outbox(path) as outbox:
        outbox.add(RecordNoticeRequest(parent="offenders/1"))
        assert outbox.send(client).refused == 1


def test_only_one_process_sends(path: Path, client: Client, sdk_hub: ScriptedHub) -> None:
    def record(request: RecordNoticeRequest, _: grpc.ServicerContext) -> RecordNoticeResponse:
        with Outbox(path) as second, pytest.raises(OutboxError, match="another process"):
            second.send(client)
        second_was_refused.append(True)
        return RecordNoticeResponse()

    second_was_refused: list[bool] = []
    sdk_hub.on["RecordNotice"] = record
    with Outbox(path) as outbox:
        outbox.add(RecordNoticeRequest(parent="offenders/1"))
        assert outbox.send(client).written == 1
    assert second_was_refused == [True]


def test_another_node_cannot_send_what_one_has_begun_to_send(
    path: Path, client: Client, sdk_hub: ScriptedHub, sdk_ca: CertificateAuthority
) -> None:
    answers(sdk_hub, {})
    with Outbox(path) as outbox, Client(sdk_hub.target, sdk_ca.credentials("fia")) as other:
        outbox.send(client)
        outbox.add(creation("Lahore"))
        with pytest.raises(OutboxError, match="punjab-police"):
            outbox.send(other)
        assert outbox.send(client).written == 1


def test_a_disk_that_refuses_is_told(path: Path) -> None:
    with Outbox(path) as outbox:
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE entry")
        other.close()
        with pytest.raises(OutboxError, match="cannot be used"):
            outbox.add(creation("Lahore"))


def test_a_clock_that_is_behind_an_entry_tells_no_wait(path: Path, client: Client, sdk_hub: ScriptedHub) -> None:
    answers(sdk_hub, {"Lahore": (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")})
    with Outbox(path) as outbox:
        outbox.add(creation("Lahore"))
        outbox.send(client)
        [report] = sdk_hub.requests["ReportOutbox"]
        assert report.oldest_wait.ToTimedelta() > timedelta(0)
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE entry SET add_time = ?", ((datetime.now(UTC) + timedelta(hours=1)).isoformat(),))
        outbox.send(client)
    assert len(sdk_hub.requests["ReportOutbox"]) == 1, "none is better than one of too short a wait"
