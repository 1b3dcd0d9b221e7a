"""`nsor.registry.v1.AccessDeskService` over gRPC."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from hub.domain.access import EVERYTHING, AccessRequest, AccessScope, AccessState, AccessStep
from hub.domain.errors import Violation, invalid
from hub.domain.node import Officer
from hub.domain.offender import offender_name
from hub.domain.ports import AccessPlace
from hub.service.access_desk import AccessDesk, Ruling
from hub.transport import convert
from hub.transport.convert.common import page, request_key, timestamp
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller
from nsor.common.v1 import officer_pb2
from nsor.registry.v1 import access_desk_service_pb2 as pb
from nsor.registry.v1 import access_request_pb2
from nsor.registry.v1.access_desk_service_pb2_grpc import AccessDeskServiceServicer


class AccessDeskServicer(AccessDeskServiceServicer):
    """Converts, calls the use case, converts back."""

    def __init__(self, desk: AccessDesk, clock: Callable[[], datetime]) -> None:
        self._desk = desk
        self._clock = clock

    async def CreateAccessRequest(
        self, request: pb.CreateAccessRequestRequest, context: Any
    ) -> pb.CreateAccessRequestResponse:
        asked, read = request.access_request, convert.common.Reader()
        police_station = read.text("access_request.police_station", asked.police_station)
        reason = read.text("access_request.reason", asked.reason)
        if read.violations:
            raise invalid(*read.violations)
        written = await self._desk.create(
            current_caller(),
            request_key(request),
            convert.registry.offender_id(asked.offender, "access_request.offender"),
            _scopes(asked.scopes),
            police_station,
            reason,
        )
        return pb.CreateAccessRequestResponse(access_request=self._message(written))

    async def ForwardAccessRequest(
        self, request: pb.ForwardAccessRequestRequest, context: Any
    ) -> pb.ForwardAccessRequestResponse:
        written = await self._desk.forward(current_caller(), _ruling(request))
        return pb.ForwardAccessRequestResponse(access_request=self._message(written))

    async def GrantAccessRequest(
        self, request: pb.GrantAccessRequestRequest, context: Any
    ) -> pb.GrantAccessRequestResponse:
        expires_at = _time("expire_time", request.expire_time) if request.HasField("expire_time") else None
        written = await self._desk.grant(current_caller(), _ruling(request), _scopes(request.scopes), expires_at)
        return pb.GrantAccessRequestResponse(access_request=self._message(written))

    async def DeclineAccessRequest(
        self, request: pb.DeclineAccessRequestRequest, context: Any
    ) -> pb.DeclineAccessRequestResponse:
        written = await self._desk.decline(current_caller(), _ruling(request))
        return pb.DeclineAccessRequestResponse(access_request=self._message(written))

    async def RevokeAccessRequest(
        self, request: pb.RevokeAccessRequestRequest, context: Any
    ) -> pb.RevokeAccessRequestResponse:
        written = await self._desk.revoke(current_caller(), _ruling(request))
        return pb.RevokeAccessRequestResponse(access_request=self._message(written))

    async def GetAccessRequest(self, request: pb.GetAccessRequestRequest, context: Any) -> pb.GetAccessRequestResponse:
        found = await self._desk.get(current_caller(), _id(request.name))
        return pb.GetAccessRequestResponse(access_request=self._message(found))

    async def ListAccessRequests(
        self, request: pb.ListAccessRequestsRequest, context: Any
    ) -> pb.ListAccessRequestsResponse:
        caller, size = current_caller(), page_size(request.page_size)
        after = last_item(caller.node.id, request, request.page_token, _place) or AccessPlace(self._clock())
        state = access_request_pb2.AccessRequestState.Name(request.state).removeprefix(_STATE)
        found = await self._desk.list(
            caller,
            state=AccessState(state) if request.state else None,
            overdue_only=request.overdue_only,
            after=after,
            limit=size + 1,
        )
        requests, last = page(found, size)
        next_place = f"{after.as_of.isoformat()} {last.overdue(after.as_of):d} {last.id}" if last else ""
        return pb.ListAccessRequestsResponse(
            access_requests=[self._message(each) for each in requests],
            next_page_token=page_token(caller.node.id, request, next_place) if last else "",
        )

    def _message(self, request: AccessRequest) -> access_request_pb2.AccessRequest:
        asked, grant = request.steps[0], request.grant
        return access_request_pb2.AccessRequest(
            name=request.name,
            offender=offender_name(request.offender_id),
            scopes=_scope_values(request.scopes),
            police_station=request.fir.police_station if request.fir else "",
            reason=asked.reason,
            node=f"nodes/{asked.node}",
            officer=_officer_message(asked.officer),
            state=access_request_pb2.AccessRequestState.Value(_STATE + request.state(self._clock())),
            etag=request.etag,
            create_time=timestamp(asked.at),
            due_time=timestamp(request.due_at),
            forwarding=_step_message(request.step(AccessState.FORWARDED)),
            decision=_step_message(request.step(AccessState.GRANTED, AccessState.DECLINED)),
            revocation=_step_message(request.step(AccessState.REVOKED)),
            granted_scopes=_scope_values(grant.scopes if grant else ()),
            expire_time=timestamp(grant.expires_at) if grant else None,
        )


_STATE, _SCOPE = "ACCESS_REQUEST_STATE_", "ACCESS_SCOPE_"

# By which scope a field of a record is released; none is needed for those that say nothing of the person. What stands
# not here needs all of them.
_NEEDED: dict[str, frozenset[AccessScope]] = {
    "person": frozenset({AccessScope.PERSON}),
    "district": frozenset({AccessScope.PERSON}),
    "other_identities": frozenset({AccessScope.PERSON}),
    "convictions": frozenset({AccessScope.CONVICTIONS}),
    **dict.fromkeys(
        ("name", "owner", "status", "etag", "create_time", "update_time", "transfer", "merged_into"), frozenset()
    ),
}


def release(offender: Message, scopes: frozenset[AccessScope]) -> None:
    """Clears the fields of a record that these scopes do not release."""
    for field, _ in offender.ListFields():
        if not _NEEDED.get(field.name, EVERYTHING) <= scopes:
            offender.ClearField(field.name)


def _scopes(values: Iterable[access_request_pb2.AccessScope.ValueType]) -> frozenset[AccessScope]:
    names = map(access_request_pb2.AccessScope.Name, values)
    return frozenset(AccessScope(name.removeprefix(_SCOPE)) for name in names)


def _scope_values(scopes: Iterable[AccessScope]) -> list[access_request_pb2.AccessScope.ValueType]:
    return sorted(access_request_pb2.AccessScope.Value(_SCOPE + scope) for scope in scopes)


def _step_message(step: AccessStep | None) -> access_request_pb2.AccessStep | None:
    if step is None:
        return None
    return access_request_pb2.AccessStep(
        node=f"nodes/{step.node}",
        officer=_officer_message(step.officer),
        reason=step.reason,
        time=timestamp(step.at),
    )


def _officer_message(officer: Officer | None) -> officer_pb2.OfficerContext | None:
    if officer is None:
        return None
    purpose = officer_pb2.Purpose.Value(f"PURPOSE_{officer.purpose}")
    return officer_pb2.OfficerContext(officer_id=officer.id, purpose=purpose, fir_number=officer.fir_number)


def _ruling(
    request: pb.ForwardAccessRequestRequest
    | pb.GrantAccessRequestRequest
    | pb.DeclineAccessRequestRequest
    | pb.RevokeAccessRequestRequest,
) -> Ruling:
    return Ruling(_id(request.name), request_key(request), request.etag, convert.common.reason(request.reason))


def _id(name: str) -> UUID:
    """The id in a resource name "accessRequests/{uuid}", whose form the contract has checked."""
    return UUID(name.removeprefix("accessRequests/"))


def _time(field: str, message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid(Violation(field, "INVALID_TIME", "is no time")) from None


def _place(text: str) -> AccessPlace:
    as_of, overdue, id = text.split()
    return AccessPlace(datetime.fromisoformat(as_of), overdue == "1", UUID(id))
