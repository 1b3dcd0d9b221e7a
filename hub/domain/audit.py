"""The trace that every access leaves."""

from datetime import datetime
from typing import NamedTuple

from hub.domain.node import Caller


class AuditEntry(NamedTuple):
    """One access: who did what to whom, and what was decided.

    Attributes:
        at: when, by the clock of the hub process.
        subject: the record's id (16 octets), the keyed hash of a CNIC (32 octets), or by a method that is about nodes
            or the disclosure policy a name; None when there is no one subject.
        decision: what was decided, in upper snake case: "ALLOWED", an outcome of a check, or the reason of a refusal.
    """

    at: datetime
    caller: Caller
    subject: bytes | None
    decision: str
