"""`nsor.monitoring.v1.MonitoringService` over gRPC."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.service.monitoring import Monitoring
from hub.transport import convert
from hub.transport.convert.common import page, request_key
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller
from nsor.monitoring.v1 import monitoring_service_pb2 as pb
from nsor.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceServicer


class MonitoringServicer(MonitoringServiceServicer):
    """Converts, calls the use case, converts back."""

    def __init__(self, monitoring: Monitoring, clock: Callable[[], datetime]) -> None:
        self._monitoring = monitoring
        self._clock = clock

    async def RecordNotice(self, request: pb.RecordNoticeRequest, context: Any) -> pb.RecordNoticeResponse:
        recorded = await self._monitoring.record(
            current_caller(),
            convert.registry.offender_id(request.parent, "parent"),
            request_key(request),
            convert.monitoring.notice_facts(request.notice, self._clock()),
        )
        return pb.RecordNoticeResponse(
            notice=convert.monitoring.notice_message(recorded.notice), revision=recorded.revision.token
        )

    async def ListNotices(self, request: pb.ListNoticesRequest, context: Any) -> pb.ListNoticesResponse:
        caller, size = current_caller(), page_size(request.page_size)
        parent = convert.registry.offender_id(request.parent, "parent")
        before = last_item(caller.node.id, request, request.page_token, UUID)
        notices, last = page(await self._monitoring.list(caller, parent, before=before, limit=size + 1), size)
        return pb.ListNoticesResponse(
            notices=[convert.monitoring.notice_message(notice) for notice in notices],
            next_page_token=page_token(caller.node.id, request, str(last.id)) if last else "",
        )
