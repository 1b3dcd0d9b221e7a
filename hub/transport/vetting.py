"""`nsor.lookup.v1.VettingService` over gRPC."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from hub.service.vetting import Vetting
from hub.transport import convert
from hub.transport.convert.common import named_id, page, request_key, timestamp
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller, time_left
from nsor.lookup.v1 import vetting_service_pb2 as pb
from nsor.lookup.v1.vetting_service_pb2_grpc import VettingServiceServicer


class VettingServicer(VettingServiceServicer):
    """Converts, calls the use case, converts back."""

    def __init__(self, vetting: Vetting) -> None:
        self._vetting = vetting

    async def AddWatchedPeople(self, request: pb.AddWatchedPeopleRequest, context: Any) -> pb.AddWatchedPeopleResponse:
        people = convert.vetting.new_people(request)
        added = await self._vetting.add(current_caller(), request_key(request), people, time_left(context))
        return pb.AddWatchedPeopleResponse(
            watched_people=[f"watchedPeople/{id}" for id in added.people], added_count=added.count
        )

    async def RemoveWatchedPerson(
        self, request: pb.RemoveWatchedPersonRequest, context: Any
    ) -> pb.RemoveWatchedPersonResponse:
        key, id = request_key(request), named_id(request.name)
        await self._vetting.remove(current_caller(), key, id)
        return pb.RemoveWatchedPersonResponse()

    async def ListWatchedPeople(
        self, request: pb.ListWatchedPeopleRequest, context: Any
    ) -> pb.ListWatchedPeopleResponse:
        caller, size = current_caller(), page_size(request.page_size)
        after = last_item(caller.node.id, request, request.page_token, UUID)
        people, last = page(await self._vetting.people(caller, after=after, limit=size + 1), size)
        return pb.ListWatchedPeopleResponse(
            watched_people=[convert.vetting.watched_person_message(person) for person in people],
            next_page_token=page_token(caller.node.id, request, str(last.id)) if last else "",
        )

    async def WatchAlerts(self, request: pb.WatchAlertsRequest, context: Any) -> AsyncIterator[pb.WatchAlertsResponse]:
        after = named_id(request.after) if request.after else None
        async for told, as_of in self._vetting.watch(current_caller(), after):
            yield pb.WatchAlertsResponse(
                alerts=[convert.vetting.alert_message(each.alert, each.person, each.disclosed) for each in told],
                as_of_time=timestamp(as_of) if as_of else None,
            )
