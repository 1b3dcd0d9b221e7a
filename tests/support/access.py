"""Access to records of other nodes, obtained as officers do: one asks, a prosecutor forwards, NPB grants."""

from typing import Any
from uuid import uuid4

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.registry.v1.access_desk_service_pb2 import (
    CreateAccessRequestRequest,
    DeclineAccessRequestRequest,
    ForwardAccessRequestRequest,
    GrantAccessRequestRequest,
    RevokeAccessRequestRequest,
)
from nsor.registry.v1.access_request_pb2 import (
    ACCESS_SCOPE_CONVICTIONS,
    ACCESS_SCOPE_HISTORY,
    ACCESS_SCOPE_NOTICES,
    ACCESS_SCOPE_PERSON,
    AccessRequest,
    AccessScope,
)
from tests.support.contract import INVESTIGATION, OVERSIGHT, Node, node
from tests.support.hub import RunningHub

EVERY_SCOPE = (ACCESS_SCOPE_PERSON, ACCESS_SCOPE_CONVICTIONS, ACCESS_SCOPE_NOTICES, ACCESS_SCOPE_HISTORY)
PROSECUTOR = OfficerContext(officer_id="D-20077", purpose="PURPOSE_INVESTIGATION", fir_number="123/2026")


def asking(
    offender: str, *scopes: AccessScope.ValueType, officer: OfficerContext = INVESTIGATION
) -> CreateAccessRequestRequest:
    """A request for access to a record, by default to all of it."""
    asked = AccessRequest(
        offender=offender,
        scopes=scopes or EVERY_SCOPE,
        police_station="Civil Lines, Faisalabad",
        reason="named by an accused",
    )
    return CreateAccessRequestRequest(access_request=asked, request_id=str(uuid4()), officer=officer)


def forwarding(asked: AccessRequest, reason: str = "") -> ForwardAccessRequestRequest:
    """A request to forward a request for access as it was read."""
    return ForwardAccessRequestRequest(
        name=asked.name, etag=asked.etag, reason=reason, request_id=str(uuid4()), officer=PROSECUTOR
    )


def granting(asked: AccessRequest, *scopes: AccessScope.ValueType, **fields: Any) -> GrantAccessRequestRequest:
    """A request to grant a request for access as it was read, by default all that is asked for."""
    return GrantAccessRequestRequest(
        name=asked.name,
        etag=asked.etag,
        scopes=scopes or asked.scopes,
        request_id=str(uuid4()),
        officer=OVERSIGHT,
        **fields,
    )


def declining(asked: AccessRequest, reason: str = "unrelated to the FIR") -> DeclineAccessRequestRequest:
    """A request to decline a request for access as it was read."""
    return DeclineAccessRequestRequest(
        name=asked.name, etag=asked.etag, reason=reason, request_id=str(uuid4()), officer=OVERSIGHT
    )


def revoking(asked: AccessRequest, reason: str = "the officer left the case") -> RevokeAccessRequestRequest:
    """A request to take back what was granted, as it was read."""
    return RevokeAccessRequestRequest(
        name=asked.name, etag=asked.etag, reason=reason, request_id=str(uuid4()), officer=OVERSIGHT
    )


def prosecution(hub: RunningHub, asker: Node) -> Node:
    """The prosecution that forwards what a node asks."""
    return node(hub, "sindh-prosecution" if asker.name == "nodes/sindh-police" else "punjab-prosecution")


def obtain(
    hub: RunningHub,
    asker: Node,
    offender: str,
    *scopes: AccessScope.ValueType,
    officer: OfficerContext = INVESTIGATION,
    **grant: Any,
) -> AccessRequest:
    """Access of a node to a record, as it was granted; by default to all of it."""
    asked = asker.call(asking(offender, *scopes, officer=officer)).access_request
    forwarded = prosecution(hub, asker).call(forwarding(asked)).access_request
    return node(hub, "npb").call(granting(forwarded, **grant)).access_request
