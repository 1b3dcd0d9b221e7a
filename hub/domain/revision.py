"""Revisions: what the hub calls the states that the register has been in, for callers to hold and to ask for."""

import re
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from hub.domain.errors import Reason, Refused

_TOKEN = re.compile(r"([0-9a-f]{8})\.w([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of the register: as a write left it.

    A write does not know its number in the feed, since only the sequencer, later, gives it. So revisions go by the id
    of the write. A part of the id is drawn by lot: a register that was restored and went on gives no id a second time,
    and so every revision that it has lost is recognised.

    Attributes:
        epoch: the register's epoch, drawn when it was set up.
        write: id of the outbox entry; 0 before the first.
    """

    epoch: UUID
    write: int

    @property
    def token(self) -> str:
        """The opaque form that callers see."""
        return f"{_short(self.epoch)}.w{self.write}"

    @classmethod
    def parse(cls, token: str, epoch: UUID) -> "Revision":
        """Reads a token of this epoch.

        Raises:
            Refused: INVALID_REVISION, or REVISION_EPOCH_CHANGED when it is of another epoch.
        """
        match = _TOKEN.fullmatch(token)
        if not match:
            raise Refused(Reason.INVALID_REVISION, "not a revision of this hub")
        if match[1] != _short(epoch):
            raise lost_revision()
        return cls(epoch, int(match[2]))


def lost_revision() -> Refused:
    """The register does not have the revision."""
    return Refused(
        Reason.REVISION_EPOCH_CHANGED,
        "the register does not have this revision: it was restored to an earlier state, or set up anew",
    )


def compacted_revision() -> Refused:
    """The feed does not have it any more."""
    return Refused(Reason.REVISION_COMPACTED, "the feed no longer holds this revision; take a snapshot")


@lru_cache(maxsize=1)
def _short(epoch: UUID) -> str:
    return epoch.hex[-8:]
