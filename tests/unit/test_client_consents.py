"""The SDK's calls about consents, of both clients."""

from typing import Any

import grpc
import pytest

from nsor.lookup.v1.consent_pb2 import PASSCODE_DELIVERY_SENT, Consent, GivenConsent, Passcode
from nsor.lookup.v1.consent_service_pb2 import (
    AcknowledgePasscodeResponse,
    RequestConsentResponse,
    WatchPasscodesResponse,
)
from nsor_client import PermissionDenied
from tests.support.sdk_hub import ScriptedHub, closed, refuse, settled, step

pytest_plugins = ["tests.support.sdk_fixtures"]

CONSENT = Consent(name="consents/3f0c1a52-7a7e-4c52-9a8d-0d6f3c1f2b11")


async def test_a_consent_is_requested_under_an_id_of_its_own(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("RequestConsent", RequestConsentResponse(consent=CONSENT))
    for _ in range(2):
        assert await settled(sdk_client.request_consent("35202 ۰")) == CONSENT
    first, second = sdk_hub.requests["RequestConsent"]
    assert first.cnic == "35202 ۰"
    assert first.request_id != second.request_id


async def test_a_wrong_passcode_tells_the_tries_that_are_left(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnic"] = lambda _, context: refuse(
        context,
        grpc.StatusCode.PERMISSION_DENIED,
        "no",
        "ERROR_REASON_CONSENT_PASSCODE_WRONG",
        metadata={"tries_left": "2"},
    )
    given = GivenConsent(name=CONSENT.name, passcode="135791")
    with pytest.raises(PermissionDenied) as refused:
        await settled(sdk_client.check_cnic("1", consent=given))
    assert refused.value.metadata == {"tries_left": "2"}
    assert [request.consent for request in sdk_hub.requests["CheckCnic"]] == [given], "it is tried once"


async def test_passcodes_go_on_over_a_lost_line_and_are_acknowledged(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    waiting = WatchPasscodesResponse(passcodes=[Passcode(consent=CONSENT.name, passcode="135791")])
    sdk_hub.on["WatchPasscodes"] = lambda request, context: iter([waiting])
    sdk_hub.answer("AcknowledgePasscode", AcknowledgePasscodeResponse())
    watch = sdk_client.watch_passcodes()
    for _ in range(2):
        assert await step(watch) == waiting, "the hub ended the stream, and what was not acknowledged comes again"
    await closed(watch)
    await settled(sdk_client.acknowledge_passcode(CONSENT.name, PASSCODE_DELIVERY_SENT))
    [said] = sdk_hub.requests["AcknowledgePasscode"]
    assert (said.consent, said.delivery) == (CONSENT.name, PASSCODE_DELIVERY_SENT)
