"""`nsor.federation.v1.FederationService` over gRPC."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from hub.domain.revision import Revision
from hub.service.federation import Federation
from hub.transport import convert
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller
from nsor.federation.v1 import federation_service_pb2 as pb
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceServicer


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

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Any) -> AsyncIterator[pb.GetSnapshotResponse]:
        digest = hashlib.sha256()
        end = pb.SnapshotEnd()
        response = pb.GetSnapshotResponse()
        async for part, revision in self._federation.snapshot(current_caller()):
            response = pb.GetSnapshotResponse(
                revision=revision.token,
                as_of_time=convert.timestamp(part.as_of),
                offenders=[convert.offender_message(offender) for offender in part.offenders],
                notices=[convert.notice_message(notice) for notice in part.notices],
            )
            for offender in response.offenders:
                digest.update(f"{offender.name} {offender.etag}\n".encode())
            for notice in response.notices:
                digest.update(f"{notice.name}\n".encode())
            end.offender_count += len(response.offenders)
            end.notice_count += len(response.notices)
            if response.offenders or response.notices:
                yield response
        end.checksum = digest.digest()
        yield pb.GetSnapshotResponse(revision=response.revision, as_of_time=response.as_of_time, end=end)

    async def AcknowledgeChanges(
        self, request: pb.AcknowledgeChangesRequest, context: Any
    ) -> pb.AcknowledgeChangesResponse:
        await self._federation.acknowledge(current_caller(), request.revision)
        return pb.AcknowledgeChangesResponse()

    async def GetFederationStatus(
        self, request: pb.GetFederationStatusRequest, context: Any
    ) -> pb.GetFederationStatusResponse:
        status = await self._federation.status()
        head = status.head.seq or 0
        return pb.GetFederationStatusResponse(
            revision=status.head.token,
            as_of_time=convert.timestamp(status.as_of),
            nodes=[
                pb.NodeProgress(
                    node=progress.node.name,
                    revision=Revision(status.head.epoch, seq=progress.seq).token,
                    acknowledge_time=convert.timestamp(progress.acknowledged_at),
                    events_behind=max(0, head - progress.seq),
                    seconds_behind=progress.behind.total_seconds(),
                    certificate_expire_time=convert.node_message(progress.node).certificate_expire_time,
                )
                for progress in status.nodes
            ],
        )

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        caller, size = current_caller(), page_size(request.page_size)
        after = last_item(caller.node.id, request, request.page_token, str) or ""
        nodes, last = convert.page(await self._federation.list_nodes(after=after, limit=size + 1), size)
        return pb.ListNodesResponse(
            nodes=[convert.node_message(node) for node in nodes],
            next_page_token=page_token(caller.node.id, request, last.id) if last else "",
        )
