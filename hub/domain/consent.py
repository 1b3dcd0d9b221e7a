"""A person's consent to be asked about: once, by one node, within minutes."""

import hmac
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from hub.domain.cnic import Cnic
from hub.domain.errors import Reason, Refused


class PasscodeDelivery(StrEnum):
    """What became of a passcode. Names as in `nsor.lookup.v1.PasscodeDelivery`."""

    SENT = "SENT"
    NO_PHONE = "NO_PHONE"


@dataclass(frozen=True, slots=True)
class GivenConsent:
    """What a caller brings: the id of a consent, and the passcode that the person told. It never shows the passcode."""

    id: UUID
    passcode: str

    def __repr__(self) -> str:
        return f"GivenConsent({self.id})"


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person is asked to agree to: that a node checks their number.

    Attributes:
        node_id: of whoever asks.
        cnic_index: blind index of the person's number.
        passcode_hash: keyed hash of the passcode, bound to the id.
        tries_left: 0 when it is spent, or was tried too often.
    """

    id: UUID
    node_id: str
    cnic_index: bytes
    passcode_hash: bytes
    tries_left: int
    created_at: datetime
    expires_at: datetime

    @property
    def name(self) -> str:
        """Resource name, "consents/{uuid}"."""
        return f"consents/{self.id}"

    def redeem(
        self, node_id: str, cnic_index: bytes, passcode_hash: bytes, now: datetime
    ) -> "tuple[Consent, Refused | None]":
        """The consent after somebody tried to use it, and the refusal; None if it was good, and is spent from now on.

        What is not good for this check is not tried: nothing is learnt about the passcode, and no try is lost.
        """
        is_good = self.tries_left > 0 and now < self.expires_at
        if not is_good or (node_id, cnic_index) != (self.node_id, self.cnic_index):
            return self, consent_not_valid()
        if hmac.compare_digest(passcode_hash, self.passcode_hash):
            return replace(self, tries_left=0), None
        left = self.tries_left - 1
        wrong = Refused(
            Reason.CONSENT_PASSCODE_WRONG,
            "the passcode is not that of the consent",
            metadata={"tries_left": str(left)},
        )
        return replace(self, tries_left=left), wrong


@dataclass(frozen=True, slots=True)
class Passcode:
    """A passcode to be brought to a person. It never shows the code.

    Attributes:
        seq: its place among all of them; they only ascend.
        code: six digits.
    """

    seq: int
    consent: Consent
    cnic: Cnic
    code: str

    def __repr__(self) -> str:
        return f"Passcode({self.consent.name})"


def consent_not_valid() -> Refused:
    """The one refusal of whatever is no good for a check: it does not tell why."""
    return Refused(Reason.CONSENT_NOT_VALID, "the consent is not good for this check; ask the person for another one")
