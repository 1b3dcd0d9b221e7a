"""The client. This file is written by hand; `_sync/client.py` is generated from it by `tools/gen_sync.py`."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Self, TypeVar
from uuid import uuid4

import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.trace import TracerProvider, get_tracer

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.federation.v1.federation_service_pb2 import (
    AcknowledgeChangesRequest,
    CreateEnrolmentTokenRequest,
    CreateEnrolmentTokenResponse,
    CreateNodeRequest,
    CreateNodeResponse,
    GetFederationStatusRequest,
    GetFederationStatusResponse,
    GetSnapshotRequest,
    GetSnapshotResponse,
    ListNodesRequest,
    ListNodesResponse,
    ReconcileRequest,
    RenewCertificateRequest,
    ReportOutboxRequest,
    ResumeNodeRequest,
    RevokeNodeRequest,
    SuspendNodeRequest,
    WatchChangesRequest,
    WatchChangesResponse,
)
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceStub
from nsor.federation.v1.node_pb2 import Node
from nsor.lookup.v1.alarm_pb2 import LookupAlarm
from nsor.lookup.v1.consent_pb2 import Consent, GivenConsent, PasscodeDelivery
from nsor.lookup.v1.consent_service_pb2 import (
    AcknowledgePasscodeRequest,
    RequestConsentRequest,
    WatchPasscodesRequest,
    WatchPasscodesResponse,
)
from nsor.lookup.v1.consent_service_pb2_grpc import ConsentServiceStub
from nsor.lookup.v1.disclosure_pb2 import DisclosurePolicy
from nsor.lookup.v1.lookup_service_pb2 import (
    CheckCnicRequest,
    CheckCnicResponse,
    CheckCnicsRequest,
    GetAreaStatusRequest,
    GetAreaStatusResponse,
    GetDisclosurePolicyRequest,
    ListLookupAlarmsRequest,
    ListLookupAlarmsResponse,
    UpdateDisclosurePolicyRequest,
)
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceStub
from nsor.lookup.v1.vetting_service_pb2 import (
    AddWatchedPeopleRequest,
    AddWatchedPeopleResponse,
    ListWatchedPeopleRequest,
    ListWatchedPeopleResponse,
    NewWatchedPerson,
    RemoveWatchedPersonRequest,
    WatchAlertsRequest,
    WatchAlertsResponse,
)
from nsor.lookup.v1.vetting_service_pb2_grpc import VettingServiceStub
from nsor.lookup.v1.watch_list_pb2 import WatchedPerson
from nsor.monitoring.v1.monitoring_service_pb2 import (
    ListNoticesRequest,
    ListNoticesResponse,
    RecordNoticeRequest,
    RecordNoticeResponse,
)
from nsor.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.access_desk_service_pb2 import (
    CreateAccessRequestRequest,
    DeclineAccessRequestRequest,
    ForwardAccessRequestRequest,
    GetAccessRequestRequest,
    GrantAccessRequestRequest,
    ListAccessRequestsRequest,
    ListAccessRequestsResponse,
    RevokeAccessRequestRequest,
)
from nsor.registry.v1.access_desk_service_pb2_grpc import AccessDeskServiceStub
from nsor.registry.v1.access_request_pb2 import AccessRequest, AccessRequestState, AccessScope
from nsor.registry.v1.identity_pb2 import IdentityEvent
from nsor.registry.v1.offender_pb2 import CourtEvent, Offender, Passport, Transfer
from nsor.registry.v1.registry_service_pb2 import (
    AcceptTransferRequest,
    AcceptTransferResponse,
    CreateOffenderRequest,
    CreateOffenderResponse,
    DeclineTransferRequest,
    DeclineTransferResponse,
    DuplicateOverride,
    FindOffenderRequest,
    GetOffenderRequest,
    GetPropagationRequest,
    GetPropagationResponse,
    ImportOffendersRequest,
    ImportOffendersResponse,
    ListOffenderRevisionsRequest,
    ListOffenderRevisionsResponse,
    ListOffendersRequest,
    ListOffendersResponse,
    ListTransfersRequest,
    ListTransfersResponse,
    MergeOffendersRequest,
    MergeOffendersResponse,
    OffenderRevision,
    ProposeTransferRequest,
    ProposeTransferResponse,
    RecordCourtEventRequest,
    RecordCourtEventResponse,
    ReportIdentityEventRequest,
    ReportIdentityEventResponse,
    SearchOffendersRequest,
    SearchOffendersResponse,
    UpdateOffenderRequest,
    UpdateOffenderResponse,
)
from nsor.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from nsor_client.calls import Outgoing, ended_early, outgoing_call
from nsor_client.channel import Endpoint
from nsor_client.credentials import Credentials, CredentialsError
from nsor_client.errors import InternalError, NsorError, Unavailable
from nsor_client.following import Backoff, LineState, OnState, async_pause, may_pass
from nsor_client.reconciling import Comparison, Reconciliation
from nsor_client.renewal import LONGEST_WAIT, AsyncBackground, Schedule, async_ready, log
from nsor_client.roster import answers, questions
from nsor_client.snapshot import SnapshotCheck

# Seconds; the hub takes off so many for the way.
_LONGEST_REPORT = 10.0

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_ListRequest = TypeVar(
    "_ListRequest",
    ListOffendersRequest,
    ListOffenderRevisionsRequest,
    ListTransfersRequest,
    ListAccessRequestsRequest,
    ListNoticesRequest,
    ListNodesRequest,
    ListLookupAlarmsRequest,
    ListWatchedPeopleRequest,
)
_Page = TypeVar(
    "_Page",
    ListOffendersResponse,
    ListOffenderRevisionsResponse,
    ListTransfersResponse,
    ListAccessRequestsResponse,
    ListNoticesResponse,
    ListNodesResponse,
    ListLookupAlarmsResponse,
    ListWatchedPeopleResponse,
)


class AsyncClient:
    """The calls of a hub, over mutual TLS.

    Every method raises `NsorError`, and the subclass of it that fits, where the hub refuses or cannot be
    reached. A call that is not a stream has a deadline, and is tried again within it when that can do no harm
    (channel.py). What is written without a `request_id` gets a new one. `officer` says who asks, and why; the
    contract states for each call whether it is required.

    Use it as a context manager, or call `close`.

    Args:
        target: `HOST:PORT` of the hub.
        credentials: of this node.
        timeout: seconds that a call may take, where the call does not say otherwise.
        server_name: a name in the hub's certificate, where it differs from the host of the target.
        tracer_provider: of OpenTelemetry; without it the application's own, which does nothing unless it is
            set up.
        renew: keeps the certificate from ending, for programs that run long: it is renewed at half of its life and
            kept in the folder of the credentials, and what another process puts there is taken. Calls then go over a
            new line, open ones end on the old one, and a watch goes on. What fails is tried again, and logged as a
            warning of "nsor_client".

    Raises:
        ValueError: the target is not `HOST:PORT`, or credentials to renew are not of a folder.
    """

    def __init__(
        self,
        target: str,
        credentials: Credentials,
        *,
        timeout: float = 10.0,
        server_name: str | None = None,
        tracer_provider: TracerProvider | None = None,
        renew: bool = False,
    ) -> None:
        if renew and credentials.directory is None:
            raise ValueError("only credentials of a folder can be renewed: Credentials.from_dir")
        self._endpoint = Endpoint(target, credentials, server_name)
        self._timeout = timeout
        self._closed = asyncio.Event()
        self._tracer = get_tracer("nsor_client", tracer_provider=tracer_provider)
        self._old_lines: list[tuple[Credentials, grpc.aio.Channel]] = []
        self._take(credentials, self._open(credentials))
        self._renewal = AsyncBackground(self._keep_renewed) if renew else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def node(self) -> str:
        """Identifier of the node that asks, such as "punjab-police"."""
        return self._credentials.node

    async def close(self) -> None:
        """Closes the line; calls and streams that are still open are cancelled."""
        self._closed.set()
        await self._channel.close()
        if self._renewal is not None:
            await self._renewal.end()
        for _, channel in [*self._old_lines, (self._credentials, self._channel)]:
            await channel.close()

    async def check_cnic(
        self,
        cnic: str,
        *,
        officer: OfficerContext | None = None,
        at_least_revision: str = "",
        end_user: bytes = b"",
        consent: GivenConsent | None = None,
        timeout: float | None = None,
    ) -> CheckCnicResponse:
        """Tells whether the holder of a CNIC is on the register, in one of four outcomes.

        `OUTCOME_NO_RECORD` does not mean that the person is clean, and a text that is no CNIC is an outcome,
        not an error. `OUTCOME_CANNOT_ANSWER` is no result: ask again, where `cannot_answer_reason` says that it helps.

        Args:
            cnic: the number as it was typed: any digits, dashes and spaces, words around it.
            officer: stands in the audit log with what was asked, and has a limit besides that of the node.
            at_least_revision: the answer must be as new as this revision, for example that of a write of
                one's own. The hub waits for it for 10 s, or until half a second before the deadline if that is sooner.
            end_user: of a gateway: what stands for the person who asks it, 16 to 32 octets.
            consent: of the person checked, with the passcode that they told, see `request_consent`. It is spent by the
                answer; if that gets lost on the way, the person has to be asked once more.

        Raises:
            PermissionDenied: the passcode is wrong (the metadata tell the `tries_left`), or the consent is no good:
                CONSENT_NOT_VALID also where the answer to an earlier try, the client's own among them, got lost.
            Unavailable: among others REVISION_NOT_REACHED, the hub does not have `at_least_revision` yet.
            ResourceExhausted: the node, the officer or the end user asked too much; `retry_after` says when to go on.
        """
        request = CheckCnicRequest(
            cnic=cnic, officer=officer, at_least_revision=at_least_revision, end_user=end_user, consent=consent
        )
        response = await self._call(self._lookup.CheckCnic, request, timeout)
        response.ClearField("padding")  # was for the line
        return response

    async def check_many(
        self,
        cnics: Iterable[str],
        *,
        officer: OfficerContext | None = None,
        at_least_revision: str = "",
        window: int = 4,
        timeout: float | None = None,
    ) -> AsyncGenerator[CheckCnicResponse]:
        """Checks many CNICs; gives for each its result, in their order.

        It is that of `check_cnic`, but with what the disclosure policy tells in rosters (CHANNEL_BATCH): less, or more.
        `OUTCOME_CANNOT_ANSWER` is no result: ask again, where `cannot_answer_reason` says that it helps.

        Numbers are taken as they are needed, and travel in messages of up to 1,000. After a cut, ask again for those
        that have no result yet. Closing the iterator cancels what is under way.

        Args:
            cnics: each as it was typed.
            officer: stands in the audit log with each number, and has a limit besides that of the node: 5,000 numbers
                at once, then 50 a second, unless the hub is set otherwise. The hub slows down what is faster, so that a
                roster of 100,000 takes half an hour.
            at_least_revision: every answer must be as new as this revision. The hub waits for it for 10 s, or until
                half a second before the end of `timeout` if that is sooner.
            window: messages at most that are sent and wait for their results.
            timeout: seconds for all; none unless given, since their number is not known.

        Raises:
            Unavailable: among others REVISION_NOT_REACHED, the hub does not have `at_least_revision` yet.
            Exception: what `cnics` raised, after the results of the messages before.
        """
        sizes = deque[int]()

        def messages() -> Iterator[CheckCnicsRequest]:
            for message in questions(cnics, officer, at_least_revision):
                sizes.append(len(message.cnics))
                yield message

        responses = self._one_for_one(self._lookup.CheckCnics, CheckCnicsRequest, messages(), window, timeout)
        async with aclosing(responses):
            async for response in responses:
                if len(response.results) != sizes.popleft():  # or answers would stand beside other people's numbers
                    raise InternalError(grpc.StatusCode.INTERNAL, "The hub gave more results than numbers, or fewer.")
                for answer in answers(response):
                    yield answer

    async def get_area_status(
        self, district: str = "", *, months: int = 0, timeout: float | None = None
    ) -> GetAreaStatusResponse:
        """Tells how many supervised offenders there are in a district, or in each, month by month; never who.

        Args:
            district: of the gazetteer; empty for all.
            months: the newest so many of those that were counted, 1 to 24; 0 means 12.
        """
        request = GetAreaStatusRequest(district=district, months=months)
        return await self._call(self._lookup.GetAreaStatus, request, timeout)

    async def request_consent(
        self,
        cnic: str,
        *,
        officer: OfficerContext | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Consent:
        """Has a passcode sent to the holder of a CNIC, by which they can agree to be checked by this node.

        The answer is the same for everybody, whether or not the person is on the register or has a phone.

        Raises:
            FailedPrecondition: checks of this node need no consent.
            ResourceExhausted: the person was asked too often in the last hour, or others by this node.
        """
        request = RequestConsentRequest(cnic=cnic, officer=officer, request_id=request_id or _new_id())
        return (await self._call(self._consent.RequestConsent, request, timeout, request.request_id)).consent

    async def watch_passcodes(
        self, *, officer: OfficerContext | None = None, on_state: OnState | None = None
    ) -> AsyncGenerator[WatchPasscodesResponse]:
        """Gives the passcodes that are to be brought to people, as they are asked for, until it is closed. For NADRA.

        It goes on over lost lines as `watch_changes` does. What is not acknowledged comes again then, and when the
        program starts again. A response without passcodes is a sign of life.

        Args:
            on_state: told when the watch is connected, and each time that it waits for another try, and why.

        Raises:
            NsorError: one that no later try can mend.
        """

        def begin() -> AsyncGenerator[WatchPasscodesResponse]:
            return self._stream(self._consent.WatchPasscodes, WatchPasscodesRequest(officer=officer))

        async with aclosing(self._following(begin, on_state)) as responses:
            async for response in responses:
                yield response

    async def acknowledge_passcode(
        self,
        consent: str,
        delivery: PasscodeDelivery.ValueType,
        *,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> None:
        """Says what became of a passcode, which the hub then erases. For NADRA.

        Args:
            consent: name of the consent that it is for.
        """
        request = AcknowledgePasscodeRequest(consent=consent, delivery=delivery, officer=officer)
        await self._call(self._consent.AcknowledgePasscode, request, timeout)

    async def get_disclosure_policy(self, *, timeout: float | None = None) -> DisclosurePolicy:
        """Reads what the public is told of a hit. For NPB."""
        request = GetDisclosurePolicyRequest()
        return (await self._call(self._lookup.GetDisclosurePolicy, request, timeout)).policy

    async def update_disclosure_policy(
        self,
        policy: DisclosurePolicy,
        officer: OfficerContext,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> DisclosurePolicy:
        """Replaces what the public is told of a hit, within a second everywhere; gives it as it is then. For NPB.

        Args:
            policy: with all of its rules, and the `etag` that was read.

        Raises:
            Conflict: the policy was changed since it was read.
        """
        request = UpdateDisclosurePolicyRequest(policy=policy, officer=officer, request_id=request_id or _new_id())
        return (await self._call(self._lookup.UpdateDisclosurePolicy, request, timeout, request.request_id)).policy

    async def list_lookup_alarms(
        self, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[LookupAlarm]:
        """Reads the alarms about odd use of checks, newest first; pages are fetched as they are needed. For NPB."""
        request = ListLookupAlarmsRequest(page_size=page_size)
        async for page in self._pages(self._lookup.ListLookupAlarms, request, timeout):
            for alarm in page.alarms:
                yield alarm

    async def add_watched_people(
        self,
        people: Sequence[NewWatchedPerson],
        *,
        officer: OfficerContext | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AddWatchedPeopleResponse:
        """Puts up to 1,000 people on this node's watch list, all or none; `watch_alerts` tells of them.

        Who is on it already stays, with the references given now, so a whole roster can be sent at any time.

        Args:
            officer: stands in the audit log with each number; its limits are those of `check_many`.

        Raises:
            ResourceExhausted: TOO_MANY_REQUESTS, more than the limits allow now; `retry_after` says when to go on.
        """
        request = AddWatchedPeopleRequest(people=people, officer=officer, request_id=request_id or _new_id())
        return await self._call(self._vetting.AddWatchedPeople, request, timeout, request.request_id)

    async def remove_watched_person(
        self,
        name: str,
        *,
        officer: OfficerContext | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Takes a person, `watchedPeople/{uuid}`, off this node's watch list.

        Raises:
            NotFound: nobody of this name is on it.
        """
        request = RemoveWatchedPersonRequest(name=name, officer=officer, request_id=request_id or _new_id())
        await self._call(self._vetting.RemoveWatchedPerson, request, timeout, request.request_id)

    async def list_watched_people(
        self, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[WatchedPerson]:
        """Reads this node's watch list, the oldest entries first; pages are fetched as they are needed."""
        request = ListWatchedPeopleRequest(page_size=page_size)
        async for page in self._pages(self._vetting.ListWatchedPeople, request, timeout):
            for person in page.watched_people:
                yield person

    async def watch_alerts(
        self, after: str = "", *, officer: OfficerContext | None = None, on_state: OnState | None = None
    ) -> AsyncGenerator[WatchAlertsResponse]:
        """Follows the alerts about this node's watch list: in order, each once, until the iterator is closed.

        It goes on over lost lines as `watch_changes` does. A response without alerts is a bookmark. Keep the `name` of
        the last alert that was dealt with, and give it as `after` when the program starts again.

        Args:
            after: name of the alert to continue after; empty for all that the hub keeps.
            on_state: told when the watch is connected, and each time that it waits for another try, and why.

        Raises:
            OutOfRange: the hub does not have the alert `after`, for example since it was restored: begin anew, and put
                the people on the list once more.
            NsorError: another one that no later try can mend.
        """

        def begin() -> AsyncGenerator[WatchAlertsResponse]:
            return self._stream(self._vetting.WatchAlerts, WatchAlertsRequest(after=after, officer=officer))

        async with aclosing(self._following(begin, on_state)) as responses:
            async for response in responses:
                if response.alerts:
                    after = response.alerts[-1].name
                yield response

    async def create_offender(
        self,
        offender: Offender,
        *,
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        duplicate_override: DuplicateOverride | None = None,
        timeout: float | None = None,
    ) -> CreateOffenderResponse:
        """Enters a convicted person; this node becomes the owner of the record.

        Args:
            duplicate_override: after LIKELY_DUPLICATE: that the records which the error names are of others, and why.

        Raises:
            AlreadyExists: the CNIC is registered, or somebody much alike is.
        """
        request = CreateOffenderRequest(
            offender=offender,
            request_id=request_id or _new_id(),
            officer=officer,
            duplicate_override=duplicate_override,
        )
        return await self._call(self._registry.CreateOffender, request, timeout, request.request_id)

    async def get_offender(
        self,
        name: str,
        officer: OfficerContext,
        *,
        version: int = 0,
        at_least_revision: str = "",
        timeout: float | None = None,
    ) -> Offender:
        """Reads one record by its resource name, `offenders/{uuid}`.

        Args:
            version: as it was at this version, see `list_offender_revisions`; 0 for the newest.
            at_least_revision: the answer must be as new as this revision.
        """
        request = GetOffenderRequest(name=name, officer=officer, version=version, at_least_revision=at_least_revision)
        return (await self._call(self._registry.GetOffender, request, timeout)).offender

    async def find_offender(
        self,
        officer: OfficerContext,
        *,
        cnic: str | None = None,
        old_nic: str | None = None,
        passport: Passport | None = None,
        at_least_revision: str = "",
        timeout: float | None = None,
    ) -> Offender:
        """Reads the record that a document stands on, by its exact number; one of them must be given.

        Args:
            cnic: 13 digits, now or formerly the person's.
            old_nic: 11 digits, of a card from before 2004.
            at_least_revision: the answer must be as new as this revision.

        Raises:
            NotFound: no record has the document.
            ValueError: not one document is given.
        """
        if sum(document is not None for document in (cnic, old_nic, passport)) != 1:
            raise ValueError("give one of cnic, old_nic and passport")
        request = FindOffenderRequest(passport=passport, officer=officer, at_least_revision=at_least_revision)
        if cnic is not None:
            request.cnic = cnic
        if old_nic is not None:
            request.old_nic = old_nic
        return (await self._call(self._registry.FindOffender, request, timeout)).offender

    async def search_offenders(
        self, request: SearchOffendersRequest, officer: OfficerContext, *, timeout: float | None = None
    ) -> SearchOffendersResponse:
        """Finds records by what an investigation knows of a person, the best first; for an investigation only.

        A candidate may be the one sought, and may not: read the record before anything follows from it.

        Args:
            request: what is known of the person; its `officer` is replaced.
        """
        asked = SearchOffendersRequest()
        asked.CopyFrom(request)
        asked.officer.CopyFrom(officer)
        return await self._call(self._registry.SearchOffenders, asked, timeout)

    async def list_offender_revisions(
        self, name: str, officer: OfficerContext, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[OffenderRevision]:
        """Reads who changed a record, when, why, and which fields, newest first; fetches pages as they are needed."""
        request = ListOffenderRevisionsRequest(name=name, officer=officer, page_size=page_size)
        async for page in self._pages(self._registry.ListOffenderRevisions, request, timeout):
            for revision in page.revisions:
                yield revision

    async def list_offenders(
        self,
        officer: OfficerContext,
        *,
        filter: str = "",
        page_size: int = 0,
        at_least_revision: str = "",
        timeout: float | None = None,
    ) -> AsyncGenerator[Offender]:
        """Reads the records that this node may list, newest first; pages are fetched as they are needed.

        Args:
            filter: conditions that all hold (AIP-160), for example 'status = SEALED AND owner = nodes/fia'; on status,
                owner, create_time and update_time.
            page_size: records in a page, 1 to 200; 0 lets the hub choose.
            at_least_revision: the answer must be as new as this revision.
            timeout: seconds that each page may take.
        """
        request = ListOffendersRequest(
            officer=officer, filter=filter, page_size=page_size, at_least_revision=at_least_revision
        )
        async for page in self._pages(self._registry.ListOffenders, request, timeout):
            for offender in page.offenders:
                yield offender

    async def update_offender(
        self,
        offender: Offender,
        update_mask: Sequence[str],
        *,
        reason: str = "",
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> UpdateOffenderResponse:
        """Changes the fields of a record that the mask names.

        Args:
            offender: the record with its `name`, the `etag` that was read, and the new values.
            update_mask: paths of the fields, for example ["district", "person.full_name_ur"].
            reason: why; required of NPB for records of others.

        Raises:
            Conflict: the record was changed since it was read.
        """
        request = UpdateOffenderRequest(
            offender=offender,
            update_mask=FieldMask(paths=update_mask),
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        return await self._call(self._registry.UpdateOffender, request, timeout, request.request_id)

    async def record_court_event(
        self,
        offender: Offender,
        conviction_number: int,
        event: CourtEvent.ValueType,
        event_date: str,
        reason: str,
        *,
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> RecordCourtEventResponse:
        """Records what a court decided about a conviction. For courts, and for NPB on a court's order.

        Setting the last conviction aside seals the record for ever.

        Args:
            offender: the record as it was read; its `name` and `etag` are sent.
            conviction_number: `number` of the conviction in it.
            event_date: day of the order, as "YYYY-MM-DD".
            reason: the order: court, number and date. Nothing about a victim.

        Raises:
            Conflict: the record was changed since it was read.
            FailedPrecondition: the event cannot follow on what the register knows, or the record is sealed.
        """
        request = RecordCourtEventRequest(
            name=offender.name,
            etag=offender.etag,
            conviction_number=conviction_number,
            event=event,
            event_date=event_date,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        return await self._call(self._registry.RecordCourtEvent, request, timeout, request.request_id)

    async def merge_offenders(
        self,
        offender: Offender,
        duplicate: Offender,
        reason: str,
        officer: OfficerContext,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> MergeOffendersResponse:
        """Makes two records of one person one. For NPB. It cannot be undone.

        Args:
            offender: the record that stays, as it was read; its `name` and `etag` are sent.
            duplicate: the other one, likewise. It keeps its versions, and says where it went.
            reason: by what both are known to be of one person. Nothing about a victim.

        Raises:
            Conflict: one of them was changed since it was read.
            FailedPrecondition: one is proposed to somebody, merged or sealed, or what stands in one was set aside in
                the other.
        """
        request = MergeOffendersRequest(
            offender=offender.name,
            etag=offender.etag,
            duplicate=duplicate.name,
            duplicate_etag=duplicate.etag,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        return await self._call(self._registry.MergeOffenders, request, timeout, request.request_id)

    async def report_identity_event(
        self,
        event: IdentityEvent,
        *,
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> ReportIdentityEventResponse:
        """Reports what NADRA knows of the holder of a card who is on the register; names the record. For NADRA.

        Raises:
            NotFound: no record has the number.
            FailedPrecondition: it cannot follow on what the register knows, or another record has the new number.
        """
        request = ReportIdentityEventRequest(event=event, request_id=request_id or _new_id(), officer=officer)
        return await self._call(self._registry.ReportIdentityEvent, request, timeout, request.request_id)

    async def propose_transfer(
        self,
        offender: Offender,
        receiver: str,
        reason: str,
        *,
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> ProposeTransferResponse:
        """Proposes to hand a record over to another police force, `nodes/{node}`, which decides on it.

        Args:
            offender: the record as it was read; its `name` and `etag` are sent.

        Raises:
            Conflict: the record was changed since it was read.
            FailedPrecondition: it is proposed to somebody already, or sealed.
        """
        request = ProposeTransferRequest(
            name=offender.name,
            etag=offender.etag,
            receiver=receiver,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        return await self._call(self._registry.ProposeTransfer, request, timeout, request.request_id)

    async def accept_transfer(
        self,
        offender: Offender,
        reason: str = "",
        *,
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> AcceptTransferResponse:
        """Takes over a record that was proposed to this node; NPB does it for another with a reason.

        Args:
            offender: the record as it was read; its `name` and `etag` are sent.
        """
        request = AcceptTransferRequest(
            name=offender.name,
            etag=offender.etag,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        return await self._call(self._registry.AcceptTransfer, request, timeout, request.request_id)

    async def decline_transfer(
        self,
        offender: Offender,
        reason: str,
        *,
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> DeclineTransferResponse:
        """Ends a proposal to hand a record over: its receiver declines it, or its sender takes it back.

        Args:
            offender: the record as it was read; its `name` and `etag` are sent.
        """
        request = DeclineTransferRequest(
            name=offender.name,
            etag=offender.etag,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        return await self._call(self._registry.DeclineTransfer, request, timeout, request.request_id)

    async def list_transfers(
        self, *, node: str = "", overdue_only: bool = False, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[Transfer]:
        """Reads the open proposals to or of this node, for NPB all; pages are fetched as they are needed.

        Args:
            node: only those to or of this node, `nodes/{node}`.
            overdue_only: only those that were to be answered before now.
        """
        request = ListTransfersRequest(node=node, overdue_only=overdue_only, page_size=page_size)
        async for page in self._pages(self._registry.ListTransfers, request, timeout):
            for transfer in page.transfers:
                yield transfer

    async def get_propagation(self, name: str, *, timeout: float | None = None) -> GetPropagationResponse:
        """Tells which nodes have applied the newest version of a record, `offenders/{uuid}`, and which have not."""
        return await self._call(self._registry.GetPropagation, GetPropagationRequest(name=name), timeout)

    async def create_access_request(
        self,
        access_request: AccessRequest,
        officer: OfficerContext,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AccessRequest:
        """Asks to read a record of another node. A prosecutor forwards it, then NPB decides.

        Args:
            access_request: with `offender`, `scopes`, `police_station` and `reason`.
            officer: with the purpose INVESTIGATION and the FIR.
        """
        request = CreateAccessRequestRequest(
            access_request=access_request, officer=officer, request_id=request_id or _new_id()
        )
        call = self._access_desk.CreateAccessRequest
        return (await self._call(call, request, timeout, request.request_id)).access_request

    async def forward_access_request(
        self,
        access_request: AccessRequest,
        officer: OfficerContext,
        *,
        reason: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AccessRequest:
        """Forwards a request for access to NPB. For prosecutors.

        Args:
            access_request: as it was read; its `name` and `etag` are sent.

        Raises:
            Conflict: somebody took a step since it was read.
            FailedPrecondition: it was forwarded or decided already.
        """
        request = ForwardAccessRequestRequest(
            name=access_request.name,
            etag=access_request.etag,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        call = self._access_desk.ForwardAccessRequest
        return (await self._call(call, request, timeout, request.request_id)).access_request

    async def grant_access_request(
        self,
        access_request: AccessRequest,
        scopes: Iterable[AccessScope.ValueType],
        officer: OfficerContext,
        *,
        expire_time: Timestamp | None = None,
        reason: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AccessRequest:
        """Grants a request for access that was forwarded, or with a reason one that is overdue. For NPB.

        Args:
            access_request: as it was read; its `name` and `etag` are sent.
            scopes: what is granted, of what was asked for.
            expire_time: until when; as long as the hub allows, where it is not given.

        Raises:
            Conflict: somebody took a step since it was read.
            FailedPrecondition: it waits for the prosecutor, or was decided already.
        """
        request = GrantAccessRequestRequest(
            name=access_request.name,
            etag=access_request.etag,
            scopes=scopes,
            expire_time=expire_time,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        call = self._access_desk.GrantAccessRequest
        return (await self._call(call, request, timeout, request.request_id)).access_request

    async def decline_access_request(
        self,
        access_request: AccessRequest,
        reason: str,
        officer: OfficerContext,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AccessRequest:
        """Declines a request for access: for NPB one that was forwarded or is overdue; for prosecutors one to forward.

        Args:
            access_request: as it was read; its `name` and `etag` are sent.

        Raises:
            Conflict: somebody took a step since it was read.
            FailedPrecondition: it waits for the prosecutor, or was decided already.
        """
        request = DeclineAccessRequestRequest(
            name=access_request.name,
            etag=access_request.etag,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        call = self._access_desk.DeclineAccessRequest
        return (await self._call(call, request, timeout, request.request_id)).access_request

    async def revoke_access_request(
        self,
        access_request: AccessRequest,
        reason: str,
        officer: OfficerContext,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AccessRequest:
        """Takes back access that was granted, from the next read on. For NPB.

        Args:
            access_request: as it was read; its `name` and `etag` are sent.

        Raises:
            Conflict: somebody took a step since it was read.
            FailedPrecondition: it is not granted, or not any more.
        """
        request = RevokeAccessRequestRequest(
            name=access_request.name,
            etag=access_request.etag,
            reason=reason,
            request_id=request_id or _new_id(),
            officer=officer,
        )
        call = self._access_desk.RevokeAccessRequest
        return (await self._call(call, request, timeout, request.request_id)).access_request

    async def get_access_request(
        self, name: str, officer: OfficerContext, *, timeout: float | None = None
    ) -> AccessRequest:
        """Reads a request for access by its resource name, `accessRequests/{uuid}`."""
        request = GetAccessRequestRequest(name=name, officer=officer)
        return (await self._call(self._access_desk.GetAccessRequest, request, timeout)).access_request

    async def list_access_requests(
        self,
        officer: OfficerContext,
        *,
        state: AccessRequestState.ValueType = AccessRequestState.ACCESS_REQUEST_STATE_UNSPECIFIED,
        overdue_only: bool = False,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[AccessRequest]:
        """Reads the requests for access of this node, those that it may forward, or for NPB all.

        Those that are overdue come first, then the newest; pages are fetched as they are needed.

        Args:
            state: only those in this state.
            overdue_only: only those that were to be forwarded before now.
        """
        request = ListAccessRequestsRequest(
            officer=officer, state=state, overdue_only=overdue_only, page_size=page_size
        )
        async for page in self._pages(self._access_desk.ListAccessRequests, request, timeout):
            for access_request in page.access_requests:
                yield access_request

    async def import_offenders(
        self, rows: Iterable[ImportOffendersRequest], *, window: int = 256, timeout: float | None = None
    ) -> AsyncGenerator[ImportOffendersResponse]:
        """Enters many records; gives one result for each row, in the order of the rows.

        A refused row is a result and stops nothing. The same rows with the same request_ids can be sent again
        after the stream was cut: what was written gives the same result. Rows are taken as they are needed.
        Closing the iterator cancels what is under way.

        Args:
            rows: what to enter; `nsor_client.rows` reads them from files.
            window: rows at most that are sent and wait for their results.
            timeout: seconds for the whole import; none unless given, since its length is not known.

        Raises:
            Exception: what `rows` raised, after the results of the rows before.
        """
        results = self._one_for_one(self._registry.ImportOffenders, ImportOffendersRequest, rows, window, timeout)
        async with aclosing(results):
            async for result in results:
                yield result

    async def record_notice(
        self,
        parent: str,
        notice: Notice,
        *,
        request_id: str | None = None,
        officer: OfficerContext | None = None,
        timeout: float | None = None,
    ) -> RecordNoticeResponse:
        """Records what an offender notified; `parent` is the offender, `offenders/{uuid}`."""
        request = RecordNoticeRequest(parent=parent, notice=notice, request_id=request_id or _new_id(), officer=officer)
        return await self._call(self._monitoring.RecordNotice, request, timeout, request.request_id)

    async def list_notices(
        self, parent: str, officer: OfficerContext, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[Notice]:
        """Reads the notices of one offender, newest first; pages are fetched as they are needed."""
        request = ListNoticesRequest(parent=parent, officer=officer, page_size=page_size)
        async for page in self._pages(self._monitoring.ListNotices, request, timeout):
            for notice in page.notices:
                yield notice

    async def write(
        self,
        request: CreateOffenderRequest | UpdateOffenderRequest | RecordNoticeRequest,
        *,
        timeout: float | None = None,
    ) -> CreateOffenderResponse | UpdateOffenderResponse | RecordNoticeResponse:
        """Sends a write as it was made, with the `request_id` that it has."""
        match request:
            case CreateOffenderRequest():
                return await self._call(self._registry.CreateOffender, request, timeout, request.request_id)
            case UpdateOffenderRequest():
                return await self._call(self._registry.UpdateOffender, request, timeout, request.request_id)
            case RecordNoticeRequest():
                return await self._call(self._monitoring.RecordNotice, request, timeout, request.request_id)

    async def watch_changes(
        self, after: str = "", *, on_state: OnState | None = None
    ) -> AsyncGenerator[WatchChangesResponse]:
        """Follows the changes of the register: in order, each once, until the iterator is closed.

        Where the line breaks, or the hub ends it, the watch goes on after the last response that it gave, as
        soon as there is a line again: nothing is left out, nothing comes twice. A response without events is a
        bookmark. Keep the `revision` of the last response that was applied, and give it as `after` when the
        program starts again. It has no deadline; a dead line is noticed by keepalive. Cancelling a pending
        read, as `asyncio.wait_for` does, ends the watch.

        Args:
            after: revision to continue after; "0" for everything; empty for what changes from the first
                response on.
            on_state: told when the watch is connected, and each time that it waits for another try, and why.

        Raises:
            NsorError: one that no later try can mend. Those about `after`: `InvalidRequest` (INVALID_REVISION),
                `FailedPrecondition` (REVISION_EPOCH_CHANGED), `OutOfRange` (REVISION_COMPACTED: take
                `get_snapshot`, and watch after its revision).
        """

        def begin() -> AsyncGenerator[WatchChangesResponse]:
            return self._stream(self._federation.WatchChanges, WatchChangesRequest(after=after))

        async with aclosing(self._following(begin, on_state)) as responses:
            async for response in responses:
                after = response.revision
                yield response

    async def get_snapshot(
        self, *, at_least_revision: str = "", timeout: float | None = None
    ) -> AsyncGenerator[GetSnapshotResponse]:
        """Reads every record and notice as they were at one revision; `watch_changes` goes on after it.

        The last response has `end` set, and comes only after everything matched its numbers and its checksum.
        Until then what was read is to be thrown away if an error comes.

        Args:
            at_least_revision: the snapshot must be as new as this revision, for example that of a write of one's own.
            timeout: seconds for the whole snapshot; none unless given, since its length is not known.

        Raises:
            Unavailable: the snapshot was cut.
            InternalError: it does not match its own numbers and checksum.
        """
        check = SnapshotCheck()
        with self._outgoing(GetSnapshotRequest) as outgoing:
            request = GetSnapshotRequest(at_least_revision=at_least_revision)
            call = self._federation.GetSnapshot(request, timeout=timeout, metadata=outgoing.metadata)
            try:
                async for response in call:
                    check.add(response)
                    yield response
            finally:
                call.cancel()
        check.finish()

    async def acknowledge_changes(self, revision: str, *, timeout: float | None = None) -> None:
        """States that this node has applied the feed, durably, up to the revision of a response."""
        request = AcknowledgeChangesRequest(revision=revision)
        await self._call(self._federation.AcknowledgeChanges, request, timeout)

    async def report_outbox(
        self,
        outbox_id: str,
        oldest_wait: timedelta = timedelta(0),
        *,
        closed: bool = False,
        timeout: float | None = None,
    ) -> None:
        """States how far an outbox of this node has come, as `Outbox.send` does. Police and NPB.

        A node with a queue of its own calls it for that every minute or so, under an id made once.

        Args:
            outbox_id: a UUID.
            oldest_wait: for how long its oldest write has been waiting; 0 where none waits.
            closed: it is not used any more, and nobody is to wait for it.
            timeout: seconds; a report that took longer than 10 would be too old to be believed.
        """
        request = ReportOutboxRequest(outbox_id=outbox_id, closed=closed)
        if oldest_wait:
            request.oldest_wait.FromTimedelta(oldest_wait)
        limit = min(self._timeout if timeout is None else timeout, _LONGEST_REPORT)
        await self._call(self._federation.ReportOutbox, request, limit)

    async def get_federation_status(self, *, timeout: float | None = None) -> GetFederationStatusResponse:
        """Tells how far the register is, and how far behind it each node that follows it."""
        return await self._call(self._federation.GetFederationStatus, GetFederationStatusRequest(), timeout)

    async def reconcile(
        self,
        cnics: Iterable[str],
        *,
        everything: bool = False,
        at_least_revision: str = "",
        timeout: float | None = None,
    ) -> Reconciliation:
        """Compares this node's own register with the hub's: what each has and the other has not.

        Few octets travel where little differs. The hub keeps the counts, for `get_federation_status`.

        Args:
            cnics: the numbers on this node's register, 13 ASCII digits, with or without dashes.
            everything: compare with all records of the hub, instead of those that this node owns.
            timeout: seconds for the whole comparison; none unless given, since its length is not known.

        Raises:
            ValueError: a number is not one. It is not quoted.
        """
        comparison = Comparison(cnics, everything=everything, at_least_revision=at_least_revision)
        turns = asyncio.Semaphore(1)

        async def requests() -> AsyncGenerator[ReconcileRequest]:
            await turns.acquire()
            while request := comparison.request():
                yield request
                await turns.acquire()

        with self._outgoing(ReconcileRequest) as outgoing:
            call = self._federation.Reconcile(requests(), timeout=timeout, metadata=outgoing.metadata)
            outgoing.keep_status(call)
            try:
                async for response in call:
                    comparison.take(response)
                    turns.release()
            finally:
                turns.release()  # lets `requests` end where it waits for an answer
                call.cancel()
        return comparison.result()

    async def list_nodes(self, *, page_size: int = 0, timeout: float | None = None) -> AsyncGenerator[Node]:
        """Reads the nodes of the federation, by name; pages are fetched as they are needed."""
        request = ListNodesRequest(page_size=page_size)
        async for page in self._pages(self._federation.ListNodes, request, timeout):
            for node in page.nodes:
                yield node

    async def create_node(
        self, node_id: str, node: Node, *, request_id: str | None = None, timeout: float | None = None
    ) -> CreateNodeResponse:
        """Creates a node, and the token by which it enrols once (`nsor_client.enrol`). For NPB.

        Args:
            node_id: for example "punjab-police"; it never changes.
            node: its name for people, role and jurisdiction.
        """
        request = CreateNodeRequest(node_id=node_id, node=node, request_id=request_id or _new_id())
        return await self._call(self._federation.CreateNode, request, timeout, request.request_id)

    async def create_enrolment_token(
        self, name: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> CreateEnrolmentTokenResponse:
        """Creates a further token for a node, `nodes/{node}`; its unused ones are void from then on. For NPB."""
        request = CreateEnrolmentTokenRequest(name=name, request_id=request_id or _new_id())
        return await self._call(self._federation.CreateEnrolmentToken, request, timeout, request.request_id)

    async def suspend_node(
        self, name: str, reason: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> Node:
        """Keeps a node, `nodes/{node}`, out for the time being; gives it as it is then. For NPB."""
        request = SuspendNodeRequest(name=name, reason=reason, request_id=request_id or _new_id())
        return (await self._call(self._federation.SuspendNode, request, timeout, request.request_id)).node

    async def resume_node(
        self, name: str, reason: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> Node:
        """Lets a suspended node in again; gives it as it is then. For NPB."""
        request = ResumeNodeRequest(name=name, reason=reason, request_id=request_id or _new_id())
        return (await self._call(self._federation.ResumeNode, request, timeout, request.request_id)).node

    async def revoke_node(
        self, name: str, reason: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> Node:
        """Keeps a node out for ever; gives it as it is then. For NPB."""
        request = RevokeNodeRequest(name=name, reason=reason, request_id=request_id or _new_id())
        return (await self._call(self._federation.RevokeNode, request, timeout, request.request_id)).node

    async def renew(self, *, timeout: float | None = None) -> Credentials:
        """Fetches a further certificate for this node and its key, and the CAs as they are now.

        This client goes on with the certificate it has, which stays good until its end; a new client takes the new
        one. With `Credentials.write` they are kept. A client made with `renew` does all of this by itself.
        """
        request = RenewCertificateRequest(csr=self._credentials.csr())
        granted = await self._call(self._federation.RenewCertificate, request, timeout)
        return Credentials(granted.certificate.encode(), self._credentials.key_pem, granted.ca_certificates.encode())

    async def _keep_renewed(self) -> None:
        """Takes what comes into the folder of the credentials, and renews it in time, until the client is closed."""
        directory = self._credentials.directory
        assert directory is not None, "looked at when the client was made"
        seen, schedule = self._credentials, Schedule(self._credentials)
        backoff = Backoff(longest=LONGEST_WAIT)
        while not self._closed.is_set():
            try:
                stored = Credentials.from_dir(directory)
                if stored not in (seen, self._credentials):
                    await self._switch(stored)
                    schedule = Schedule(stored)
                seen = stored
                if schedule.is_due():
                    renewed = await self.renew()
                    try:
                        renewed.write(directory)
                    except OSError as error:
                        log.warning("the renewed certificate could not be kept: %s", error)
                    await self._switch(renewed)
                    schedule = Schedule(renewed)
                    log.info("the certificate was renewed; it ends %s", renewed.expire_time)
                backoff.reset()
                wait = schedule.wait()
            except (NsorError, CredentialsError) as error:
                if self._closed.is_set():
                    return
                wait = backoff.next(error.retry_after if isinstance(error, NsorError) else None)
                log.warning("the certificate was not renewed, next try in %.1f s: %s", wait, error)
            await async_pause(self._closed, wait)

    async def _switch(self, credentials: Credentials) -> None:
        """Takes other credentials. Their line is up before calls go over it.

        The old line stays for the calls that are open on it, until its certificate has ended.
        """
        channel = self._open(credentials)
        try:
            await async_ready(channel, self._timeout)
        except BaseException:
            await channel.close()
            raise
        self._old_lines.append((self._credentials, self._channel))
        self._take(credentials, channel)
        ended = [line for line in self._old_lines if line[0].expired]
        self._old_lines = [line for line in self._old_lines if line not in ended]
        for _, old in ended:
            await old.close()

    def _open(self, credentials: Credentials) -> "grpc.aio.Channel":
        options = self._endpoint.channel_options()
        return grpc.aio.secure_channel(self._endpoint.target, credentials.channel_credentials(), options=options)

    def _take(self, credentials: Credentials, channel: "grpc.aio.Channel") -> None:
        """Makes a line the one that calls go over."""
        self._credentials = credentials
        self._endpoint = replace(self._endpoint, credentials=credentials)
        self._lookup = LookupServiceStub(channel)
        self._consent = ConsentServiceStub(channel)
        self._vetting = VettingServiceStub(channel)
        self._registry = RegistryServiceStub(channel)
        self._access_desk = AccessDeskServiceStub(channel)
        self._federation = FederationServiceStub(channel)
        self._monitoring = MonitoringServiceStub(channel)
        self._channel = channel

    async def _call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        timeout: float | None,
        request_id: str = "",
    ) -> _Response:
        limit = self._timeout if timeout is None else timeout
        with self._outgoing(type(request), request_id) as outgoing:
            return await method(request, timeout=limit, metadata=outgoing.metadata)

    async def _one_for_one(
        self,
        method: "grpc.aio.StreamStreamMultiCallable[_Request, _Response]",
        kind: type[_Request],
        messages: Iterable[_Request],
        window: int,
        timeout: float | None,
    ) -> AsyncGenerator[_Response]:
        """The responses of a stream where each request gets one; at most `window` requests wait for theirs."""
        slots = asyncio.Semaphore(window)
        sent, received = 0, 0
        complete, over = False, False
        failure: Exception | None = None

        async def requests() -> AsyncGenerator[_Request]:
            nonlocal sent, complete, failure
            try:
                for message in messages:
                    await slots.acquire()
                    if over:
                        return
                    sent += 1
                    yield message
                complete = True
            except Exception as error:  # gRPC would only log it
                failure = error

        with self._outgoing(kind) as outgoing:
            call = method(requests(), timeout=timeout, metadata=outgoing.metadata)
            outgoing.keep_status(call)
            try:
                async for response in call:
                    received += 1
                    if received > sent:  # or it would stand beside what is asked later
                        raise InternalError(grpc.StatusCode.INTERNAL, "The hub answered what it was not asked.")
                    slots.release()
                    yield response
            finally:
                over = True
                slots.release()  # lets `requests` end where it waits for a slot
                call.cancel()
        if failure is not None:
            raise failure
        if received < sent or not complete:
            raise ended_early()

    async def _following(
        self, begin: Callable[[], AsyncGenerator[_Response]], on_state: OnState | None
    ) -> AsyncGenerator[_Response]:
        """The responses of a stream that is begun again wherever it breaks, for as long as a later try can help.

        Args:
            begin: begins it after the last response that was given.
        """
        tell: OnState = on_state or _ignore
        backoff = Backoff()
        connected = False
        while True:
            line = self._channel
            try:
                async with aclosing(begin()) as responses:
                    async for response in responses:
                        if not connected:
                            connected = True
                            backoff.reset()
                            tell(LineState())
                        yield response
                        if self._channel is not line:
                            break
                    else:
                        raise Unavailable(grpc.StatusCode.UNAVAILABLE, "The hub ended the stream.")
            except NsorError as error:
                if self._closed.is_set():
                    raise
                if self._channel is not line:
                    continue  # the old one may have ended with its certificate
                if not may_pass(error):
                    raise
                connected = False
                wait = backoff.next(error.retry_after)
                tell(LineState(error, wait))
                await async_pause(self._closed, wait)
                if self._closed.is_set():
                    raise

    async def _stream(
        self, method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]", request: _Request
    ) -> AsyncGenerator[_Response]:
        """The responses to a request, to their end."""
        with self._outgoing(type(request)) as outgoing:
            call = method(request, metadata=outgoing.metadata)
            try:
                async for response in call:
                    yield response
            finally:
                call.cancel()

    async def _pages(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[_ListRequest, _Page]",
        request: _ListRequest,
        timeout: float | None,
    ) -> AsyncGenerator[_Page]:
        while True:
            page = await self._call(method, request, timeout)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _outgoing(self, request: type[Message], request_id: str = "") -> AbstractContextManager[Outgoing]:
        return outgoing_call(self._tracer, self._endpoint, request, request_id)


def _ignore(_: LineState) -> None:
    """Where nobody wants to know the state."""


def _new_id() -> str:
    return str(uuid4())
