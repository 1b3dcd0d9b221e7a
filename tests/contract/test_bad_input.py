"""Bad input, at every unary RPC: one typed error that names the field and quotes nothing, and nothing written."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import psycopg
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from nsor.common.v1.access_pb2 import ROLE_POLICE
from nsor.federation.v1.federation_service_pb2 import (
    AcknowledgeChangesRequest,
    GetFederationStatusRequest,
    ListNodesRequest,
    ReportOutboxRequest,
)
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicRequest, GetAreaStatusRequest
from nsor.monitoring.v1.monitoring_service_pb2 import ListNoticesRequest
from nsor.monitoring.v1.notice_pb2 import TRAVEL_SCOPE_DOMESTIC, AddressChange, NameChange
from nsor.registry.v1.access_desk_service_pb2 import GetAccessRequestRequest, ListAccessRequestsRequest
from nsor.registry.v1.access_request_pb2 import ACCESS_REQUEST_STATE_REQUESTED
from nsor.registry.v1.offender_pb2 import FINALITY_FINAL, FINALITY_SET_ASIDE, Offender
from nsor.registry.v1.registry_service_pb2 import (
    CreateOffenderRequest,
    CreateOffenderResponse,
    FindOffenderRequest,
    GetOffenderRequest,
    GetPropagationRequest,
    ListOffenderRevisionsRequest,
    ListOffendersRequest,
    ListTransfersRequest,
    SearchOffendersRequest,
)
from tests.support.access import asking
from tests.support.contract import (
    INVESTIGATION,
    UNARY,
    Node,
    acceptance,
    access,
    change,
    creation,
    declination,
    notification,
    proposal,
    refusal_of,
    rows_written,
    rules,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender, fresh_old_nic, fresh_passport

pytest_plugins = ["tests.support.nodes"]

LIMIT_BYTES = 262_144
NOT_SET = object()
generated = settings(max_examples=10, deadline=None)
# Without the letters of error texts, so that a text which stands in an error was quoted there.
strange_texts = st.text(st.characters(exclude_categories=["Cs", "Ll", "Lu"]), min_size=1)

Refuses = Callable[[str, str, Any], list[str]]


def full_offender() -> Offender:
    """A record with every field that a request may set."""
    offender = fresh_offender()
    offender.convictions[0].finality_date = offender.convictions[0].conviction_date
    offender.person.old_nic = fresh_old_nic()
    offender.person.passports.append(fresh_passport())
    return offender


def full_creation() -> CreateOffenderRequest:
    """A request to enter a convict, with every field."""
    request = creation(full_offender())
    request.duplicate_override.not_the_same_as.append(f"offenders/{uuid4()}")
    request.duplicate_override.reason = "another person"
    return request


def valid(written: CreateOffenderResponse) -> dict[str, Any]:
    """For every unary RPC, valid requests with every field that may be set; new ones each time."""
    name = written.offender.name
    new_name, new_address = notification(name), notification(name)
    new_name.notice.name_change.CopyFrom(
        NameChange(full_name="Ahmed Khan", full_name_ur="احمد خان", effective_date="2026-01-01")
    )
    new_address.notice.address_change.CopyFrom(
        AddressChange(address="House 1, Street 2", district="Lahore", effective_date="2026-01-01")
    )
    requests = {
        "create": full_creation(),
        "get": GetOffenderRequest(name=name, version=1, at_least_revision=written.revision),
        "find": FindOffenderRequest(cnic=written.offender.person.cnic, at_least_revision=written.revision),
        "find-nic": FindOffenderRequest(old_nic=fresh_old_nic()),
        "find-passport": FindOffenderRequest(passport=fresh_passport()),
        "search": SearchOffendersRequest(
            person_name="Abdul Rehman",
            guardian="عبد الستار",
            date_of_birth="1985-03-02",
            district="Lahore",
            offence_code="PPC-376",
            finality=FINALITY_FINAL,
            fir_number="77/2024",
            max_results=10,
            at_least_revision=written.revision,
        ),
        "history": ListOffenderRevisionsRequest(name=name, page_size=10),
        "list": ListOffendersRequest(page_size=10, at_least_revision=written.revision),
        "update": change(written.offender, "person", "district", "convictions"),
        "propose": proposal(written.offender, "nodes/sindh-police"),
        "accept": acceptance(written.offender),
        "decline": declination(written.offender),
        "transfers": ListTransfersRequest(page_size=10, node="nodes/sindh-police"),
        "propagation": GetPropagationRequest(name=name),
        "check": CheckCnicRequest(cnic=written.offender.person.cnic, at_least_revision=written.revision),
        "area": GetAreaStatusRequest(district="Lahore", months=12),
        "acknowledge": AcknowledgeChangesRequest(revision=written.revision),
        "report": ReportOutboxRequest(outbox_id=str(UUID(int=1)), closed=True),
        "status": GetFederationStatusRequest(),
        "nodes": ListNodesRequest(page_size=10),
        "travel": notification(name),
        "new-name": new_name,
        "new-address": new_address,
        "notices": ListNoticesRequest(parent=name, page_size=10),
        "ask": asking(name),
        "asked": GetAccessRequestRequest(name=f"accessRequests/{UUID(int=1)}"),
        "all-asked": ListAccessRequestsRequest(page_size=10, state=ACCESS_REQUEST_STATE_REQUESTED),
    }
    for request in requests.values():
        if "reason" in request.DESCRIPTOR.fields_by_name:
            request.reason = "moved to Karachi"
        if "officer" in request.DESCRIPTOR.fields_by_name:
            request.officer.CopyFrom(INVESTIGATION)
    return requests


def fields(message: Message, prefix: str = "") -> Iterator[tuple[str, FieldDescriptor, Any]]:
    """Path, descriptor and value of every field that is set, at any depth."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        yield path, field, value
        if field.message_type and field.message_type.file.package.startswith("nsor."):
            yield from fields(value[0], f"{path}[0].") if field.is_repeated else fields(value, f"{path}.")


def cases(select: Callable[[FieldDescriptor], Any], *without: str) -> pytest.MarkDecorator:
    """Parametrizes a test by the requests and the paths in them whose fields are selected."""
    found = [
        pytest.param(kind, path, id=f"{kind}-{path}")
        for kind, path, field, _ in FIELDS
        if kind not in without and select(field)
    ]
    return pytest.mark.parametrize(("kind", "path"), found)


def values_against(field: FieldDescriptor, value: Any) -> list[Any]:
    """Values that break the rules which the contract states for a field."""
    rule = rules(field)
    bad: list[Any] = []
    if rule.required or rule.repeated.min_items:
        bad += [NOT_SET]
    if rule.required and is_text(field) and not is_revision(field):
        bad += [" ", "\t \n", "\u00a0\u2003\u3000"]
    if rule.repeated.max_items:
        bad += [[value[0]] * (rule.repeated.max_items + 1)]
    if rule.string.max_len:
        bad += ["x" * (rule.string.max_len + 1), "ی" * (rule.string.max_len + 1)]
    if has_pattern(field):
        bad += ["x", f" {value}", f"{value} ", f"{value}\n", f"{value}0", value[:-1], value[:-1] + "۱"]
    if rule.enum.defined_only:
        bad += [max(field.enum_type.values_by_number) + 1, -1, 2**31 - 1]
    if rule.HasField("int32"):
        bad += [rule.int32.gte - 1, rule.int32.lte + 1, -(2**31), 2**31 - 1]
    return bad


def is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING


def is_revision(field: FieldDescriptor) -> bool:
    # A token of the hub: what is wrong with one has reasons of its own.
    return field.name.endswith("revision")


def has_pattern(field: FieldDescriptor) -> bool:
    return bool(rules(field).string.pattern or rules(field).string.uuid)


def is_date(field: FieldDescriptor) -> bool:
    return field.name.endswith("_date") or field.name == "date_of_birth"


SAMPLE = CreateOffenderResponse(offender=full_offender(), revision="any")
SAMPLE.offender.name, SAMPLE.offender.etag = f"offenders/{UUID(int=1)}", '"1"'
FIELDS = [
    (kind, path, field, value)
    for kind, request in valid(SAMPLE).items()
    for path, field, value in fields(request)
    # The name and the etag in an update have tests of their own.
    if (kind, path) not in {("update", "offender.name"), ("update", "offender.etag")}
]


@pytest.fixture(scope="module")
def sql(hub: RunningHub) -> Iterator[Callable[[str], list[Any]]]:
    """Gives the rows of a query, on one connection for all the tests here."""
    with psycopg.connect(hub.dsn, autocommit=True) as connection:
        yield lambda query: connection.execute(query).fetchall()


@pytest.fixture
def written(punjab: Node) -> CreateOffenderResponse:
    """A record for the requests that need one."""
    return punjab.create(full_offender())


@pytest.fixture(autouse=True)
def _nothing_is_written(sql: Callable[[str], list[Any]], written: CreateOffenderResponse) -> Iterator[None]:
    before = rows_written(sql)
    yield
    assert rows_written(sql) == before


@pytest.fixture
def refuses(punjab: Node, written: CreateOffenderResponse) -> Refuses:
    """Checks that a valid request is refused once this value stands at this path, and gives the fields named."""

    def check(kind: str, path: str, value: Any) -> list[str]:
        request = valid(written)[kind]
        put(request, path, value)
        refusal = punjab.refused(request)
        assert refusal.reason == "INVALID_FIELD"
        assert refusal.fields.get(path), f"the field and the rule are not named: {refusal.fields}"
        assert not isinstance(value, str) or len(value) < 5 or value not in refusal.text, "the error quotes the value"
        return list(refusal.fields)

    return check


def put(request: Message, path: str, value: Any) -> None:
    """Sets the field at a path such as "offender.convictions[0].court"."""
    *parents, name = re.findall(r"\w+", path)
    target: Any = request
    for step in parents:
        target = target[int(step)] if step.isdigit() else getattr(target, step)
    if value is NOT_SET or isinstance(value, list):
        target.ClearField(name)
    if isinstance(value, list):
        getattr(target, name).extend(value)
    elif value is not NOT_SET:
        setattr(target, name, value)


def test_every_unary_rpc_is_tried() -> None:
    tried = {request.DESCRIPTOR.name for request in valid(SAMPLE).values()}
    of_police = {method.input_type.name for method in UNARY if ROLE_POLICE in access(method).roles}
    # What is in a CSR has a reason of its own, see test_enrolment.py; so do the calls of NPB.
    assert tried == of_police - {"RenewCertificateRequest"}


@pytest.mark.parametrize(
    ("kind", "path", "values"),
    [
        pytest.param(kind, path, values, id=f"{kind}-{path}")
        for kind, path, field, value in FIELDS
        if (values := values_against(field, value))
    ],
)
def test_a_rule_of_the_contract_holds(refuses: Refuses, kind: str, path: str, values: list[Any]) -> None:
    for value in values:
        assert refuses(kind, path, value) == [path]


@cases(has_pattern)
def test_no_text_gets_past_a_pattern(refuses: Refuses, kind: str, path: str) -> None:
    @generated
    @given(strange_texts)  # none is valid by accident
    def each(text: str) -> None:
        refuses(kind, path, text)

    each()


@cases(lambda field: rules(field).enum.defined_only)
def test_no_number_gets_past_an_enum(refuses: Refuses, kind: str, path: str) -> None:
    @generated
    @given(st.integers(7, 2**31 - 1) | st.integers(-(2**31), -1))
    def each(number: int) -> None:
        refuses(kind, path, number)

    each()


@cases(is_date)
def test_a_day_that_no_calendar_has_is_refused(refuses: Refuses, kind: str, path: str) -> None:
    @generated
    @given(st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True).filter(lambda text: not a_day(text)))
    def each(text: str) -> None:
        refuses(kind, path, text)

    for text in ("2026-02-30", "2023-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "0000-01-01"):
        refuses(kind, path, text)
    each()


def a_day(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


@cases(lambda field: field.name in {"date_of_birth", "conviction_date", "finality_date", "notified_date"})
def test_what_is_said_to_have_happened_does_not_lie_ahead(refuses: Refuses, kind: str, path: str) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)  # wherever the hub's clock is

    @generated
    @given(st.dates(min_value=tomorrow))
    def each(day: date) -> None:
        refuses(kind, path, day.isoformat())

    refuses(kind, path, tomorrow.isoformat())
    each()


@cases(lambda field: field.name == "cnic", "check")
def test_what_is_no_cnic_is_refused(refuses: Refuses, kind: str, path: str) -> None:
    @generated
    @given(st.text("0123456789۰۱۲۳-. x", min_size=1, max_size=12) | strange_texts.filter(no_13_digits))
    def each(text: str) -> None:
        refuses(kind, path, text)

    for text in ("91234-1234567", "91234-1234567-12", "91234-1234567-1 91234-1234567-2", "01234-1234567-1"):
        refuses(kind, path, text)
    each()


def no_13_digits(text: str) -> bool:
    return sum(character.isdigit() for character in text) < 13


@cases(lambda field: field.name == "district")
def test_a_district_that_pakistan_does_not_have_is_refused(refuses: Refuses, kind: str, path: str) -> None:
    @generated
    @given(strange_texts.map(lambda text: f"{text[:60]} X"))
    def each(text: str) -> None:
        refuses(kind, path, text)

    for text in ("Nowhere", "Lahor", "Lahore, Punjab", "35202"):
        refuses(kind, path, text)
    each()


@cases(lambda field: is_text(field) and rules(field).string.max_len and not is_revision(field), "check")
def test_control_characters_are_refused(refuses: Refuses, kind: str, path: str) -> None:
    @generated
    @given(st.characters(categories=["Cc"]).filter(lambda character: not character.isspace()))
    def each(character: str) -> None:
        refuses(kind, path, f"Ab{character}cd")

    for character in "\0\x1b\x7f\x9b":
        refuses(kind, path, f"Ab{character}cd")
    each()


NAMES = ("full_name", "full_name_ur", "guardian_name", "guardian_name_ur")


@cases(lambda field: field.name in {*NAMES, "court", "case_number", "police_station", "officer_id"})
def test_one_line_of_text_stays_one_line(refuses: Refuses, kind: str, path: str) -> None:
    for character in "\n\r\t\v\x1e\x85":
        refuses(kind, path, f"Ab{character}cd")


@cases(lambda field: field.name in NAMES)
def test_a_name_that_nobody_can_see_is_refused(refuses: Refuses, kind: str, path: str) -> None:
    for name in ("\u200b", "\u200e\u200f", "\u2066\u2069", "\ufeff"):
        refuses(kind, path, name)


@cases(lambda field: field.name in NAMES)
def test_a_name_does_not_turn_the_text_around_it(refuses: Refuses, kind: str, path: str) -> None:
    # An override reverses what follows it on a screen and in a short message.
    for name in ("Ahmed\u202eKhan", "\u202dAhmed Khan"):
        refuses(kind, path, name)


@cases(lambda field: field.name in NAMES)
def test_a_name_is_in_its_script(refuses: Refuses, kind: str, path: str) -> None:
    refuses(kind, path, "Ahmed Khan" if path.endswith("_ur") else "احمد خان")


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("create", "offender.convictions[0].offence_code", "PPC-9999"),
        ("create", "offender.convictions[0].offence_code", "376"),
        ("create", "offender.convictions[0].finality_date", "1999-12-31"),
        ("create", "offender.convictions[0].finality", FINALITY_SET_ASIDE),
        ("update", "offender.convictions[0].finality", FINALITY_SET_ASIDE),
        ("update", "offender.convictions", []),
        ("update", "offender.convictions[0].offence_code", "PPC-9999"),
        ("update", "offender.convictions[0].finality_date", "1999-12-31"),
        ("update", "offender.person.cnic", "91234-1234567-1"),
        ("create", "offender.person.old_nic", "1234567890"),
        ("create", "offender.person.old_nic", "9123400000001"),
        ("create", "offender.person.passports[0].country", "XXX"),
        ("create", "offender.person.passports[0].number", "1234567890"),
        ("create", "offender.person.passports[0].number", "<<<"),
        ("update", "offender.person.old_nic", "1234567890"),
        ("find-nic", "old_nic", "123456789012"),
        ("find-passport", "passport.country", "XXX"),
        ("find-passport", "passport.number", "P<1234567"),
        ("search", "offence_code", "PPC-9999"),
        ("search", "person_name", "٪ 123"),
        ("search", "guardian", "名前"),
        ("update", "offender.name", NOT_SET),
        ("update", "offender.name", "offenders/somebody"),
        ("update", "offender.etag", NOT_SET),
        ("travel", "notice.travel.destination", "PK"),
        ("travel", "notice.travel.destination", "XX"),
        ("travel", "notice.travel.destination", "Atlantis"),
        ("travel", "notice.travel.return_date", "2026-02-28"),
    ],
    ids=lambda value: "unset" if value is NOT_SET else None,
)
def test_a_rule_of_the_register_holds(refuses: Refuses, kind: str, path: str, value: Any) -> None:
    assert refuses(kind, path, value) == [path]


def test_an_offence_that_was_not_in_force_is_refused(punjab: Node) -> None:
    request = creation()
    request.offender.person.date_of_birth = "1960-01-01"
    conviction = request.offender.convictions[0]
    conviction.offence_code, conviction.conviction_date = "PECA-22", "2010-06-01"  # the law is of 2016
    assert list(punjab.refused(request).fields) == ["offender.convictions[0].offence_code"]


def test_a_journey_within_pakistan_leads_to_a_district(punjab: Node, written: CreateOffenderResponse) -> None:
    request = notification(written.offender.name)
    request.notice.travel.scope, request.notice.travel.destination = TRAVEL_SCOPE_DOMESTIC, "AE"
    assert list(punjab.refused(request).fields) == ["notice.travel.destination"]


def test_a_notice_says_what_is_notified(punjab: Node, written: CreateOffenderResponse) -> None:
    request = notification(written.offender.name)
    request.notice.ClearField("travel")
    assert list(punjab.refused(request).fields) == ["notice.detail"]


@pytest.mark.parametrize(
    "wrong",
    [
        # Rules of the contract.
        {
            "offender.person.full_name": "",
            "offender.person.date_of_birth": "yesterday",
            "offender.convictions[0].fir_number": "x",
        },
        # Rules of the register: what a text means.
        {
            "offender.person.date_of_birth": "2026-02-30",
            "offender.person.full_name": " ",
            "offender.district": "Nowhere",
            "offender.convictions[0].court": " ",
        },
        # Rules of the register: what the facts say together.
        {
            "offender.convictions[0].offence_code": "PPC-9999",
            "offender.convictions[0].fir_number": "1/2099",
        },
    ],
)
def test_every_field_that_breaks_a_rule_of_one_kind_is_named(
    punjab: Node, written: CreateOffenderResponse, wrong: dict[str, str]
) -> None:
    for request in (valid(written)["create"], valid(written)["update"]):
        for path, value in wrong.items():
            put(request, path, value)
        assert set(punjab.refused(request).fields) == set(wrong)


@pytest.mark.parametrize("method", UNARY, ids=lambda method: method.name)
def test_bytes_that_are_no_message_are_refused(punjab: Node, method: MethodDescriptor) -> None:
    message = GetMessageClass(method.input_type)

    def is_message(data: bytes) -> bool:
        try:
            return bool(message.FromString(data)) or True
        except DecodeError:
            return False

    @generated
    @given(st.binary(min_size=1, max_size=200).filter(lambda data: not is_message(data)))
    def each(data: bytes) -> None:
        assert refusal_of(lambda: punjab.call_bytes(method, data)).reason == "INVALID_FIELD"

    each()


@pytest.mark.parametrize("kind", sorted({kind for kind, *_ in FIELDS}))
def test_a_message_that_was_cut_is_refused(punjab: Node, written: CreateOffenderResponse, kind: str) -> None:
    request = valid(written)[kind]
    [method] = [method for method in UNARY if method.input_type is request.DESCRIPTOR]
    cut = request.SerializeToString()[:-1]
    assert refusal_of(lambda: punjab.call_bytes(method, cut)).reason == "INVALID_FIELD"


def test_a_text_that_is_not_unicode_is_refused(punjab: Node) -> None:
    [method] = [method for method in UNARY if method.name == "CreateOffender"]
    data = creation().SerializeToString().replace(b"Anti-Rape", b"Anti-Rap\xff")
    assert refusal_of(lambda: punjab.call_bytes(method, data)).reason == "INVALID_FIELD"


@pytest.mark.parametrize("method", UNARY, ids=lambda method: method.name)
def test_a_message_that_is_too_large_is_refused(punjab: Node, method: MethodDescriptor) -> None:
    refusal = refusal_of(lambda: punjab.call_bytes(method, b"\0" * (LIMIT_BYTES + 1)))
    assert refusal.reason == "MESSAGE_TOO_LARGE"
    assert refusal.metadata == {"limit_bytes": str(LIMIT_BYTES)}


def test_a_huge_message_is_refused(punjab: Node) -> None:
    # Of this size gRPC refuses it without showing it to the hub, so there is a status and nothing more.
    with pytest.raises(grpc.RpcError) as error:
        punjab.call_bytes(UNARY[0], b"\0" * 8 * 1024 * 1024)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_message_that_is_just_small_enough_is_read(punjab: Node) -> None:
    request = creation()
    request.offender.convictions[0].court = "x" * (LIMIT_BYTES - 1000)
    request.offender.convictions[0].court += "x" * (LIMIT_BYTES - request.ByteSize())
    assert request.ByteSize() == LIMIT_BYTES
    assert list(punjab.refused(request).fields) == ["offender.convictions[0].court"]
