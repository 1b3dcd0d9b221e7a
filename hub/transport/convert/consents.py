"""Consents of `nsor.lookup.v1`."""

from hub.domain.cnic import Cnic
from hub.domain.consent import Consent, GivenConsent, Passcode, PasscodeDelivery
from hub.transport.convert.common import NO_CNIC, member, named_id, reading, timestamp
from nsor.lookup.v1 import consent_pb2, consent_service_pb2


def person_to_ask(request: consent_service_pb2.RequestConsentRequest) -> Cnic:
    """The number of who is asked for consent.

    Raises:
        Refused: INVALID_FIELD: it is none.
    """
    with reading() as read:
        cnic = read.cnic("cnic", request.cnic)
    return cnic or NO_CNIC


def given_consent(message: consent_pb2.GivenConsent) -> GivenConsent:
    """What a caller brings of a person's consent."""
    return GivenConsent(named_id(message.name), message.passcode)


def passcode_delivery(request: consent_service_pb2.AcknowledgePasscodeRequest) -> PasscodeDelivery:
    """What became of a passcode."""
    return member(PasscodeDelivery, consent_pb2.PasscodeDelivery, request.delivery)


def consent_message(consent: Consent) -> consent_pb2.Consent:
    """A consent as a message."""
    return consent_pb2.Consent(name=consent.name, expire_time=timestamp(consent.expires_at))


def passcode_message(passcode: Passcode) -> consent_pb2.Passcode:
    """A passcode as a message."""
    return consent_pb2.Passcode(
        consent=passcode.consent.name,
        cnic=passcode.cnic.formatted,
        passcode=passcode.code,
        requester=f"nodes/{passcode.consent.node_id}",
        expire_time=timestamp(passcode.consent.expires_at),
    )
