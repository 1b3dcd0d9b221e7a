"""A node compares its register with a real hub's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest

from nsor.federation.v1 import federation_service_pb2 as pb
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceStub
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE, Offender
from nsor_client import AsyncClient, Client, Credentials
from nsor_client.cli import main
from tests.support import certificates
from tests.support.contract import refusal_of
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender

RECORDS = 60  # more than the hub lists at once


class Station:
    """A police force of the test's own, and what it has entered."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        id, self.credentials = certificates.new_node(hub)
        self.name = f"nodes/{id}"
        with self.client() as client:
            written = [client.create_offender(fresh_offender()) for _ in range(RECORDS)]
        self.offenders: list[Offender] = [each.offender for each in written]
        self.revision = written[-1].revision
        self.cnics = [offender.person.cnic for offender in self.offenders]

    def client(self) -> Client:
        """A line to the hub."""
        return Client(self.hub.target, self.credentials)


@pytest.fixture(scope="module")
def station(hub: RunningHub) -> Station:
    return Station(hub)


def test_equal_registers_differ_in_nothing(station: Station) -> None:
    with station.client() as client:
        found = client.reconcile(station.cnics, at_least_revision=station.revision)
    assert (found.records, found.only_at_hub, found.only_at_node) == (RECORDS, [], [])


async def test_each_side_is_told_what_the_other_lacks_and_the_hub_keeps_the_counts(station: Station) -> None:
    unknown = fresh_cnic()
    async with AsyncClient(station.hub.target, station.credentials) as client:
        found = await client.reconcile([*station.cnics[2:], unknown], at_least_revision=station.revision)
        status = await client.get_federation_status()
    assert sorted(found.only_at_hub) == sorted(offender.name for offender in station.offenders[:2])
    assert found.only_at_node == [unknown]
    [progress] = [node for node in status.nodes if node.node == station.name]
    assert progress.reconcile_found == pb.ReconcileFound(records=RECORDS - 1, only_at_hub=2, only_at_node=1)
    assert progress.HasField("reconcile_time")
    assert not progress.HasField("acknowledge_time")


def test_records_of_others_count_only_where_everything_is_compared(hub: RunningHub, station: Station) -> None:
    with hub.client("punjab-police") as punjab:
        others = punjab.create_offender(fresh_offender())
    with station.client() as client:
        assert client.reconcile(station.cnics, at_least_revision=others.revision).only_at_hub == []
        found = client.reconcile(station.cnics, everything=True, at_least_revision=others.revision)
    assert others.offender.name in found.only_at_hub
    assert found.only_at_node == []


def test_a_record_that_was_set_aside_is_in_force_nowhere(hub: RunningHub, station: Station) -> None:
    with station.client() as client, hub.client("lahore-high-court") as court:
        written = client.create_offender(fresh_offender()).offender
        today = datetime.now(UTC).date().isoformat()
        lifted = court.record_court_event(written, 1, COURT_EVENT_SET_ASIDE, today, "Order 1/2026")
        with_it = [*station.cnics, written.person.cnic]
        assert client.reconcile(with_it, at_least_revision=lifted.revision).only_at_node == [written.person.cnic]
        assert client.reconcile(station.cnics, at_least_revision=lifted.revision).only_at_node == []


@pytest.fixture
def reconcile(station: Station) -> Iterator[Callable[..., "grpc.CallIterator[Any]"]]:
    """Sends steps as no SDK would."""
    credentials: Credentials = station.credentials
    with closing(grpc.secure_channel(station.hub.target, credentials.channel_credentials())) as channel:
        yield lambda steps: FederationServiceStub(channel).Reconcile(iter(steps), timeout=30)


BEGIN = pb.ReconcileRequest(begin=pb.ReconcileBegin(scope=pb.RECONCILE_SCOPE_OWN))
RANGES = pb.ReconcileRequest(ranges=pb.ReconcileRanges(ranges=[pb.RangeDigest(prefix="", digest=bytes(32))]))


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([], "step"),
        ([RANGES], "step"),
        ([BEGIN, BEGIN], "step"),
        ([BEGIN, RANGES], "step"),
        ([pb.ReconcileRequest(begin=pb.ReconcileBegin())], "begin.scope"),
        ([BEGIN, pb.ReconcileRequest(ranges=pb.ReconcileRanges())], "ranges.ranges"),
        (
            [BEGIN, pb.ReconcileRequest(ranges=pb.ReconcileRanges(ranges=[pb.RangeDigest(prefix="A")]))],
            "ranges.ranges[0].prefix",
        ),
        ([BEGIN, pb.ReconcileRequest(found=pb.ReconcileFound(records=-1))], "found.records"),
    ],
)
def test_steps_out_of_order_or_against_the_rules_are_refused(
    reconcile: Any, steps: Sequence[pb.ReconcileRequest], field: str
) -> None:
    refusal = refusal_of(lambda: list(reconcile(steps)))
    assert refusal.reason == "INVALID_FIELD"
    assert field in refusal.fields


def test_a_node_compares_one_register_at_a_time(reconcile: Any) -> None:
    enough = Event()

    def patient() -> Iterator[pb.ReconcileRequest]:
        yield BEGIN
        enough.wait(30)
        yield pb.ReconcileRequest(found=pb.ReconcileFound())

    first = reconcile(patient())
    next(first)
    assert refusal_of(lambda: next(reconcile([BEGIN]))).reason == "TOO_MANY_REQUESTS"
    enough.set()
    assert list(first) == []
    assert next(reconcile([BEGIN])).key


def test_the_command_reports_and_ends_with_its_own_code(station: Station, tmp_path: Path) -> None:
    folder, file, report = tmp_path / "node", tmp_path / "ours.csv", tmp_path / "report.csv"
    station.credentials.write(folder)
    cnics = [*station.cnics[1:], fresh_cnic()]
    file.write_text("name,cnic\n" + "".join(f"x,{cnic}\n" for cnic in cnics))
    options = ["--node", str(folder), "--target", station.hub.target]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()), pytest.raises(SystemExit) as ended:
        main([*options, "reconcile", str(file), "--report", str(report)])
    assert ended.value.code == 7
    assert "1 only at the hub, 1 only at this node" in out.getvalue()
    assert report.read_text().splitlines() == [
        "only_at,record",
        f"hub,{station.offenders[0].name}",
        f"node,row {len(cnics)}",
    ]
    assert not any(cnic in out.getvalue() for cnic in cnics)
