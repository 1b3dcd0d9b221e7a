"""`nsor.lookup.v1.LookupService` over gRPC."""

from typing import Any

from opentelemetry import metrics

from hub.service.lookup import Lookup
from hub.transport import convert
from hub.transport.pipeline import current_caller
from nsor.lookup.v1 import lookup_service_pb2 as pb
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceServicer

_checks = metrics.get_meter("nsor.hub").create_counter(
    "nsor.lookup.checks", "{check}", "Checks of a CNIC, by outcome and role of the caller."
)


class LookupServicer(LookupServiceServicer):
    """Calls the use case and converts its answer."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def CheckCnic(self, request: pb.CheckCnicRequest, context: Any) -> pb.CheckCnicResponse:
        caller = current_caller()
        # Half a second before the caller gives up, so that it still hears why.
        left: float | None = context.time_remaining()
        patience = None if left is None else max(0, left - 0.5)
        answer = await self._lookup.check(caller, request.cnic, request.at_least_revision, patience)
        _checks.add(1, {"outcome": answer.outcome, "role": caller.node.role})
        return convert.answer_message(answer)
