"""Revisions of the register and the tokens that stand for them."""

import re
from dataclasses import dataclass
from uuid import UUID

from hub.domain.errors import Reason, Refused

_TOKEN = re.compile(r"([0-9a-f]{8})\.([sw])([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of the register within an epoch.

    A write does not know the sequence number that its transaction will get, since only the sequencer, later, gives it.
    So there are two kinds: by the number in the feed (`seq`), or by the outbox entry of a write (`write`), which the
    feed resolves once it is sequenced.

    Attributes:
        epoch: the register's epoch; a restore begins a new one.
        seq: number in the feed; None for a write.
        write: id of the outbox entry; None for a number.
    """

    epoch: UUID
    seq: int | None = None
    write: int | None = None

    @property
    def token(self) -> str:
        """The opaque form that callers see."""
        kind = f"s{self.seq}" if self.seq is not None else f"w{self.write}"
        return f"{_short(self.epoch)}.{kind}"

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
            raise Refused(Reason.REVISION_EPOCH_CHANGED, "the revision is of an earlier epoch of the register")
        number = int(match[3])
        return cls(epoch, seq=number) if match[2] == "s" else cls(epoch, write=number)


def _short(epoch: UUID) -> str:
    return epoch.hex[-8:]
