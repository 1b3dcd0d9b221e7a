"""What the hub refuses, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Reason of a refusal: the names of `nsor.common.v1.ErrorReason`, where each is documented."""

    INVALID_FIELD = "INVALID_FIELD"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"
    INVALID_REVISION = "INVALID_REVISION"
    CSR_INVALID = "CSR_INVALID"
    IDENTITY_NOT_RECOGNISED = "IDENTITY_NOT_RECOGNISED"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    CERTIFICATE_NOT_ENROLLED = "CERTIFICATE_NOT_ENROLLED"
    NODE_NOT_ACTIVE = "NODE_NOT_ACTIVE"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    NOT_OWNER = "NOT_OWNER"
    PURPOSE_NOT_ALLOWED = "PURPOSE_NOT_ALLOWED"
    ENROLMENT_TOKEN_INVALID = "ENROLMENT_TOKEN_INVALID"
    OFFENDER_NOT_FOUND = "OFFENDER_NOT_FOUND"
    OFFENDER_ALREADY_EXISTS = "OFFENDER_ALREADY_EXISTS"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    NODE_NOT_FOUND = "NODE_NOT_FOUND"
    NODE_ALREADY_EXISTS = "NODE_ALREADY_EXISTS"
    NODE_REVOKED = "NODE_REVOKED"
    NODE_IS_CALLER = "NODE_IS_CALLER"
    REVISION_EPOCH_CHANGED = "REVISION_EPOCH_CHANGED"
    REVISION_NOT_REACHED = "REVISION_NOT_REACHED"
    REVISION_COMPACTED = "REVISION_COMPACTED"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    HUB_UNAVAILABLE = "HUB_UNAVAILABLE"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    SIGNING_UNAVAILABLE = "SIGNING_UNAVAILABLE"
    INTERNAL = "INTERNAL"
    CONVICTION_SET_ASIDE = "CONVICTION_SET_ASIDE"
    OFFENDER_SEALED = "OFFENDER_SEALED"
    OFFENDER_MERGED = "OFFENDER_MERGED"
    COURT_EVENT_NOT_POSSIBLE = "COURT_EVENT_NOT_POSSIBLE"
    TRANSFER_ALREADY_OPEN = "TRANSFER_ALREADY_OPEN"
    NO_OPEN_TRANSFER = "NO_OPEN_TRANSFER"
    NOT_RECEIVER = "NOT_RECEIVER"
    WATCHED_PERSON_NOT_FOUND = "WATCHED_PERSON_NOT_FOUND"
    WATCH_LIST_FULL = "WATCH_LIST_FULL"
    ALERT_NOT_FOUND = "ALERT_NOT_FOUND"
    CONSENT_PASSCODE_WRONG = "CONSENT_PASSCODE_WRONG"
    CONSENT_NOT_VALID = "CONSENT_NOT_VALID"
    CONSENT_NOT_NEEDED = "CONSENT_NOT_NEEDED"
    IDENTITY_EVENT_NOT_POSSIBLE = "IDENTITY_EVENT_NOT_POSSIBLE"
    OFFENDER_DUPLICATE = "OFFENDER_DUPLICATE"
    LIKELY_DUPLICATE = "LIKELY_DUPLICATE"
    ACCESS_NOT_GRANTED = "ACCESS_NOT_GRANTED"
    ACCESS_REQUEST_NOT_FOUND = "ACCESS_REQUEST_NOT_FOUND"
    ACCESS_STEP_NOT_POSSIBLE = "ACCESS_STEP_NOT_POSSIBLE"


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that breaks a rule.

    Attributes:
        field: path from the request, for example "offender.person.cnic".
        reason: the rule, in upper snake case, for example "UNKNOWN_DISTRICT".
        description: what is wrong, in a sentence that begins after the field's name and quotes no value.
    """

    field: str
    reason: str
    description: str


class Refused(Exception):
    """The hub will not do what was asked. Neither message nor metadata may hold personal data.

    Args:
        retry_after: seconds after which the same would be done; None where that is not known.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


def invalid(*violations: Violation) -> Refused:
    """A refusal that names the fields which break a rule."""
    fields = ", ".join(v.field for v in violations if v.field) or "the request"
    return Refused(Reason.INVALID_FIELD, f"invalid: {fields}", violations=violations)
