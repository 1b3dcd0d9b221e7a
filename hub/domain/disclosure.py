"""Who may learn what about whom."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.domain.errors import Reason, Refused, Violation, invalid
from hub.domain.node import Caller, Purpose, Role
from hub.domain.offender import Finality, Offender, Transfer


class Channel(StrEnum):
    """How a check comes to the hub. Names as in `nsor.lookup.v1.Channel`."""

    SINGLE = "SINGLE"
    BATCH = "BATCH"


class DisclosureMode(StrEnum):
    """What a hit tells. Names as in `nsor.lookup.v1.DisclosureMode`."""

    OFF = "OFF"
    HIT_ONLY = "HIT_ONLY"
    HIT_WITH_NAME = "HIT_WITH_NAME"
    CONSENTED = "CONSENTED"


@dataclass(frozen=True, slots=True)
class DisclosurePolicy:
    """What the public roles are told, set by NPB.

    Attributes:
        modes: of a public role and the channel by which it asks; what is not there is OFF.
        under_appeal: whether a conviction under appeal alone makes a public hit.
        version: 1 for the policy that a register begins with, and one more with each update.
        updater: id of the node that made it so; empty for the first one.
    """

    modes: Mapping[tuple[Role, Channel], DisclosureMode]
    under_appeal: bool
    version: int
    updater: str
    updated_at: datetime

    @property
    def etag(self) -> str:
        """Changes with every update."""
        return str(self.version)

    @property
    def name(self) -> str:
        """Name of this version in the audit log."""
        return f"disclosurePolicy/{self.version}"

    def grant(self, role: Role, channel: Channel) -> "Grant":
        """What a public role is told."""
        return Grant(self.modes.get((role, channel), DisclosureMode.OFF), self.under_appeal)


_HIDDEN = {True: {Finality.SET_ASIDE}, False: {Finality.SET_ASIDE, Finality.UNDER_APPEAL}}


@dataclass(frozen=True, slots=True)
class Grant:
    """What one caller is told, in one way of asking.

    Attributes:
        under_appeal: whether a conviction under appeal alone is a hit.
    """

    mode: DisclosureMode
    under_appeal: bool

    def is_hit(self, finalities: Iterable[Finality]) -> bool:
        """Whether a person with convictions of these finalities is a hit. Set aside never is."""
        return not _HIDDEN[self.under_appeal].issuperset(finalities)


AUTHORITY = Grant(DisclosureMode.HIT_WITH_NAME, under_appeal=True)
"""What those are told who keep the register or enforce the law: everything that stands."""


def require_owner(caller: Caller, owner: str) -> None:
    """Lets only the owner of a record, or NPB, change it.

    Raises:
        Refused: NOT_OWNER.
    """
    if caller.node.id != owner and caller.node.role is not Role.NPB:
        raise Refused(Reason.NOT_OWNER, "the record belongs to another node", metadata={"owner": f"nodes/{owner}"})


def require_receiver(caller: Caller, transfer: Transfer) -> None:
    """Lets only the receiver of a proposed record, or NPB, decide on it.

    Raises:
        Refused: NOT_RECEIVER.
    """
    if caller.node.id != transfer.receiver and caller.node.role is not Role.NPB:
        receiver = f"nodes/{transfer.receiver}"
        raise Refused(Reason.NOT_RECEIVER, "the record was not proposed to the caller", metadata={"receiver": receiver})


def require_reason(caller: Caller, reason: str) -> None:
    """Lets NPB write what is another node's only if it says why. Asked after it is known that the caller may write.

    Raises:
        Refused: INVALID_FIELD.
    """
    if caller.node.role is Role.NPB and not reason:
        raise invalid(Violation("reason", "REQUIRED", "must say why NPB writes a record of another node"))


def is_party(caller: Caller, offender: Offender) -> bool:
    """Whether a record is the caller's own, or proposed to it."""
    return caller.node.id in (offender.owner, offender.transfer and offender.transfer.receiver)


def may_read(caller: Caller, offender: Offender) -> bool:
    """Whether a caller may read a record for the purpose that it states.

    The owner may, and whom it is proposed to. Anybody else needs an investigation with its FIR; NPB may also oversee.
    How much of it they read is for `hub.domain.access`.
    """
    if is_party(caller, offender):
        return True
    purpose = caller.officer.purpose if caller.officer else None
    return purpose is Purpose.INVESTIGATION or (caller.node.role is Role.NPB and purpose is Purpose.OVERSIGHT)


def require_read(caller: Caller, offender: Offender) -> None:
    """Lets a caller read a record, see `may_read`.

    Raises:
        Refused: PURPOSE_NOT_ALLOWED.
    """
    if not may_read(caller, offender):
        raise Refused(
            Reason.PURPOSE_NOT_ALLOWED,
            "records of other nodes are read for an investigation, with its FIR number",
        )
