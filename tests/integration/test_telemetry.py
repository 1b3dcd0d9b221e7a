"""Traces and metrics as a real collector gets them, and that nobody's data is in them, nor in any log or file."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import product
from uuid import uuid4

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from hub.dev.postgres import EmbeddedPostgres, postgres_binaries
from nsor.common.v1.access_pb2 import ROLE_VETTING_AGENCY
from nsor.common.v1.officer_pb2 import PURPOSE_INVESTIGATION, PURPOSE_RECORD_MAINTENANCE, OfficerContext
from nsor.lookup.v1.consent_pb2 import PASSCODE_DELIVERY_SENT, GivenConsent
from nsor.lookup.v1.disclosure_pb2 import CHANNEL_SINGLE, DISCLOSURE_MODE_CONSENTED, DISCLOSURE_MODE_OFF
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_CANNOT_ANSWER, OUTCOME_HIT
from nsor.monitoring.v1.notice_pb2 import AddressChange, NameChange, Notice
from nsor.registry.v1.access_request_pb2 import ACCESS_SCOPE_PERSON, AccessRequest
from nsor.registry.v1.identity_pb2 import Death, IdentityEvent, NewCnic, NewGuardian, NewName
from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import ListOffendersRequest, SearchOffendersRequest
from nsor.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from nsor_client import Client, NsorError
from tests.support.collector import Collector, attributes, collecting
from tests.support.consents import given, mistyped, passcodes
from tests.support.contract import OVERSIGHT, creation, row
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender
from tests.support.vetting import alerts_until_now, teacher
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def tracing(collector: Collector) -> Iterator[TracerProvider]:
    """OpenTelemetry as a node's own application sets it up."""
    tracing = TracerProvider(resource=Resource.create({"service.name": "station"}))
    tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=collector.endpoint, insecure=True)))
    yield tracing
    tracing.shutdown()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[RunningHub]:
    """A hub that exports to the collector."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
    }
    with RunningHub(tmp_path_factory.mktemp("telemetry") / "state", environment=environment) as hub:
        yield hub


@pytest.fixture
def station(hub: RunningHub, tracing: TracerProvider) -> Iterator[Client]:
    """A police station that traces its calls."""
    with hub.client("punjab-police", tracer_provider=tracing) as client:
        yield client


class Trace:
    """The spans of one call: the client's, the hub's and the database's."""

    def __init__(self, collector: Collector, method: str) -> None:
        self.client = collector.spans("station")[-1]
        assert (self.client.name, self.client.kind) == (method, Span.SPAN_KIND_CLIENT)
        self._collector = collector

    @property
    def hub(self) -> Span:
        """The hub's span, which the client's begins."""
        [span] = eventually(lambda: self._children(self.client, Span.SPAN_KIND_SERVER))
        return span

    @property
    def database(self) -> list[Span]:
        """The database's spans, at least one, which the hub's begins."""
        return eventually(lambda: self._children(self.hub, Span.SPAN_KIND_CLIENT))

    def _children(self, parent: Span, kind: Span.SpanKind) -> list[Span]:
        spans = [span for span in self._collector.spans("nsor-hub") if span.trace_id == self.client.trace_id]
        return [span for span in spans if span.parent_span_id == parent.span_id and span.kind == kind]


class TestTraces:
    def test_one_trace_runs_from_the_client_through_the_hub_to_the_database(
        self, station: Client, collector: Collector
    ) -> None:
        station.create_offender(fresh_offender())
        trace = Trace(collector, "nsor.registry.v1.RegistryService/CreateOffender")
        assert trace.hub.name == trace.client.name
        assert attributes(trace.hub.attributes)["rpc.response.status_code"] == "OK"
        assert any("INSERT INTO offender" in attributes(span.attributes)["db.query.text"] for span in trace.database)
        assert {attributes(span.attributes)["db.system.name"] for span in trace.database} == {"postgresql"}

    def test_a_check_is_traced_to_the_database_too(self, station: Client, collector: Collector) -> None:
        """It is answered from memory, but not before its trace is durable: many share one transaction."""
        station.check_cnic(fresh_cnic())
        trace = Trace(collector, "nsor.lookup.v1.LookupService/CheckCnic")
        assert any("audit_entry" in attributes(span.attributes)["db.query.text"] for span in trace.database)

    def test_a_refusal_shows_its_status(self, station: Client, collector: Collector) -> None:
        with pytest.raises(NsorError):
            station.create_offender(fresh_offender(cnic="1"))
        trace = Trace(collector, "nsor.registry.v1.RegistryService/CreateOffender")
        assert attributes(trace.hub.attributes)["rpc.response.status_code"] == "INVALID_ARGUMENT"
        assert trace.hub.status.code == Status.STATUS_CODE_ERROR
        assert trace.client.status.code == Status.STATUS_CODE_ERROR

    def test_the_trace_of_a_watcher_ends_when_it_leaves(
        self, hub: RunningHub, station: Client, collector: Collector
    ) -> None:
        stream = station.watch_changes()
        next(stream)
        stream.close()
        trace = Trace(collector, "nsor.federation.v1.FederationService/WatchChanges")
        assert attributes(trace.hub.attributes)["rpc.response.status_code"] == "CANCELLED"
        assert "Failed to detach context" not in hub.log()

    def test_what_the_hub_does_by_itself_is_no_trace(self, hub: RunningHub, collector: Collector) -> None:
        """It asks its database many times a second: nobody could find the calls among that."""
        del hub
        before = len(collector.spans("nsor-hub"))
        points = len(collector.points("nsor.feed.age"))
        # As the points go on to come, time passes.
        eventually(lambda: len(collector.points("nsor.feed.age")) > points + 10)
        assert len(collector.spans("nsor-hub")) - before < 20


class TestMetrics:
    def test_calls_are_counted_by_method_and_status(self, station: Client, collector: Collector) -> None:
        station.check_cnic(fresh_cnic())
        with pytest.raises(NsorError):
            station.create_offender(fresh_offender(cnic="1"))

        def counted(method: str, status: str) -> bool:
            return any(
                point.attributes["rpc.method"].endswith(method)
                and point.attributes["rpc.response.status_code"] == status
                and point.value
                for point in collector.points("rpc.server.call.duration")
            )

        eventually(lambda: counted("CheckCnic", "OK"))
        eventually(lambda: counted("CreateOffender", "INVALID_ARGUMENT"))

    def test_checks_are_counted_by_outcome_and_role(self, station: Client, collector: Collector) -> None:
        for cnic in (fresh_cnic(), "no number"):
            station.check_cnic(cnic)

        def counted(outcome: str) -> bool:
            expected = {"outcome": outcome, "role": "POLICE"}
            return any(point.attributes == expected for point in collector.points("nsor.lookup.checks"))

        eventually(lambda: counted("NO_RECORD"))
        eventually(lambda: counted("INVALID_CNIC"))

    def test_checks_without_an_answer_are_counted_by_reason(self, hub: RunningHub, collector: Collector) -> None:
        """An operator is called for stale data, and not for what NPB decided."""
        expected = {"outcome": "CANNOT_ANSWER", "role": "PUBLIC_GATEWAY", "reason": "DISCLOSURE_OFF"}

        def counted() -> int:
            points = [point for point in collector.points("nsor.lookup.checks") if point.attributes == expected]
            return max((point.value for point in points), default=0)

        with hub.client("npb") as npb, hub.client("sms-7000") as gateway:
            policy = npb.get_disclosure_policy()
            modes = [rule.mode for rule in policy.rules]
            for rule in policy.rules:
                rule.mode = DISCLOSURE_MODE_OFF
            policy = npb.update_disclosure_policy(policy, OVERSIGHT)
            try:
                eventually(lambda: gateway.check_cnic(fresh_cnic()).outcome == OUTCOME_CANNOT_ANSWER)
                single = eventually(counted)
                assert len(list(gateway.check_many([fresh_cnic() for _ in range(200)]))) == 200
                eventually(lambda: counted() >= single + 200)
            finally:
                for rule, mode in zip(policy.rules, modes, strict=True):
                    rule.mode = mode
                npb.update_disclosure_policy(policy, OVERSIGHT)

    def test_the_age_of_the_data_is_known(self, hub: RunningHub, collector: Collector) -> None:
        del hub
        ages = eventually(lambda: collector.points("nsor.feed.age"))
        assert all(0 <= point.value < 60 for point in ages)

    def test_how_far_a_node_is_behind_is_known(self, station: Client, collector: Collector) -> None:
        with closing(station.watch_changes("0")) as responses:
            station.acknowledge_changes(next(responses).revision)
        for name in ("events_behind", "seconds_behind", "certificate_expiry"):
            [point, *_] = eventually(lambda name=name: collector.points(f"nsor.node.{name}"))
            assert point.attributes == {"nsor.node": "punjab-police"}
            assert point.value >= 0


CNIC, NEW_CNIC, UNKNOWN_CNIC = "94321-7654321-9", "94321-9988776-5", "94321-1234567-8"
PERSON = {
    "cnic": CNIC,
    "full_name": "Zhobaryal Qanarwala",
    "full_name_ur": "ژوبریال قناروالا",
    "guardian_name": "Dilkhushdad Qanarwala",
    "guardian_name_ur": "دلخوشداد قناروالا",
    "date_of_birth": "1961-07-19",
    "old_nic": "943-21-998874",
}
TEXTS = f"{PERSON['full_name']} {PERSON['full_name_ur']} {CNIC} +923009998877"
CANARIES = (
    *(CNIC, "9432176543219", "۹۴۳۲۱۷۶۵۴۳۲۱۹", UNKNOWN_CNIC, "9432112345678", "3009998877", "1961-07-19"),
    *("Zhobaryal", "Qanarwala", "ژوبریال", "قناروالا", "Dilkhushdad", "دلخوشداد"),
    *("Xerxesbaz", "خشیارباز", "Kanariya Lane"),
    *("94321998874", "943-21-998874", "QX7654321"),
    *(NEW_CNIC, "9432199887765", "Khudadadyar", "Gulandamshah", "2026-02-07"),
)
"""What must not be found anywhere: of one person who exists nowhere else."""

PASSCODES: list[str] = []
"""Those that the person got. Six digits can be anything, so they are looked for only where few digits stand."""

OFFICER = "L-77-Mitthu"
"""An officer, who is known to the audit log and to nobody else."""

MAINTENANCE = OfficerContext(officer_id=OFFICER, purpose=PURPOSE_RECORD_MAINTENANCE)
INVESTIGATION = OfficerContext(officer_id=OFFICER, purpose=PURPOSE_INVESTIGATION, fir_number="4321/2026")


def spellings(text: str) -> set[bytes]:
    """A text as it could stand in a file: plain, escaped, in hexadecimal, or hashed without a key."""
    plain = text.encode()
    hashes = {hashlib.new(name, plain).digest() for name in ("md5", "sha1", "sha256")}
    return {plain, json.dumps(text)[1:-1].encode(), *hashes} | {octets.hex().encode() for octets in {plain, *hashes}}


def found(content: bytes, *texts: str) -> list[str]:
    """Those of the texts that a content holds."""
    return [text for text in texts if any(spelling in content for spelling in spellings(text))]


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises((NsorError, grpc.RpcError)):
        yield


@contextmanager
def broken(hub: RunningHub, table: str) -> Iterator[None]:
    """A table that takes no row: PostgreSQL's errors then quote the row."""
    hub.sql(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
    try:
        yield
    finally:
        hub.sql(f"ALTER TABLE {table} DROP CONSTRAINT broken")


def use(hub: RunningHub) -> None:
    """Calls of every kind about the one person: good, refused, and while the database fails."""
    convict = fresh_offender(**PERSON)
    convict.person.passports.add(country="AFG", number="QX7654321")
    with (
        hub.client("punjab-police") as station,
        hub.client("sindh-police") as other,
        hub.client("sms-7000") as sms,
        hub.client("sed-punjab") as school,
        closing(hub.channel("punjab-police")) as channel,
    ):
        created = station.create_offender(convict, officer=MAINTENANCE)
        name = created.offender.name
        use_well(station, created.offender)
        use_the_access_desk(hub, other, name)
        report(hub)
        known = station.get_offender(name, MAINTENANCE)
        assert len(known.person.history.former_cnics) == 1
        for client in (station, other, sms):
            client.check_cnic(f"{TEXTS} {UNKNOWN_CNIC}")
            client.check_cnic(UNKNOWN_CNIC)
            assert client.check_cnic(CNIC, at_least_revision=created.revision).outcome == OUTCOME_HIT
            with refused():
                client.create_offender(convict)
            with refused():
                client.get_offender(name, MAINTENANCE if client is not station else OfficerContext())
            with refused():
                client.check_cnic(CNIC, at_least_revision=CNIC)
            with refused():
                client.check_cnic(TEXTS * 100)
        use_badly(station, convict, known)
        watch(school)
        ask_for_consent(hub, school)
        for method, request in (
            (RegistryServiceStub(channel).CreateOffender, creation(fresh_offender(full_name=TEXTS * 6000))),
            (RegistryServiceStub(channel).ListOffenders, ListOffendersRequest(page_token=TEXTS, officer=MAINTENANCE)),
        ):
            with refused():
                method(request)
        for path in ("nsor.registry.v1.RegistryService/CreateOffender", "nsor.registry.v1.RegistryService/No"):
            with refused():
                channel.unary_unary(f"/{path}")(b"\xff" + TEXTS.encode())
        use_in_spite_of_errors(hub, station, known)


def use_well(station: Client, convict: Offender) -> None:
    station.get_offender(convict.name, INVESTIGATION)
    list(station.list_offenders(MAINTENANCE))
    station.find_offender(INVESTIGATION, old_nic=PERSON["old_nic"])
    for wrong in ({"cnic": TEXTS * 2}, {"cnic": UNKNOWN_CNIC}, {"old_nic": TEXTS}):
        with refused():
            station.find_offender(INVESTIGATION, **wrong)
    person = convict.person
    for name, guardian in (
        (person.full_name, person.guardian_name),
        (person.full_name_ur, person.guardian_name_ur),
    ):
        sought = SearchOffendersRequest(person_name=name, guardian=guardian, date_of_birth=person.date_of_birth)
        assert station.search_offenders(sought, INVESTIGATION).candidates[0].offender == convict.name
    for notice in (
        NameChange(full_name="Xerxesbaz Qanarwala", full_name_ur="خشیارباز قناروالا", effective_date="2026-01-01"),
        AddressChange(address="House 7, Kanariya Lane", district="Lahore", effective_date="2026-01-01"),
    ):
        field = "name_change" if isinstance(notice, NameChange) else "address_change"
        notice = Notice(**{field: notice}, notified_date="2026-01-01")
        station.record_notice(convict.name, notice, officer=MAINTENANCE)
    list(station.list_notices(convict.name, MAINTENANCE))
    stream = station.watch_changes("0")
    assert any(CNIC in str(response) for response in stream)
    stream.close()


def watch(school: Client) -> None:
    """Vets the person, and is told of them."""
    school.add_watched_people([teacher(CNIC)])
    [alert] = alerts_until_now(school)
    assert alert.person.full_name
    for field, text in product(("cnic", "consent_reference", "reference"), (TEXTS, f"{CNIC} {TEXTS}")):
        wrong = teacher(UNKNOWN_CNIC)
        setattr(wrong, field, text)
        with refused():
            school.add_watched_people([teacher(CNIC), wrong])
    with refused():
        school.remove_watched_person(f"watchedPeople/{CNIC}")
    with refused():
        next(school.watch_alerts(TEXTS))


def ask_for_consent(hub: RunningHub, school: Client) -> None:
    """Checks the person with their consent, after wrong ones."""
    with hub.client("npb") as npb, hub.client("nadra") as nadra:
        policy = npb.get_disclosure_policy()
        for rule in policy.rules:
            if (rule.role, rule.channel) == (ROLE_VETTING_AGENCY, CHANNEL_SINGLE):
                rule.mode = DISCLOSURE_MODE_CONSENTED
        npb.update_disclosure_policy(policy, OVERSIGHT)
        eventually(lambda: school.check_cnic(CNIC).outcome == OUTCOME_CANNOT_ANSWER)
        school.request_consent(CNIC)
        school.request_consent(UNKNOWN_CNIC)
        with broken(hub, "consent"), refused():
            school.request_consent(NEW_CNIC, timeout=3)
        with refused():
            school.request_consent(TEXTS)
        brought, other = passcodes(nadra).values()
        PASSCODES.extend((brought.passcode, other.passcode))
        for wrong in (
            mistyped(brought),
            GivenConsent(name=brought.consent, passcode=TEXTS),
            GivenConsent(name=TEXTS, passcode=brought.passcode),
        ):
            with refused():
                school.check_cnic(CNIC, consent=wrong)
        with broken(hub, "audit_entry"), refused():
            school.check_cnic(CNIC, consent=given(brought), timeout=3)
        assert school.check_cnic(CNIC, consent=given(brought)).outcome == OUTCOME_HIT
        nadra.acknowledge_passcode(brought.consent, PASSCODE_DELIVERY_SENT)


def report(hub: RunningHub) -> None:
    """What NADRA says of the person, and what it is refused."""
    with hub.client("nadra") as nadra:
        nadra.report_identity_event(IdentityEvent(cnic=CNIC, event_date="2026-01-01", new_cnic=NewCnic(cnic=NEW_CNIC)))
        for cnic, day, detail in (
            (NEW_CNIC, "2026-01-01", {"new_name": NewName(full_name="Khudadadyar Qanarwala")}),
            (CNIC, "2026-01-01", {"new_guardian": NewGuardian(guardian_name="Gulandamshah", guardian_relation=1)}),
            (CNIC, "2026-02-07", {"death": Death()}),
        ):
            event = IdentityEvent(cnic=cnic, event_date=day, **detail)
            nadra.report_identity_event(event)
            with refused():
                nadra.report_identity_event(event)
        for wrong in ({"cnic": TEXTS * 10}, {"cnic": UNKNOWN_CNIC}, {"new_cnic": NewCnic(cnic=TEXTS)}):
            with refused():
                event = {"cnic": CNIC, "event_date": "2026-02-07", "death": Death()} | wrong
                nadra.report_identity_event(IdentityEvent(**event))


def use_the_access_desk(hub: RunningHub, other: Client, name: str) -> None:
    asked = AccessRequest(offender=name, scopes=[ACCESS_SCOPE_PERSON], police_station=TEXTS, reason=TEXTS)
    with refused():
        other.get_offender(name, INVESTIGATION)
    assert other.create_access_request(asked, INVESTIGATION).reason
    assert [each.reason for each in other.list_access_requests(INVESTIGATION)]
    for wrong in ("police_station", "reason"):
        setattr(asked, wrong, f"{TEXTS}\x00")
        with refused():
            other.create_access_request(asked, INVESTIGATION)
        setattr(asked, wrong, TEXTS)
    with broken(hub, "access_step"), refused():
        other.create_access_request(asked, INVESTIGATION, timeout=3)


def use_badly(station: Client, convict: Offender, created: Offender) -> None:
    """What breaks a rule, each time with the person's data in the field that breaks it."""
    for field in ("full_name", "date_of_birth"):
        with refused():
            station.create_offender(fresh_offender(**PERSON | {field: f"{TEXTS}\x00"}))
    for field, value in (("district", TEXTS), ("etag", TEXTS), ("name", TEXTS)):
        wrong = Offender()
        wrong.CopyFrom(created)
        setattr(wrong, field, value)
        with refused():
            station.update_offender(wrong, ["district"])
        with refused():
            station.update_offender(wrong, [TEXTS])
    rows = [row(1, convict), row(2, fresh_offender(full_name=TEXTS * 2, sex=0)), row(3)]
    assert [result.HasField("error") for result in station.import_offenders(rows)] == [True, True, False]
    request_id = str(uuid4())
    station.create_offender(fresh_offender(), request_id=request_id)
    with refused():
        station.create_offender(convict, request_id=request_id)
    with refused():
        station.create_offender(convict, request_id=TEXTS)


def use_in_spite_of_errors(hub: RunningHub, station: Client, created: Offender) -> None:
    for table in ("offender_revision", "request", "outbox", "audit_entry"):
        created.district = "Lahore"
        with broken(hub, table), refused():
            station.update_offender(created, ["district"], officer=INVESTIGATION, timeout=3)
    with broken(hub, "audit_entry"), refused():
        station.check_cnic(CNIC, officer=INVESTIGATION, timeout=3)
    hub.sql("ALTER TABLE offender_revision RENAME TO hidden")
    with refused():
        station.get_offender(created.name, INVESTIGATION, timeout=3)
    hub.sql("ALTER TABLE hidden RENAME TO offender_revision")
    EmbeddedPostgres(hub.folder / "postgres").kill()
    with suppress(NsorError):
        station.check_cnic(CNIC, officer=INVESTIGATION, timeout=3)

    def serves() -> bool:
        with suppress(NsorError):
            return bool(station.check_cnic(CNIC, officer=INVESTIGATION).outcome == OUTCOME_HIT)
        return False

    eventually(serves)


@pytest.fixture(scope="module")
def dump(hub: RunningHub) -> bytes:
    """What `pg_dump` writes after all that. The hub is stopped then, so that it has exported and written everything."""
    use(hub)
    dumped = subprocess.run([postgres_binaries() / "pg_dump", hub.dsn], capture_output=True, check=True)
    hub.stop()
    return dumped.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("dump")
class TestNobodysData:
    """After calls of every kind about one person: their data is in no trace, no metric, no log and no file."""

    def test_is_in_a_dump_of_the_database(self, dump: bytes) -> None:
        assert found(dump, *CANARIES) == []
        assert found(dump, OFFICER) == [OFFICER], "the search finds nothing at all"

    def test_is_in_what_the_database_keeps_of_a_consent(self, dump: bytes) -> None:
        [rows] = re.findall(rb"^COPY public\.consent .*?\n(.*?)^\\\.$", dump, re.DOTALL | re.MULTILINE)
        assert len(rows.splitlines()) == len(PASSCODES) == 2
        assert found(rows, *PASSCODES) == []

    def test_is_in_the_files_of_the_database(self, hub: RunningHub) -> None:
        """The write-ahead log among them: whoever gets a backup or a replica reads that."""
        files = {file: file.read_bytes() for file in (hub.folder / "postgres").rglob("*") if file.is_file()}
        assert {file for file, content in files.items() if found(content, *CANARIES)} == set()
        log = b"".join(content for file, content in files.items() if file.parent.name == "pg_wal")
        assert found(log, OFFICER) == [OFFICER], "the search finds nothing at all"

    def test_is_in_logs(self, hub: RunningHub) -> None:
        of_database, of_hub = (hub.folder / "postgres.log").read_bytes(), hub.log().encode()
        assert b"violates check constraint" in of_database
        assert b"fault in nsor.registry.v1.RegistryService/GetOffender" in of_hub
        assert found(of_database + of_hub, *CANARIES, OFFICER, *PASSCODES) == []

    def test_is_in_traces_and_metrics(self, collector: Collector) -> None:
        exported = b"".join(request.SerializeToString() for request in collector.requests)
        assert found(exported, "nsor.registry.v1.RegistryService/UpdateOffender"), "the search finds nothing at all"
        assert found(exported, *CANARIES, OFFICER, *PASSCODES) == []
