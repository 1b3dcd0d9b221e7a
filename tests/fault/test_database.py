"""What goes wrong around a hub: its database, its workers and its supervisor are killed and paused."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import TypeVar

import grpc
import psutil
import psycopg
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, CheckCnicRequest, Outcome
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceStub
from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import CreateOffenderRequest, UpdateOffenderRequest
from nsor.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from nsor_client import Client
from nsor_client.errors import error_from_rpc
from tests.support.contract import change, creation
from tests.support.fragile_hub import FragileHub, workers_of
from tests.support.people import fresh_cnic, fresh_offender
from tests.support.waiting import eventually

pytestmark = pytest.mark.fault

T = TypeVar("T")

CALL_SECONDS = 30
"""Longer than any call may take, whatever happens to the database."""

GONE_SECONDS = 60
"""Longer than a worker may live when its supervisor is dead."""

STALE = {"OUTCOME_CANNOT_ANSWER", "DATABASE_UNAVAILABLE"}
"""How checks may end while the database is gone."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FragileHub]:
    """A hub to be broken; each test leaves it running."""
    with FragileHub(tmp_path_factory.mktemp("fault") / "state") as hub:
        yield hub


class Line:
    """A line to the hub that tries nothing again: what the hub says is what is seen."""

    def __init__(self, hub: FragileHub, node: str = "punjab-police") -> None:
        self._channel = hub.channel(node)
        self._lookup = LookupServiceStub(self._channel)
        self._registry = RegistryServiceStub(self._channel)
        self._health = HealthStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def check(self, cnic: str, at_least: str = "") -> str:
        """How a check ends: its outcome, or the reason why there is none."""
        request = CheckCnicRequest(cnic=cnic, at_least_revision=at_least)
        return _end(lambda: Outcome.Name(self._lookup.CheckCnic(request, timeout=CALL_SECONDS).outcome))

    def write(
        self, request: CreateOffenderRequest | UpdateOffenderRequest, timeout: float = CALL_SECONDS
    ) -> Offender | str:
        """The record as it was written, or the reason why it was not."""
        create = isinstance(request, CreateOffenderRequest)
        method = self._registry.CreateOffender if create else self._registry.UpdateOffender
        return _end(lambda: method(request, timeout=timeout).offender)

    def convict(self) -> str:
        """CNIC of a new convict, whom the worker at the other end knows."""
        cnic, request = fresh_cnic(), creation(fresh_offender())
        request.offender.person.cnic = cnic
        # Again and again, since what the test before has broken may be mended in part only.
        eventually(lambda: isinstance(self.write(request), Offender))
        eventually(lambda: self.check(cnic) == "OUTCOME_HIT")
        return cnic

    def serving(self) -> bool:
        """What the health service says."""
        status = self._health.Check(HealthCheckRequest(), timeout=CALL_SECONDS).status
        return status == HealthCheckResponse.SERVING


def _end(call: Callable[[], T]) -> T | str:
    try:
        return call()
    except grpc.RpcError as error:
        reason = error_from_rpc(error).reason_name.removeprefix("ERROR_REASON_")
        if not reason:
            raise  # it hung until its deadline, or met nobody
        return reason


@pytest.fixture(autouse=True)
def whole_again(hub: FragileHub) -> None:
    """Whatever the test before has broken."""
    with closing(Line(hub)) as line:
        eventually(line.serving)


class TestPostgresql:
    def test_killed_under_load_is_told_and_survived(self, hub: FragileHub) -> None:
        """Every call ends, with its reason; what was acknowledged stands, and every request took effect once."""
        with closing(Line(hub)) as line:
            convict = line.convict()
        stop = Event()
        ends: list[list[str]] = [[] for _ in range(8)]

        def check(ends: list[str]) -> None:
            with closing(Line(hub, "sms-7000")) as line:
                while not stop.is_set():
                    ends.append(line.check(convict))

        def write(ends: list[str]) -> tuple[str, int]:
            """Changes one record again and again; gives its name and the number of acknowledged writes."""
            request: CreateOffenderRequest | UpdateOffenderRequest = creation()
            written = 0
            with closing(Line(hub)) as line:
                # Not before the last request was acknowledged: until then it is not known whether it took effect.
                while not (stop.is_set() and written and ends[-1] == "WRITTEN"):
                    record = line.write(request)
                    ends.append(record if isinstance(record, str) else "WRITTEN")
                    if isinstance(record, Offender):
                        name, written = record.name, written + 1
                        assert record.etag == f'"{written}"'
                        record.district = ("Lahore", "Multan")[written % 2]
                        request = change(record, "district")
            return name, written

        with ThreadPoolExecutor(len(ends)) as pool:
            running = [pool.submit((check, write)[number % 2], ends[number]) for number in range(len(ends))]
            try:
                eventually(lambda: all(len(seen) > 10 for seen in ends))
                hub.postgres.kill()
                eventually(lambda: all("DATABASE_UNAVAILABLE" in seen for seen in ends))
                recovered = [len(seen) for seen in ends]
                eventually(
                    lambda: all(
                        {"OUTCOME_HIT", "WRITTEN"}.intersection(seen[at:])
                        for seen, at in zip(ends, recovered, strict=True)
                    ),
                    60,
                )
            finally:
                stop.set()
            results = [future.result() for future in running]

        assert {end for seen in ends for end in seen} - STALE == {"OUTCOME_HIT", "WRITTEN"}
        for name, written in filter(None, results):
            record = name.removeprefix("offenders/")
            assert hub.sql("SELECT count(*) FROM offender_revision WHERE offender_id = %s", record) == [(written,)]
            changes = "SELECT count(*) FROM feed_event, jsonb_array_elements(changes) AS change WHERE change ->> 1 = %s"
            eventually(lambda: hub.sql(changes, record) == [(written,)])  # noqa: B023

    def test_standing_still_is_told_and_survived(self, hub: FragileHub) -> None:
        """A database that takes calls and answers none: each check ends all the same, and none says "no record"."""
        request = creation()
        with closing(Line(hub)) as line, closing(Line(hub)) as other, ThreadPoolExecutor(2) as pool:
            convict = line.convict()
            with hub.database_standing_still():
                with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                    line.write(request, timeout=0.5)
                ends = list(pool.map(other.check, [convict, fresh_cnic()]))
                assert STALE.issuperset(ends)
                eventually(lambda: not line.serving())
                assert line.check(convict) in STALE
            eventually(lambda: line.check(convict) == "OUTCOME_HIT")
            eventually(line.serving)
            # Whether it was written is not known; sent again, it is written once.
            first, again = line.write(request), line.write(request)
            assert first == again
            assert isinstance(first, Offender)

    def test_a_feed_that_stands_still_makes_data_old(self, hub: FragileHub) -> None:
        """The database answers, but nothing is sequenced: what is not known to be new is no answer."""
        with closing(Line(hub)) as line:
            convict = line.convict()
            with psycopg.connect(hub.dsn) as connection:
                connection.execute("SELECT FROM feed_head FOR UPDATE")
                eventually(lambda: line.check(convict) == "OUTCOME_CANNOT_ANSWER")
                assert line.check(fresh_cnic()) == "OUTCOME_CANNOT_ANSWER"
                eventually(lambda: not line.serving())
            eventually(lambda: line.check(convict) == "OUTCOME_HIT")
            assert line.check(fresh_cnic()) == "OUTCOME_NO_RECORD"

    def test_a_clock_that_was_set_back_makes_no_old_data_new(self, hub: FragileHub) -> None:
        """The head of the feed lies in the future of the database's clock: its age says nothing then."""
        with closing(Line(hub)) as line:
            convict = line.convict()

            def stalled() -> psycopg.Connection | None:
                """Holds the head of a feed that is an hour ahead; None if a sequencer was faster."""
                connection = psycopg.connect(hub.dsn)
                connection.execute("UPDATE feed_head SET as_of = clock_timestamp() + interval '1 hour'")
                connection.commit()
                row = connection.execute("SELECT as_of > clock_timestamp() FROM feed_head FOR UPDATE").fetchone()
                if row == (True,):
                    return connection
                connection.close()
                return None

            with eventually(stalled):
                eventually(lambda: line.check(convict) == "OUTCOME_CANNOT_ANSWER")
            eventually(lambda: line.check(convict) == "OUTCOME_HIT")
            # Without a write: the sequencer notices by itself.
            [(right,)] = hub.sql("SELECT as_of <= clock_timestamp() FROM feed_head")
            assert right


class TestWorkers:
    def test_when_one_is_killed_the_other_goes_on_and_a_new_one_comes(self, hub: FragileHub) -> None:
        before = hub.workers()
        assert len(before) == 2
        clients = [hub.client("sms-7000") for _ in range(8)]
        cnic = fresh_cnic()
        for client in clients:
            client.check_cnic(cnic)
        victim = before[0]

        victim.kill()
        # As the supervisor's child it stays a zombie until that looks; its line and its port are closed by then.
        eventually(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)
        for client in clients:
            client.check_cnic(cnic)

        eventually(lambda: set(hub.serving_workers()) - set(before))
        for client in clients:
            client.close()

    def test_none_is_left_when_the_supervisor_is_killed(self, hub: FragileHub) -> None:
        with closing(Line(hub)) as line:
            convict = line.convict()
        started = hub.workers()
        with hub.client("punjab-police") as client:
            # An open stream does not keep its worker.
            stream = client.watch_changes()
            next(stream)
            hub.kill()
            left_by_a_hub_that_served = left_of(started)

        command = [sys.executable, "-m", "hub", "dev", "--dir", str(hub.folder), "--listen", hub.target]
        with hub.log_file.open("ab") as log:
            supervisor = subprocess.Popen(command, stderr=log)
        try:
            started = eventually(lambda: workers_of(supervisor.pid), 60)
            # It looks at the world only when its supervisor is dead.
            started[0].suspend()
            # When the second is there, the first was told everything.
            started[1:] = eventually(lambda: workers_of(supervisor.pid)[1:], 60)
        finally:
            supervisor.kill()
            supervisor.wait()
        started[0].resume()
        left_by_a_hub_that_started = left_of(started)

        hub.start()
        assert (left_by_a_hub_that_served, left_by_a_hub_that_started) == ([], [])
        with closing(Line(hub)) as line:
            assert line.check(convict) == "OUTCOME_HIT"


def left_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that do not end in time; then they are killed."""
    _, alive = psutil.wait_procs(processes, GONE_SECONDS)
    for process in alive:
        process.kill()
    return alive


def test_the_state_survives_a_restart(hub: FragileHub) -> None:
    """Records, the history of the feed, and revision tokens that were given out before."""
    offender = fresh_offender()
    with hub.client("punjab-police") as client:
        created = client.create_offender(offender)
        after_create = created.revision
        created.offender.district = "Lahore"
        after_update = client.update_offender(created.offender, ["district"]).revision

    hub.stop()
    hub.start()

    with hub.client("punjab-police") as client:
        answer = client.check_cnic(offender.person.cnic, at_least_revision=after_update)
        assert (answer.outcome, answer.person.full_name) == (OUTCOME_HIT, offender.person.full_name)
        assert etags(client, after_create, created.offender.name) == ['"2"']
        assert etags(client, "0", created.offender.name) == ['"1"', '"2"']


def etags(client: Client, after: str, name: str) -> list[str]:
    """The versions of a record that the feed gives after a revision, until it has given everything."""
    found: list[str] = []
    for response in client.watch_changes(after):
        found += [c.offender.etag for e in response.events for c in e.changes if c.offender.name == name]
        if response.HasField("as_of_time"):
            break
    return found
