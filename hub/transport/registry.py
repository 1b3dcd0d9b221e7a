"""`nsor.registry.v1.RegistryService` over gRPC."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar
from uuid import UUID

from hub.domain.errors import Refused, Violation, invalid
from hub.domain.offender import OffenderFacts, OffenderStatus
from hub.service.registry import Draft, Edit, Registry, Written
from hub.service.search import Search
from hub.transport import convert
from hub.transport.access_desk import release
from hub.transport.batches import batches
from hub.transport.contract import reason_value
from hub.transport.convert.common import page, request_key, timestamp
from hub.transport.filters import member_of, parse_filter, time
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller
from hub.transport.validation import validate
from nsor.registry.v1 import registry_service_pb2 as pb
from nsor.registry.v1.registry_service_pb2_grpc import RegistryServiceServicer

R = TypeVar("R")

_FILTERED: Mapping[str, Callable[[str], str | datetime]] = {
    "status": member_of(OffenderStatus, "OFFENDER_STATUS_"),
    "owner": lambda text: text.removeprefix("nodes/"),
    "create_time": time,
    "update_time": time,
}
_CANDIDATES = 20


class RegistryServicer(RegistryServiceServicer):
    """Converts, calls the use case, converts back."""

    def __init__(self, registry: Registry, search: Search, clock: Callable[[], datetime]) -> None:
        self._registry = registry
        self._search = search
        self._clock = clock

    async def CreateOffender(self, request: pb.CreateOffenderRequest, context: Any) -> pb.CreateOffenderResponse:
        draft = self._draft(request)
        [result] = await self._registry.create(current_caller(), [draft])
        if isinstance(result, Refused):
            raise result
        return _answer(pb.CreateOffenderResponse, result)

    async def GetOffender(self, request: pb.GetOffenderRequest, context: Any) -> pb.GetOffenderResponse:
        offender, scopes = await self._registry.get(
            current_caller(),
            convert.registry.offender_id(request.name, "name"),
            version=request.version,
            at_least=request.at_least_revision,
        )
        response = pb.GetOffenderResponse(offender=convert.registry.offender_message(offender))
        release(response.offender, scopes)
        return response

    async def FindOffender(self, request: pb.FindOffenderRequest, context: Any) -> pb.FindOffenderResponse:
        document = convert.registry.document(request)
        offender, scopes = await self._registry.find(current_caller(), document, at_least=request.at_least_revision)
        response = pb.FindOffenderResponse(offender=convert.registry.offender_message(offender))
        release(response.offender, scopes)
        return response

    async def ListOffenders(self, request: pb.ListOffendersRequest, context: Any) -> pb.ListOffendersResponse:
        caller, size = current_caller(), page_size(request.page_size)
        before = last_item(caller.node.id, request, request.page_token, UUID)
        found = await self._registry.list(
            caller,
            before=before,
            limit=size + 1,
            at_least=request.at_least_revision,
            where=parse_filter(request.filter, _FILTERED),
        )
        offenders, last = page(found, size)
        return pb.ListOffendersResponse(
            offenders=[convert.registry.offender_message(offender) for offender in offenders],
            next_page_token=page_token(caller.node.id, request, str(last.id)) if last else "",
        )

    async def SearchOffenders(self, request: pb.SearchOffendersRequest, context: Any) -> pb.SearchOffendersResponse:
        candidates, more = await self._search.search(
            current_caller(),
            convert.registry.wanted(request, self._clock()),
            limit=request.max_results or _CANDIDATES,
            at_least=request.at_least_revision,
        )
        return pb.SearchOffendersResponse(
            candidates=map(convert.registry.candidate_message, candidates), truncated=more
        )

    async def ListOffenderRevisions(
        self, request: pb.ListOffenderRevisionsRequest, context: Any
    ) -> pb.ListOffenderRevisionsResponse:
        caller, size = current_caller(), page_size(request.page_size)
        before = last_item(caller.node.id, request, request.page_token, int)
        offender_id = convert.registry.offender_id(request.name, "name")
        found = await self._registry.versions(caller, offender_id, before=before, limit=size + 1)
        # Each with the one before it, which may be the first of the next page.
        revisions = [convert.registry.revision_message(*pair) for pair in zip_longest(found, found[1:])]
        revisions, last = page(revisions, size)
        return pb.ListOffenderRevisionsResponse(
            revisions=revisions,
            next_page_token=page_token(caller.node.id, request, str(last.version)) if last else "",
        )

    async def UpdateOffender(self, request: pb.UpdateOffenderRequest, context: Any) -> pb.UpdateOffenderResponse:
        def change(current: OffenderFacts) -> OffenderFacts:
            check = partial(validate, prefix="offender")
            merged = convert.registry.masked(current, request.offender, request.update_mask, check)
            return convert.registry.offender_facts(merged, self._clock(), current)

        if not request.offender.etag:
            raise invalid(Violation("offender.etag", "REQUIRED", "must be the etag that was read"))
        offender_id = convert.registry.offender_id(request.offender.name, "offender.name")
        reason = convert.common.reason(request.reason)
        edit = Edit(offender_id, request_key(request), request.offender.etag, reason)
        return _answer(pb.UpdateOffenderResponse, await self._registry.update(current_caller(), edit, change))

    async def RecordCourtEvent(self, request: pb.RecordCourtEventRequest, context: Any) -> pb.RecordCourtEventResponse:
        event, day = convert.registry.court_event(request, self._clock())
        written = await self._registry.record_court_event(
            current_caller(), _edit(request), request.conviction_number, event, day
        )
        return _answer(pb.RecordCourtEventResponse, written)

    async def MergeOffenders(self, request: pb.MergeOffendersRequest, context: Any) -> pb.MergeOffendersResponse:
        offender_id = convert.registry.offender_id(request.offender, "offender")
        edit = Edit(offender_id, request_key(request), request.etag, convert.common.reason(request.reason))
        duplicate_id = convert.registry.offender_id(request.duplicate, "duplicate")
        today = convert.common.today(self._clock())
        written = await self._registry.merge(current_caller(), edit, duplicate_id, request.duplicate_etag, today)
        return _answer(pb.MergeOffendersResponse, written)

    async def ReportIdentityEvent(
        self, request: pb.ReportIdentityEventRequest, context: Any
    ) -> pb.ReportIdentityEventResponse:
        card, event, day = convert.registry.identity_event(request.event, self._clock())
        key = request_key(request)
        written = await self._registry.report_identity_event(current_caller(), key, card, event, day)
        return pb.ReportIdentityEventResponse(offender=written.offender.name, revision=written.revision.token)

    async def ProposeTransfer(self, request: pb.ProposeTransferRequest, context: Any) -> pb.ProposeTransferResponse:
        receiver = convert.federation.node_id(request.receiver)
        written = await self._registry.propose_transfer(current_caller(), _edit(request), receiver)
        return _answer(pb.ProposeTransferResponse, written)

    async def AcceptTransfer(self, request: pb.AcceptTransferRequest, context: Any) -> pb.AcceptTransferResponse:
        written = await self._registry.accept_transfer(current_caller(), _edit(request))
        return _answer(pb.AcceptTransferResponse, written)

    async def DeclineTransfer(self, request: pb.DeclineTransferRequest, context: Any) -> pb.DeclineTransferResponse:
        written = await self._registry.decline_transfer(current_caller(), _edit(request))
        return _answer(pb.DeclineTransferResponse, written)

    async def ListTransfers(self, request: pb.ListTransfersRequest, context: Any) -> pb.ListTransfersResponse:
        caller, size = current_caller(), page_size(request.page_size)
        found = await self._registry.list_transfers(
            caller,
            node=convert.federation.node_id(request.node),
            overdue_only=request.overdue_only,
            before=last_item(caller.node.id, request, request.page_token, UUID),
            limit=size + 1,
        )
        transfers, last = page(found, size)
        return pb.ListTransfersResponse(
            transfers=[convert.registry.transfer_message(transfer) for transfer in transfers],
            next_page_token=page_token(caller.node.id, request, str(last.offender_id)) if last else "",
        )

    async def GetPropagation(self, request: pb.GetPropagationRequest, context: Any) -> pb.GetPropagationResponse:
        propagation = await self._registry.propagation(convert.registry.offender_id(request.name, "name"))
        return pb.GetPropagationResponse(
            revision=propagation.revision.token,
            receipts=[
                pb.Receipt(
                    node=receipt.node.name,
                    applied=receipt.applied,
                    acknowledge_time=timestamp(receipt.acknowledged_at) if receipt.acknowledged_at else None,
                )
                for receipt in propagation.receipts
            ],
        )

    async def ImportOffenders(
        self, request_iterator: AsyncIterator[pb.ImportOffendersRequest], context: Any
    ) -> AsyncIterator[pb.ImportOffendersResponse]:
        # A request_id may stand in a transaction once, so that its second row is seen as the retry that it is.
        async for rows in batches(request_iterator, key=lambda row: row.request_id):
            read = [self._read(row) for row in rows]
            results: dict[str, Written | Refused] = {}
            for trial, enter in ((False, self._registry.create), (True, self._registry.try_out)):
                drafts = {
                    row.request_id: draft
                    for row, draft in zip(rows, read, strict=True)
                    if isinstance(draft, Draft) and row.validate_only is trial
                }
                if drafts:
                    written = await enter(current_caller(), list(drafts.values()))
                    results |= zip(drafts, written, strict=True)
            for row, draft in zip(rows, read, strict=True):
                yield _row_result(row, draft if isinstance(draft, Refused) else results[row.request_id])

    def _read(self, row: pb.ImportOffendersRequest) -> Draft | Refused:
        try:
            validate(row)
            entry = row
            if row.validate_only:  # has the key of the row itself, so that one that was written is found as written
                entry = pb.ImportOffendersRequest()
                entry.CopyFrom(row)
                entry.ClearField("validate_only")
            return self._draft(entry)
        except Refused as refused:
            return refused

    def _draft(self, entry: pb.CreateOffenderRequest | pb.ImportOffendersRequest) -> Draft:
        facts = convert.registry.offender_facts(entry.offender, self._clock())
        return Draft(request_key(entry), facts, convert.registry.override(entry))


def _answer(response: Callable[..., R], written: Written) -> R:
    return response(offender=convert.registry.offender_message(written.offender), revision=written.revision.token)


def _edit(
    request: pb.RecordCourtEventRequest
    | pb.ProposeTransferRequest
    | pb.AcceptTransferRequest
    | pb.DeclineTransferRequest,
) -> Edit:
    reason = convert.common.reason(request.reason)
    return Edit(convert.registry.offender_id(request.name, "name"), request_key(request), request.etag, reason)


def _row_result(row: pb.ImportOffendersRequest, result: Written | Refused) -> pb.ImportOffendersResponse:
    if isinstance(result, Written) and row.validate_only:
        return pb.ImportOffendersResponse(row=row.row, valid=True)
    if isinstance(result, Written):
        return pb.ImportOffendersResponse(row=row.row, offender=result.offender.name)
    return pb.ImportOffendersResponse(
        row=row.row,
        error=pb.RowError(
            reason=reason_value(result.reason),
            message=result.message,
            field_violations=[
                pb.FieldViolation(field=v.field, reason=v.reason, description=v.description) for v in result.violations
            ],
            metadata=result.metadata,
        ),
    )
