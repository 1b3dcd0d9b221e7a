"""Data that may be old gives no answer, whoever asks, until it is known to be new again."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from nsor.lookup.v1.lookup_service_pb2 import (
    CANNOT_ANSWER_REASON_STALE_DATA,
    OUTCOME_CANNOT_ANSWER,
    OUTCOME_HIT,
    OUTCOME_NO_RECORD,
    CheckCnicResponse,
)
from nsor_client import Client
from tests.support.collector import Collector, collecting
from tests.support.contract import node
from tests.support.fragile_hub import workers_of
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic
from tests.support.waiting import eventually


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def hub(folder: Path, collector: Collector) -> Iterator[RunningHub]:
    """A hub of one worker, which takes nothing for new after 0.8 s without a sign of life."""
    environment = {
        "NSOR_FRESHNESS_BOUND": "0.8",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    with RunningHub(folder, workers=1, environment=environment) as running:
        yield running


@contextmanager
def feed_standing_still(hub: RunningHub) -> Generator[None]:
    """Nobody can move the feed while another holds its head."""
    with hub.connect() as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.execute("SELECT FROM feed_head FOR UPDATE")
        yield
        connection.rollback()


def is_stale(answer: CheckCnicResponse) -> bool:
    """Whether nothing is told but that the data may be old."""
    if answer.outcome != OUTCOME_CANNOT_ANSWER:
        return False
    assert answer.cannot_answer_reason == CANNOT_ANSWER_REASON_STALE_DATA
    assert not answer.HasField("person")
    assert not answer.HasField("as_of_time")
    return True


def serves(hub: RunningHub) -> bool:
    with hub.channel("npb") as channel:
        health: Any = HealthStub(channel)
        return health.Check(HealthCheckRequest(), timeout=10).status == HealthCheckResponse.SERVING


def test_old_data_gives_no_answer_and_a_worker_that_begins_has_none(hub: RunningHub, collector: Collector) -> None:
    convict = node(hub, "punjab-police").create()
    numbers = [convict.offender.person.cnic, fresh_cnic()]

    def answers(client: Client) -> list[CheckCnicResponse]:
        return [*map(client.check_cnic, numbers), *client.check_many(numbers)]

    with hub.client("sms-7000") as gateway, hub.client("punjab-police") as police:
        gateway.check_cnic(numbers[0], at_least_revision=convict.revision)
        for trouble in (lambda: None, lambda: workers_of(hub.pid)[0].kill()):
            with feed_standing_still(hub):
                trouble()
                eventually(lambda: all(map(is_stale, answers(gateway))))
                assert all(map(is_stale, answers(police))), "the same for who enforces the law"
                told = len(collector.points("nsor.feed.age"))
                eventually(lambda told=told: len(collector.points("nsor.feed.age")) > told + 1)
                assert collector.points("nsor.feed.age")[-1].value > 0.8, "so that an operator is called"
                eventually(lambda: not serves(hub))
            eventually(lambda: not any(map(is_stale, answers(gateway))))
            assert [each.outcome for each in answers(police)] == [OUTCOME_HIT, OUTCOME_NO_RECORD] * 2
            eventually(lambda: serves(hub))
