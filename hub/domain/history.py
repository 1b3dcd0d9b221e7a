"""How a record came to be as it is."""

from dataclasses import dataclass

from hub.domain.node import Caller, Officer
from hub.domain.offender import Offender


@dataclass(frozen=True, slots=True)
class Cause:
    """Who made a version of a record, and why.

    Attributes:
        node: id of the node.
        method: full name of the RPC.
        officer: who at the node; None if it named nobody, or the record is sealed since.
        reason: in the node's words; empty if it gave none, or the record is sealed since.
    """

    node: str
    method: str
    officer: Officer | None
    reason: str

    @property
    def given(self) -> bool:
        """Whether the node said anything of it."""
        return bool(self.officer or self.reason)

    @classmethod
    def of(cls, caller: Caller, reason: str = "") -> "Cause":
        """That of a change which a caller makes."""
        return cls(caller.node.id, caller.method, caller.officer, reason)


@dataclass(frozen=True, slots=True)
class Version:
    """A record as it is or was at one version, and how it came to be."""

    offender: Offender
    cause: Cause
