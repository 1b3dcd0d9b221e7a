"""`nsor.federation.v1.FederationService` over gRPC."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

from hub.domain.errors import Violation, invalid
from hub.domain.node import NodeState
from hub.domain.revision import Revision
from hub.service.federation import Federation
from hub.service.membership import Membership
from hub.transport import convert
from hub.transport.convert.common import page, request_key, timestamp
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller
from hub.transport.validation import validate
from nsor.federation.v1 import federation_service_pb2 as pb
from nsor.federation.v1 import node_pb2
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceServicer

_STEP_SECONDS = 60


class FederationServicer(FederationServiceServicer):
    """Calls the use cases and converts their answers.

    Args:
        ca_certificates: gives the CAs of the federation, in PEM.
    """

    def __init__(self, federation: Federation, membership: Membership, ca_certificates: Callable[[], str]) -> None:
        self._federation = federation
        self._membership = membership
        self._ca_certificates = ca_certificates

    async def WatchChanges(
        self, request: pb.WatchChangesRequest, context: Any
    ) -> AsyncIterator[pb.WatchChangesResponse]:
        async for events, revision, as_of in self._federation.watch(current_caller(), request.after):
            yield pb.WatchChangesResponse(
                events=[
                    convert.federation.event_message(event, Revision(revision.epoch, event.write).token)
                    for event in events
                ],
                revision=revision.token,
                as_of_time=timestamp(as_of) if as_of else None,
            )

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Any) -> AsyncIterator[pb.GetSnapshotResponse]:
        digest = hashlib.sha256()
        end = pb.SnapshotEnd()
        response = pb.GetSnapshotResponse()
        async for part, revision in self._federation.snapshot(current_caller(), request.at_least_revision):
            response = pb.GetSnapshotResponse(
                revision=revision.token,
                as_of_time=timestamp(part.as_of),
                offenders=[convert.registry.offender_message(offender) for offender in part.offenders],
                notices=[convert.monitoring.notice_message(notice) for notice in part.notices],
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

    async def ReportOutbox(self, request: pb.ReportOutboxRequest, context: Any) -> pb.ReportOutboxResponse:
        outbox_id = UUID(request.outbox_id)
        if request.closed:
            await self._federation.close_outbox(current_caller(), outbox_id)
        else:
            await self._federation.report_outbox(current_caller(), outbox_id, request.oldest_wait.ToTimedelta())
        return pb.ReportOutboxResponse()

    async def GetFederationStatus(
        self, request: pb.GetFederationStatusRequest, context: Any
    ) -> pb.GetFederationStatusResponse:
        status = await self._federation.status()
        provinces = status.provinces_as_of
        return pb.GetFederationStatusResponse(
            revision=Revision(status.epoch, status.head.write).token,
            as_of_time=timestamp(status.as_of),
            nodes=[convert.federation.progress_message(status, progress) for progress in status.nodes],
            provinces_as_of_time=timestamp(provinces) if provinces else None,
        )

    async def Reconcile(
        self, request_iterator: AsyncIterator[pb.ReconcileRequest], context: Any
    ) -> AsyncIterator[pb.ReconcileResponse]:
        caller = current_caller()
        begin = (await _next_step(request_iterator, "begin")).begin
        own = begin.scope == pb.RECONCILE_SCOPE_OWN
        async with self._federation.comparing(caller, own=own, at_least=begin.at_least_revision) as comparison:
            yield pb.ReconcileResponse(
                key=comparison.key,
                revision=comparison.revision.token,
                as_of_time=timestamp(comparison.as_of),
            )
            while (step := await _next_step(request_iterator, "ranges", "found")).HasField("ranges"):
                ranges = [(each.prefix, each.digest) for each in step.ranges.ranges]
                differences = await asyncio.to_thread(comparison.digests.compare, ranges)
                yield pb.ReconcileResponse(
                    differences=[convert.federation.difference_message(each) for each in differences]
                )
            await self._federation.keep_found(
                caller,
                records=step.found.records,
                only_at_hub=step.found.only_at_hub,
                only_at_node=step.found.only_at_node,
            )

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        caller, size = current_caller(), page_size(request.page_size)
        after = last_item(caller.node.id, request, request.page_token, str) or ""
        nodes, last = page(await self._federation.list_nodes(after=after, limit=size + 1), size)
        return pb.ListNodesResponse(
            nodes=[convert.federation.node_message(node) for node in nodes],
            next_page_token=page_token(caller.node.id, request, last.id) if last else "",
        )

    async def CreateNode(self, request: pb.CreateNodeRequest, context: Any) -> pb.CreateNodeResponse:
        token = await self._membership.create(
            current_caller(),
            request_key(request),
            id=request.node_id,
            **convert.federation.node_facts(request.node),
        )
        return pb.CreateNodeResponse(
            node=convert.federation.node_message(token.node),
            enrolment_token=token.text,
            token_expire_time=timestamp(token.expires_at),
        )

    async def CreateEnrolmentToken(
        self, request: pb.CreateEnrolmentTokenRequest, context: Any
    ) -> pb.CreateEnrolmentTokenResponse:
        node_id = convert.federation.node_id(request.name)
        token = await self._membership.create_token(current_caller(), request_key(request), node_id)
        return pb.CreateEnrolmentTokenResponse(
            enrolment_token=token.text, token_expire_time=timestamp(token.expires_at)
        )

    async def EnrolNode(self, request: pb.EnrolNodeRequest, context: Any) -> pb.EnrolNodeResponse:
        granted = await self._membership.enrol(request.enrolment_token, request.csr.encode())
        return pb.EnrolNodeResponse(
            certificate=granted.certificate,
            ca_certificates=self._ca_certificates(),
            node=convert.federation.node_message(granted.node),
        )

    async def RenewCertificate(self, request: pb.RenewCertificateRequest, context: Any) -> pb.RenewCertificateResponse:
        granted = await self._membership.renew(current_caller(), request.csr.encode())
        return pb.RenewCertificateResponse(
            certificate=granted.certificate,
            ca_certificates=self._ca_certificates(),
            node=convert.federation.node_message(granted.node),
        )

    async def SuspendNode(self, request: pb.SuspendNodeRequest, context: Any) -> pb.SuspendNodeResponse:
        return pb.SuspendNodeResponse(node=await self._set_state(request, NodeState.SUSPENDED))

    async def ResumeNode(self, request: pb.ResumeNodeRequest, context: Any) -> pb.ResumeNodeResponse:
        return pb.ResumeNodeResponse(node=await self._set_state(request, NodeState.ACTIVE))

    async def RevokeNode(self, request: pb.RevokeNodeRequest, context: Any) -> pb.RevokeNodeResponse:
        return pb.RevokeNodeResponse(node=await self._set_state(request, NodeState.REVOKED))

    async def _set_state(
        self, request: pb.SuspendNodeRequest | pb.ResumeNodeRequest | pb.RevokeNodeRequest, state: NodeState
    ) -> node_pb2.Node:
        node_id, reason = convert.federation.node_id(request.name), convert.federation.node_reason(request.reason)
        node = await self._membership.set_state(current_caller(), request_key(request), node_id, state, reason)
        return convert.federation.node_message(node)


async def _next_step(requests: AsyncIterator[pb.ReconcileRequest], *expected: str) -> pb.ReconcileRequest:
    """The next request of a comparison, which must be one of these steps."""
    try:
        async with asyncio.timeout(_STEP_SECONDS):
            request = await anext(requests, None)
    except TimeoutError:
        raise invalid(Violation("step", "TOO_LATE", f"must follow within {_STEP_SECONDS} seconds")) from None
    if request is None:
        raise invalid(Violation("step", "REQUIRED", "must follow: the stream ended before it"))
    validate(request)
    if request.WhichOneof("step") not in expected:
        raise invalid(Violation("step", "OUT_OF_ORDER", f"must be {' or '.join(expected)} here"))
    return request
