"""`nsor.federation.v1.FederationService` over gRPC."""

from collections.abc import AsyncIterator
from typing import Any

from nsor.federation.v1 import federation_service_pb2 as pb
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceServicer

from hub.domain.revision import Revision
from hub.service.federation import Federation
from hub.transport import convert
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller


class FederationServicer(FederationServiceServicer):
    """Calls the use cases and converts their answers."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation

    async def WatchChanges(
        self, request: pb.WatchChangesRequest, context: Any
    ) -> AsyncIterator[pb.WatchChangesResponse]:
        async for events, revision, as_of in self._federation.watch(current_caller(), request.after):
            yield pb.WatchChangesResponse(
                events=[
                    convert.event_message(event, Revision(revision.epoch, seq=event.seq).token) for event in events
                ],
                revision=revision.token,
                as_of_time=convert.timestamp(as_of) if as_of else None,
            )

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        caller, size = current_caller(), page_size(request.page_size)
        after = last_item(caller.node.id, request, request.page_token, str) or ""
        nodes, last = convert.page(await self._federation.list_nodes(after=after, limit=size + 1), size)
        return pb.ListNodesResponse(
            nodes=[convert.node_message(node) for node in nodes],
            next_page_token=page_token(caller.node.id, request, last.id) if last else "",
        )
