"""`nsor.lookup.v1.LookupService` over gRPC."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from operator import attrgetter
from typing import Any
from uuid import UUID

from opentelemetry import metrics

from hub.domain.lookup import CannotAnswerReason, Outcome
from hub.domain.node import Role
from hub.service.area import AreaStatus
from hub.service.disclosure import Disclosure
from hub.service.lookup import Lookup
from hub.service.vigilance import Vigilance
from hub.transport import convert
from hub.transport.convert.common import page, request_key
from hub.transport.paging import last_item, page_size, page_token
from hub.transport.pipeline import current_caller, sender_of, time_left
from nsor.lookup.v1 import lookup_service_pb2 as pb
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceServicer

_MONTHS = 12
_outcome_and_reason = attrgetter("outcome", "reason")


class LookupServicer(LookupServiceServicer):
    """Calls the use cases and converts their answers."""

    def __init__(self, lookup: Lookup, area_status: AreaStatus, disclosure: Disclosure, vigilance: Vigilance) -> None:
        self._lookup = lookup
        self._area_status = area_status
        self._disclosure = disclosure
        self._vigilance = vigilance
        # Read when metrics are collected: to tell a meter of each check would cost a tenth of it.
        self._counts: Counter[tuple[Outcome, CannotAnswerReason | None, Role]] = Counter()
        metrics.get_meter("nsor.hub").create_observable_counter(
            "nsor.lookup.checks",
            [self._observe_counts],
            "{check}",
            "Checks of a CNIC, by outcome, role of the caller, and the reason why there was no answer.",
        )

    async def CheckCnic(self, request: pb.CheckCnicRequest, context: Any) -> pb.CheckCnicResponse:
        caller = current_caller()
        consent = convert.consents.given_consent(request.consent) if request.HasField("consent") else None
        answer = await self._lookup.check(
            caller, request.cnic, request.at_least_revision, time_left(context), request.end_user, consent
        )
        self._counts[answer.outcome, answer.reason, caller.node.role] += 1
        return convert.lookup.answer_message(answer)

    async def CheckCnics(
        self, request_iterator: AsyncIterator[pb.CheckCnicsRequest], context: Any
    ) -> AsyncIterator[pb.CheckCnicsResponse]:
        first = True
        async for request in request_iterator:
            caller = sender_of(request)
            if first:
                await self._lookup.reach(request.at_least_revision, time_left(context))
                first = False
            answers = await self._lookup.check_many(caller, request.cnics)
            counts: Counter[Outcome] = Counter()
            for (outcome, reason), count in Counter(map(_outcome_and_reason, answers)).items():
                counts[outcome] += count
                self._counts[outcome, reason, caller.node.role] += count
            response = convert.lookup.answers_message(answers)
            response.summary.CopyFrom(
                pb.CheckSummary(
                    hit_count=counts[Outcome.HIT],
                    no_record_count=counts[Outcome.NO_RECORD],
                    invalid_cnic_count=counts[Outcome.INVALID_CNIC],
                    cannot_answer_count=counts[Outcome.CANNOT_ANSWER],
                )
            )
            convert.lookup.pad(response, convert.lookup.ROSTER_OCTETS)
            yield response

    async def GetAreaStatus(self, request: pb.GetAreaStatusRequest, context: Any) -> pb.GetAreaStatusResponse:
        districts = convert.lookup.area(request.district)
        months = await self._area_status.months(current_caller(), limit=request.months or _MONTHS)
        return pb.GetAreaStatusResponse(
            months=[convert.lookup.area_month_message(month, districts) for month in months]
        )

    async def GetDisclosurePolicy(
        self, request: pb.GetDisclosurePolicyRequest, context: Any
    ) -> pb.GetDisclosurePolicyResponse:
        return pb.GetDisclosurePolicyResponse(policy=convert.lookup.policy_message(await self._disclosure.get()))

    async def UpdateDisclosurePolicy(
        self, request: pb.UpdateDisclosurePolicyRequest, context: Any
    ) -> pb.UpdateDisclosurePolicyResponse:
        policy = await self._disclosure.update(
            current_caller(),
            request_key(request),
            request.policy.etag,
            convert.lookup.disclosure_modes(request.policy),
            under_appeal=request.policy.disclose_under_appeal,
        )
        return pb.UpdateDisclosurePolicyResponse(policy=convert.lookup.policy_message(policy))

    async def ListLookupAlarms(self, request: pb.ListLookupAlarmsRequest, context: Any) -> pb.ListLookupAlarmsResponse:
        caller, size = current_caller().node.id, page_size(request.page_size)
        before = last_item(caller, request, request.page_token, UUID)
        alarms, last = page(await self._vigilance.list(before=before, limit=size + 1), size)
        return pb.ListLookupAlarmsResponse(
            alarms=[convert.lookup.alarm_message(alarm) for alarm in alarms],
            next_page_token=page_token(caller, request, str(last.id)) if last else "",
        )

    def _observe_counts(self, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        # Of a copy, made at once, since metrics are collected on a thread of their own.
        for (outcome, reason, role), count in dict(self._counts).items():
            why = {"reason": reason} if reason else {}
            yield metrics.Observation(count, {"outcome": outcome, "role": role} | why)
