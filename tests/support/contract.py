"""The hub as its contract shows it: calls by the type of the request, errors decoded, rules read from `protos/`."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status
from grpc_tools import protoc

from nsor.common.v1 import access_pb2
from nsor.common.v1.error_reason_pb2 import ErrorReason, status_code
from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.federation.v1 import federation_service_pb2
from nsor.federation.v1.federation_service_pb2 import Event, WatchChangesRequest
from nsor.lookup.v1 import consent_service_pb2, lookup_service_pb2, vetting_service_pb2
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicRequest, CheckCnicResponse
from nsor.monitoring.v1 import monitoring_service_pb2
from nsor.monitoring.v1.monitoring_service_pb2 import ListNoticesRequest, RecordNoticeRequest
from nsor.monitoring.v1.notice_pb2 import TRAVEL_SCOPE_ABROAD, Notice, Travel
from nsor.registry.v1 import access_desk_service_pb2, registry_service_pb2
from nsor.registry.v1.identity_pb2 import IdentityEvent
from nsor.registry.v1.offender_pb2 import CourtEvent, Offender
from nsor.registry.v1.registry_service_pb2 import (
    AcceptTransferRequest,
    CreateOffenderRequest,
    CreateOffenderResponse,
    DeclineTransferRequest,
    GetOffenderRequest,
    ImportOffendersRequest,
    ImportOffendersResponse,
    MergeOffendersRequest,
    ProposeTransferRequest,
    RecordCourtEventRequest,
    ReportIdentityEventRequest,
    UpdateOffenderRequest,
    UpdateOffenderResponse,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

NODES = (
    "nadra",
    "npb",
    "punjab-police",
    "sindh-police",
    "punjab-prosecution",
    "sindh-prosecution",
    "lahore-high-court",
    "fia",
    "sed-punjab",
    "sms-7000",
)
"""The nodes that a development hub enrols."""

SERVICES: list[ServiceDescriptor] = [
    service
    for module in (
        registry_service_pb2,
        access_desk_service_pb2,
        lookup_service_pb2,
        consent_service_pb2,
        vetting_service_pb2,
        federation_service_pb2,
        monitoring_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS: dict[str, MethodDescriptor] = {method.name: method for service in SERVICES for method in service.methods}
UNARY = [method for method in METHODS.values() if not method.client_streaming and not method.server_streaming]

MAINTENANCE = OfficerContext(officer_id="P-10249", purpose="PURPOSE_RECORD_MAINTENANCE")
INVESTIGATION = OfficerContext(officer_id="P-40961", purpose="PURPOSE_INVESTIGATION", fir_number="123/2026")
OVERSIGHT = OfficerContext(officer_id="N-30001", purpose="PURPOSE_OVERSIGHT")

_PROTOS = Path(__file__).parents[2] / "protos"
_BY_REQUEST = {method.input_type.full_name: method for method in METHODS.values()}
_DEADLINE = 60.0  # seconds; reached only where the hub hangs


@dataclass(frozen=True)
class Refusal:
    """An error of the hub.

    Attributes:
        reason: without its prefix, for example "INVALID_FIELD".
        fields: path of each field that breaks a rule, and the rule.
        text: all that a reader of the error sees.
    """

    reason: str
    metadata: dict[str, str]
    fields: dict[str, str]
    text: str


class Node:
    """A node of the federation, with a line of its own to the hub."""

    def __init__(self, hub: RunningHub, name: str) -> None:
        self.name = f"nodes/{name}"
        self._channel = hub.channel(name)

    def call(self, request: Message, *, timeout: float = _DEADLINE) -> Any:
        """The response of the unary call that takes such a request."""
        method = _BY_REQUEST[request.DESCRIPTOR.full_name]
        response = self.call_bytes(method, request.SerializeToString(), timeout=timeout)
        return GetMessageClass(method.output_type).FromString(response)

    def call_bytes(self, method: MethodDescriptor, request: bytes, *, timeout: float = _DEADLINE) -> bytes:
        """The response of a method to these bytes; of a stream, the first one."""
        if not method.client_streaming and not method.server_streaming:
            return self._channel.unary_unary(path(method))(request, timeout=timeout)
        call = self._channel.stream_stream(path(method))(iter([request]), timeout=timeout)
        try:
            return next(call)
        finally:
            call.cancel()

    def refused(self, request: Message, *, timeout: float = _DEADLINE) -> Refusal:
        """The error with which the hub refuses the request; it must not tell anything personal."""
        refusal = refusal_of(lambda: self.call(request, timeout=timeout))
        assert not [text for text in personal_texts(request) if text in refusal.text]
        return refusal

    def create(self, offender: Offender | None = None) -> CreateOffenderResponse:
        """Enters a convict, by default one whom no other test uses."""
        return self.call(creation(offender))

    def get(self, name: str, officer: OfficerContext = MAINTENANCE) -> Offender:
        """Reads a record."""
        return self.call(GetOffenderRequest(name=name, officer=officer)).offender

    def update(self, offender: Offender, *paths: str) -> UpdateOffenderResponse:
        """Changes these fields of a record to what they are in `offender`."""
        return self.call(change(offender, *paths))

    def check(self, cnic: str, revision: str = "") -> CheckCnicResponse:
        """Checks a CNIC on data at least as new as a revision."""
        return self.call(CheckCnicRequest(cnic=cnic, at_least_revision=revision))

    def pages(self, request: Any) -> Iterator[Any]:
        """The pages that begin with a request, to the last one."""
        while True:
            page = self.call(request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def import_rows(self, rows: Iterable[ImportOffendersRequest]) -> list[ImportOffendersResponse]:
        """The results of a whole import."""
        with self.importing(rows) as results:
            return list(results)

    @contextmanager
    def importing(self, rows: Iterable[ImportOffendersRequest]) -> Generator[Iterator[ImportOffendersResponse]]:
        """An import while it runs; it is cut at the end of the block."""
        call = self._channel.stream_stream(
            path(METHODS["ImportOffenders"]),
            ImportOffendersRequest.SerializeToString,
            ImportOffendersResponse.FromString,
        )(iter(rows), timeout=_DEADLINE)
        try:
            yield call
        finally:
            call.cancel()

    @contextmanager
    def watching(self, after: str = "") -> Generator[Iterator[Any]]:
        """The responses of WatchChanges, to the end of the block."""
        method = METHODS["WatchChanges"]
        call = self._channel.unary_stream(path(method), None, GetMessageClass(method.output_type).FromString)(
            WatchChangesRequest(after=after).SerializeToString(), timeout=_DEADLINE
        )
        try:
            yield call
        finally:
            call.cancel()

    def events(self, after: str, until: str) -> list[Event]:
        """The events after a revision, up to the one that enters the record `until`."""
        found: list[Event] = []
        with self.watching(after) as responses:
            for response in responses:
                for event in response.events:
                    found.append(event)
                    if any(change.offender.name == until for change in event.changes):
                        return found
        raise AssertionError("the feed ended")


@cache
def node(hub: RunningHub, name: str, line: int = 0) -> Node:
    """A node of a hub, connected once; its further lines may end at other workers of the hub."""
    return Node(hub, name)


def path(method: MethodDescriptor) -> str:
    """Path of a method, as gRPC writes it."""
    return f"/{method.containing_service.full_name}/{method.name}"


def access(method: MethodDescriptor) -> access_pb2.MethodAccess:
    """Who may call the method, by the contract."""
    return method.GetOptions().Extensions[access_pb2.access]


def creation(offender: Offender | None = None) -> CreateOffenderRequest:
    """A request to enter a convict, by default one whom no other test uses."""
    return CreateOffenderRequest(offender=offender or fresh_offender(), request_id=str(uuid4()))


def change(offender: Offender, *paths: str) -> UpdateOffenderRequest:
    """A request to change these fields of a record to what they are in `offender`."""
    return UpdateOffenderRequest(offender=offender, update_mask=FieldMask(paths=paths), request_id=str(uuid4()))


def court_event(
    offender: Offender, event: CourtEvent.ValueType, *, number: int = 1, day: str = "2026-06-01"
) -> RecordCourtEventRequest:
    """A request to record what a court decided about a conviction of a record as it was read."""
    return RecordCourtEventRequest(
        name=offender.name,
        etag=offender.etag,
        conviction_number=number,
        event=event,
        event_date=day,
        reason="Crl. Appeal 120/2026, Lahore High Court",
        request_id=str(uuid4()),
    )


def merging(offender: Offender, duplicate: Offender) -> MergeOffendersRequest:
    """A request by which NPB makes two records, as they were read, one."""
    return MergeOffendersRequest(
        offender=offender.name,
        etag=offender.etag,
        duplicate=duplicate.name,
        duplicate_etag=duplicate.etag,
        reason="NADRA: one person, two cards",
        request_id=str(uuid4()),
        officer=OVERSIGHT,
    )


def identity_event(cnic: str, *, day: str = "2026-05-01", **detail: Any) -> ReportIdentityEventRequest:
    """A request by which NADRA reports something of the holder of a card, for example `new_name=NewName(...)`."""
    event = IdentityEvent(cnic=cnic, event_date=day, **detail)
    return ReportIdentityEventRequest(event=event, request_id=str(uuid4()))


def proposal(offender: Offender, receiver: str) -> ProposeTransferRequest:
    """A request to propose a record, as it was read, to another node."""
    name, etag, request_id = offender.name, offender.etag, str(uuid4())
    return ProposeTransferRequest(name=name, etag=etag, receiver=receiver, reason="moved", request_id=request_id)


def acceptance(offender: Offender, reason: str = "") -> AcceptTransferRequest:
    """A request to take over a record as it was read."""
    return AcceptTransferRequest(name=offender.name, etag=offender.etag, reason=reason, request_id=str(uuid4()))


def declination(offender: Offender) -> DeclineTransferRequest:
    """A request to end the proposal in a record as it was read."""
    return DeclineTransferRequest(name=offender.name, etag=offender.etag, reason="wrong", request_id=str(uuid4()))


def row(number: int, offender: Offender | None = None, request_id: str = "") -> ImportOffendersRequest:
    """A row of an import, by default with a convict whom no other test uses."""
    return ImportOffendersRequest(
        row=number, offender=offender or fresh_offender(), request_id=request_id or str(uuid4())
    )


def notification(parent: str) -> RecordNoticeRequest:
    """A request to record a journey of an offender."""
    travel = Travel(scope=TRAVEL_SCOPE_ABROAD, destination="AE", departure_date="2026-03-01", return_date="2026-03-20")
    notice = Notice(travel=travel, notified_date="2026-02-20")
    return RecordNoticeRequest(parent=parent, notice=notice, request_id=str(uuid4()))


def notices_of(parent: str, officer: OfficerContext = MAINTENANCE, **paging: Any) -> ListNoticesRequest:
    """A request to list the notices of an offender."""
    return ListNoticesRequest(parent=parent, officer=officer, **paging)


def refusal_of(action: Callable[[], object]) -> Refusal:
    """The error that a call ends with, after checking what the contract promises of every error."""
    try:
        action()
    except grpc.RpcError as error:
        return _decoded(error)
    raise AssertionError("the hub did not refuse")


def _decoded(error: Any) -> Refusal:
    status = rpc_status.from_call(error)
    assert status, f"the error is not typed: {error.code()} {error.details()}"
    info, bad_request = ErrorInfo(), BadRequest()
    assert sum(detail.Unpack(info) for detail in status.details) == 1, "not exactly one ErrorInfo"
    fields_named = sum(detail.Unpack(bad_request) for detail in status.details)
    assert info.domain == "nsor"
    reason = ErrorReason.DESCRIPTOR.values_by_name[info.reason]
    assert error.code().value[0] == status.code == reason.GetOptions().Extensions[status_code]
    assert fields_named == (info.reason == "ERROR_REASON_INVALID_FIELD"), "INVALID_FIELD names fields, and no other"
    return Refusal(
        reason=info.reason.removeprefix("ERROR_REASON_"),
        metadata=dict(info.metadata),
        fields={violation.field: violation.reason for violation in bad_request.field_violations},
        text=f"{error.details()}\n{info}\n{bad_request}",
    )


def at_once(count: int, action: Callable[[int], Any]) -> list[Any]:
    """What `action(0)` to `action(count - 1)` give when started together: responses, or the hub's refusals."""

    def attempt(number: int) -> Any:
        try:
            return action(number)
        except grpc.RpcError as error:
            return _decoded(error)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(attempt, range(count)))


def personal_texts(message: Message) -> Iterator[str]:
    """The texts in a message that the contract marks as personal, but none too short to be recognised."""
    for field, value in message.ListFields():
        for item in value if field.is_repeated else [value]:
            if isinstance(item, Message):
                yield from personal_texts(item)
            elif field.GetOptions().Extensions[access_pb2.sensitivity] and len(item) >= 5:
                yield item


def rows_written(sql: Callable[[str], list[Any]]) -> dict[str, int]:
    """How many rows the tables hold that a write fills; `sql` gives the rows of a query."""
    # One statement, since an event moves from the outbox to the feed at any time.
    [counts] = sql(
        """SELECT (SELECT count(*) FROM offender), (SELECT count(*) FROM offender_revision),
                  (SELECT count(*) FROM notice), (SELECT count(*) FROM request), (SELECT count(*) FROM access_step),
                  (SELECT count(*) FROM outbox) + (SELECT count(*) FROM feed_event)"""
    )
    return dict(zip(("offender", "offender_revision", "notice", "request", "access_step", "feed"), counts, strict=True))


@cache
def proto_files() -> FileDescriptorSet:
    """The contract, compiled from `protos/` with its comments."""
    files = [str(file.relative_to(_PROTOS)) for file in _PROTOS.glob("nsor/**/*.proto")]
    with TemporaryDirectory() as folder:
        output = Path(folder) / "contract.binpb"
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={output}"]
        well_known = Path(protoc.__file__).parent / "_proto"
        assert protoc.main(["protoc", f"-I{_PROTOS}", f"-I{well_known}", *options, *files]) == 0
        return FileDescriptorSet.FromString(output.read_bytes())


def rules(field: FieldDescriptor) -> Any:
    """The `buf.validate` rules of a field."""
    options = GetMessageClass(_rule_pool().FindMessageTypeByName("google.protobuf.FieldOptions"))
    extension = _rule_pool().FindExtensionByName("buf.validate.field")
    return options.FromString(field.GetOptions().SerializeToString()).Extensions[extension]


@cache
def _rule_pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in proto_files().file:
        pool.Add(file)
    return pool
