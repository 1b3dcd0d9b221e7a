"""The phones that NADRA has for people."""

from contextlib import closing

from nsor.lookup.v1.consent_pb2 import GivenConsent, Passcode
from nsor_client import Client


def passcodes(nadra: Client) -> dict[str, Passcode]:
    """What waits to be brought to people, by the name of the consent; nothing is acknowledged."""
    with closing(nadra.watch_passcodes()) as responses:
        return {passcode.consent: passcode for passcode in next(responses).passcodes}


def given(passcode: Passcode) -> GivenConsent:
    """The consent of somebody who tells the passcode."""
    return GivenConsent(name=passcode.consent, passcode=passcode.passcode)


def mistyped(passcode: Passcode) -> GivenConsent:
    """The same, with a wrong digit."""
    code = passcode.passcode
    return GivenConsent(name=passcode.consent, passcode=code[:-1] + str((int(code[-1]) + 1) % 10))
