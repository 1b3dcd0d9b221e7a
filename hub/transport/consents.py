"""`nsor.lookup.v1.ConsentService` over gRPC."""

from collections.abc import AsyncIterator
from typing import Any

from hub.service.consents import Consents
from hub.transport import convert
from hub.transport.convert.common import named_id, request_key
from hub.transport.pipeline import current_caller
from nsor.lookup.v1 import consent_service_pb2 as pb
from nsor.lookup.v1.consent_service_pb2_grpc import ConsentServiceServicer


class ConsentServicer(ConsentServiceServicer):
    """Converts, calls the use case, converts back."""

    def __init__(self, consents: Consents) -> None:
        self._consents = consents

    async def RequestConsent(self, request: pb.RequestConsentRequest, context: Any) -> pb.RequestConsentResponse:
        cnic = convert.consents.person_to_ask(request)
        asked = await self._consents.request(current_caller(), request_key(request), cnic)
        return pb.RequestConsentResponse(consent=convert.consents.consent_message(asked))

    async def WatchPasscodes(
        self, request: pb.WatchPasscodesRequest, context: Any
    ) -> AsyncIterator[pb.WatchPasscodesResponse]:
        async for passcodes in self._consents.watch(current_caller()):
            yield pb.WatchPasscodesResponse(passcodes=map(convert.consents.passcode_message, passcodes))

    async def AcknowledgePasscode(
        self, request: pb.AcknowledgePasscodeRequest, context: Any
    ) -> pb.AcknowledgePasscodeResponse:
        id, delivery = named_id(request.consent), convert.consents.passcode_delivery(request)
        await self._consents.acknowledge(current_caller(), id, delivery)
        return pb.AcknowledgePasscodeResponse()
