"""How much of a record a caller reads."""

from datetime import datetime

from hub.domain.access import EVERYTHING, AccessScope, needs_grant, not_granted, released, require_investigation
from hub.domain.disclosure import is_party, require_read
from hub.domain.node import Caller
from hub.domain.offender import Offender
from hub.domain.ports import Transaction


async def readable(
    tx: Transaction, caller: Caller, offender: Offender, now: datetime, needed: AccessScope | None = None
) -> frozenset[AccessScope]:
    """The parts of a record that a caller may read: all, or what NPB has granted it for the FIR, at least one.

    One that was merged is read by its former owner, and by whoever may read the record that has its place.

    Args:
        needed: a part without which the rest is of no use.

    Raises:
        Refused: PURPOSE_NOT_ALLOWED, ACCESS_NOT_GRANTED.
    """
    if offender.merged_into and not is_party(caller, offender):
        offender = await tx.offender(offender.merged_into) or offender
    require_read(caller, offender)
    if not needs_grant(caller, offender):
        return EVERYTHING
    fir_number = require_investigation(caller).fir_number
    scopes = released(await tx.access_requests.in_force(caller.node.id, offender.id, now), fir_number, now)
    if not scopes or (needed and needed not in scopes):
        raise not_granted(offender.id, needed)
    return scopes
