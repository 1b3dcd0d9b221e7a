"""What the command says, and with which code it ends, when a call failed."""

from collections.abc import Iterator

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NsorError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

OTHER, USAGE, REFUSED, INVALID, UNAVAILABLE, ROWS_REFUSED, DIFFERENT = 1, 2, 3, 4, 5, 6, 7

_EXIT_CODES: dict[type[NsorError], int] = {
    PermissionDenied: REFUSED,
    Unauthenticated: REFUSED,
    InvalidRequest: INVALID,
    Unavailable: UNAVAILABLE,
    DeadlineExceeded: UNAVAILABLE,
}

_ASK_NPB = "Ask the access desk of NPB."
_LATER = "Try again in a moment."

ADVICE: dict[ErrorReason.ValueType, str] = {
    ErrorReason.ERROR_REASON_INVALID_FIELD: "Correct what is named above and send it again.",
    ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE: "Send less at once.",
    ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN: "Start the list from its beginning.",
    ErrorReason.ERROR_REASON_INVALID_REVISION: "Give a revision that this hub printed, or none.",
    ErrorReason.ERROR_REASON_CSR_INVALID: "Make a new key (ECDSA P-256): remove key.pem from the folder.",
    ErrorReason.ERROR_REASON_ENROLMENT_TOKEN_INVALID: f"The node needs a new token. {_ASK_NPB}",
    ErrorReason.ERROR_REASON_IDENTITY_NOT_RECOGNISED: f"The certificate names no node of this hub. {_ASK_NPB}",
    ErrorReason.ERROR_REASON_CERTIFICATE_EXPIRED: f"The node needs a new certificate. {_ASK_NPB}",
    ErrorReason.ERROR_REASON_CERTIFICATE_NOT_ENROLLED: f"The hub does not know this certificate. {_ASK_NPB}",
    ErrorReason.ERROR_REASON_NODE_NOT_ACTIVE: f"The node is suspended or revoked. {_ASK_NPB}",
    ErrorReason.ERROR_REASON_ROLE_NOT_ALLOWED: "It is not for nodes of this role: another node has to do it.",
    ErrorReason.ERROR_REASON_NOT_OWNER: "Only the node that owns the record may change it: ask that one.",
    ErrorReason.ERROR_REASON_PURPOSE_NOT_ALLOWED: (
        "State the purpose that is true, for example --purpose investigation --fir NUMBER/YEAR."
    ),
    ErrorReason.ERROR_REASON_OFFENDER_NOT_FOUND: "Check the name of the record, offenders/...",
    ErrorReason.ERROR_REASON_OFFENDER_ALREADY_EXISTS: "Work with the record that exists, named above.",
    ErrorReason.ERROR_REASON_REQUEST_ID_REUSED: "Leave --request-id out, unless it is the same request again.",
    ErrorReason.ERROR_REASON_ETAG_MISMATCH: "Read the record again, and decide again.",
    ErrorReason.ERROR_REASON_NODE_NOT_FOUND: "Check the id of the node: nsor node list",
    ErrorReason.ERROR_REASON_NODE_ALREADY_EXISTS: "Choose another id, or see: nsor node token --help",
    ErrorReason.ERROR_REASON_NODE_REVOKED: "Create a node with another id.",
    ErrorReason.ERROR_REASON_NODE_IS_CALLER: "Another node of NPB can do it, or the operator of the hub.",
    ErrorReason.ERROR_REASON_REVISION_EPOCH_CHANGED: "The register was restored: start again without a revision.",
    ErrorReason.ERROR_REASON_REVISION_NOT_REACHED: _LATER,
    ErrorReason.ERROR_REASON_REVISION_COMPACTED: "The hub no longer keeps what changed since: leave --after out.",
    ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE: _LATER,
    ErrorReason.ERROR_REASON_HUB_UNAVAILABLE: _LATER,
    ErrorReason.ERROR_REASON_TOO_MANY_REQUESTS: _LATER,
    ErrorReason.ERROR_REASON_SIGNING_UNAVAILABLE: "Do the same again later: the CA may need a person to sign.",
    ErrorReason.ERROR_REASON_CONVICTION_SET_ASIDE: "Take it out of your books too. After a retrial, check its date.",
    ErrorReason.ERROR_REASON_OFFENDER_SEALED: "Nothing is left to do with this record.",
    ErrorReason.ERROR_REASON_OFFENDER_MERGED: "Do it with the record that the error names.",
    ErrorReason.ERROR_REASON_COURT_EVENT_NOT_POSSIBLE: "Record first what happened before, or check the conviction.",
    ErrorReason.ERROR_REASON_TRANSFER_ALREADY_OPEN: "Wait for the answer, or take it back: nsor transfer decline",
    ErrorReason.ERROR_REASON_NO_OPEN_TRANSFER: "See what is open: nsor transfer list",
    ErrorReason.ERROR_REASON_NOT_RECEIVER: "The node named above decides, or NPB.",
    ErrorReason.ERROR_REASON_WATCHED_PERSON_NOT_FOUND: "See who is on the list: nsor vetting list",
    ErrorReason.ERROR_REASON_WATCH_LIST_FULL: "Take off who left: nsor vetting remove",
    ErrorReason.ERROR_REASON_ALERT_NOT_FOUND: (
        "Send your people again (nsor vetting add), then leave --after out: all alerts that are kept come again."
    ),
    ErrorReason.ERROR_REASON_CONSENT_PASSCODE_WRONG: (
        "Ask the person to read the passcode again; once no try is left: nsor consent request"
    ),
    ErrorReason.ERROR_REASON_CONSENT_NOT_VALID: "Ask the person for another one: nsor consent request",
    ErrorReason.ERROR_REASON_CONSENT_NOT_NEEDED: "Check without one: nsor check",
    ErrorReason.ERROR_REASON_IDENTITY_EVENT_NOT_POSSIBLE: "Compare with what the record says of the person.",
    ErrorReason.ERROR_REASON_OFFENDER_DUPLICATE: "Tell NPB of the two records: they are to be merged.",
    ErrorReason.ERROR_REASON_LIKELY_DUPLICATE: (
        "Compare the records named above. Is it none of them: nsor offender create --not-the-same-as ... --because ..."
    ),
    ErrorReason.ERROR_REASON_ACCESS_NOT_GRANTED: (
        "Ask the access desk, with the FIR: nsor access request; or see what was granted: nsor access list"
    ),
    ErrorReason.ERROR_REASON_ACCESS_REQUEST_NOT_FOUND: "Check the name of the request: nsor access list",
    ErrorReason.ERROR_REASON_ACCESS_STEP_NOT_POSSIBLE: (
        "See how far it is: nsor access get. NPB decides what the prosecutor forwarded, or what is overdue."
    ),
    ErrorReason.ERROR_REASON_INTERNAL: "Report it to the operator of the hub, with the trace_id if there is one.",
}
"""What a person can do about each reason for which the hub refuses."""


def exit_code(error: NsorError) -> int:
    """Exit code of the command that failed so; `nsor --help` lists them."""
    if error.reason == ErrorReason.ERROR_REASON_TOO_MANY_REQUESTS:
        return UNAVAILABLE  # of its status only this passes with time: what is too large stays so
    return _EXIT_CODES.get(type(error), OTHER)


def describe(error: NsorError) -> Iterator[str]:
    """Lines for a person: what happened, the reason, the fields, and what to do."""
    yield f"error: {error.message}"
    yield f"  {error.code.name} {error.reason_name}".rstrip()
    yield from (f"  {v.field}: {v.description} ({v.reason})" for v in error.field_violations)
    yield from (f"  {key}: {value}" for key, value in error.metadata.items())
    if error.request_id and isinstance(error, Unavailable | DeadlineExceeded):
        yield (
            "what to do: It is not known whether it was written. Do it again with "
            f"--request-id {error.request_id}: it can be written once only."
        )
    elif error.reason is not None and error.reason in ADVICE:
        yield f"what to do: {ADVICE[error.reason]}"
    if error.retry_after is not None:
        yield f"  The hub asks to wait for {error.retry_after:g} s."
