"""Up to when the records of every province are at the hub: what outboxes report, and what checks tell of it."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import grpc
import pytest

from hub.store.feed import OUTBOXES_OF_A_NODE
from nsor.federation.v1.federation_service_pb2 import NodeProgress
from nsor.registry.v1.registry_service_pb2 import CreateOffenderRequest
from nsor_client import Client, InvalidRequest, Unavailable
from nsor_client.outbox import Outbox, Write, Written
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender
from tests.support.waiting import eventually

ON_THE_WAY = timedelta(seconds=10)


class Cut(Client):
    """A client whose line breaks when it writes."""

    def write(self, request: Write, *, timeout: float | None = None) -> Written:
        raise Unavailable(grpc.StatusCode.UNAVAILABLE, "the line broke")


@pytest.fixture
def sindh(hub: RunningHub) -> Iterator[Client]:
    with hub.client("sindh-police") as client:
        yield client


@pytest.fixture
def outbox(sindh: Client, tmp_path: Path) -> Iterator[Outbox]:
    """An outbox of Sindh, of which the hub knows nothing before and after."""
    with Outbox(tmp_path / "outbox.db") as outbox:
        yield outbox
        sindh.report_outbox(outbox.id, closed=True)


def progress(client: Client, node: str = "nodes/sindh-police") -> NodeProgress:
    """How far a node is; every police node is shown."""
    return next(each for each in client.get_federation_status().nodes if each.node == node)


def complete(client: Client) -> datetime:
    """Up to when the records of Sindh are at the hub."""
    return progress(client).complete_time.ToDatetime(UTC)


def test_what_waits_in_an_outbox_holds_the_time_back_until_it_is_sent(
    hub: RunningHub, sindh: Client, outbox: Outbox, tmp_path: Path
) -> None:
    began = datetime.now(UTC)
    outbox.send(sindh)
    at_first = complete(sindh)
    assert began - ON_THE_WAY <= at_first <= datetime.now(UTC) - ON_THE_WAY, "never ahead of what it can know"
    assert progress(sindh).slowest_outbox_id == outbox.id

    outbox.add(CreateOffenderRequest(offender=fresh_offender()))
    with sqlite3.connect(tmp_path / "outbox.db") as file:  # as if it had been added an hour ago
        file.execute("UPDATE entry SET add_time = ?", ((began - timedelta(hours=1)).isoformat(),))
    file.close()
    with Cut(hub.target, hub.credentials("sindh-police")) as cut:
        assert outbox.send(cut).stopped_by
    assert complete(sindh) == pytest.approx(began - timedelta(hours=1) - ON_THE_WAY, abs=timedelta(minutes=1))

    assert outbox.send(sindh).written == 1
    assert complete(sindh) > at_first


def test_the_slowest_outbox_of_a_node_counts_until_it_is_closed(sindh: Client, outbox: Outbox) -> None:
    other = str(uuid4())
    sindh.report_outbox(other, timedelta(days=2))
    outbox.send(sindh)
    assert complete(sindh) < datetime.now(UTC) - timedelta(days=2)
    assert progress(sindh).slowest_outbox_id == other
    sindh.report_outbox(other, closed=True)
    assert progress(sindh).slowest_outbox_id == outbox.id


@pytest.fixture
def others_reported(hub: RunningHub) -> Iterator[None]:
    """Police nodes that other tests have made report as well."""
    others = "SELECT id FROM node WHERE role = 'POLICE' AND id NOT IN ('punjab-police', 'sindh-police')"
    hub.sql(f"INSERT INTO node_outbox SELECT id, gen_random_uuid(), now() FROM ({others}) AS other")
    yield
    hub.sql(f"DELETE FROM node_outbox WHERE node_id IN ({others})")


@pytest.mark.usefixtures("others_reported")
def test_a_check_tells_up_to_when_the_records_of_every_province_are_here(
    hub: RunningHub, sindh: Client, outbox: Outbox
) -> None:
    with hub.client("punjab-police") as punjab, hub.client("sms-7000") as gateway:
        number, of_punjab = fresh_cnic(), str(uuid4())

        def told() -> str:
            answer = gateway.check_cnic(number)
            known = answer.HasField("provinces_as_of_time")
            return answer.provinces_as_of_time.ToJsonString() if known else "not known"

        assert not progress(sindh).HasField("complete_time")
        punjab.report_outbox(of_punjab, timedelta(days=4))
        eventually(lambda: told() == "not known")  # of Sindh

        sindh.report_outbox(outbox.id, timedelta(days=3))
        slowest = progress(punjab, "nodes/punjab-police").complete_time
        assert sindh.get_federation_status().provinces_as_of_time == slowest
        eventually(lambda: told() == slowest.ToJsonString())
        [of_roster] = gateway.check_many([number])
        assert of_roster.HasField("provinces_as_of_time")

        punjab.report_outbox(of_punjab, closed=True)


def test_the_outboxes_of_a_node_are_bounded(hub: RunningHub) -> None:
    hub.sql(
        "INSERT INTO node_outbox SELECT 'npb', gen_random_uuid(), now() FROM generate_series(1, %s)",
        OUTBOXES_OF_A_NODE,
    )
    with hub.client("npb") as npb:
        with pytest.raises(InvalidRequest):
            npb.report_outbox(str(uuid4()))
        [[known]] = hub.sql("SELECT outbox_id FROM node_outbox WHERE node_id = 'npb' LIMIT 1")
        npb.report_outbox(str(known))
    hub.sql("DELETE FROM node_outbox WHERE node_id = 'npb'")
