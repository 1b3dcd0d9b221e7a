"""What use cases need of the feed in this process, and how they wait for a revision."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from hub.domain.errors import Reason, Refused
from hub.domain.feed import Event, Place
from hub.domain.revision import Revision

_PATIENCE = 5.0


class Feed(Protocol):
    """The feed in this process, see `hub.feed.tail`."""

    @property
    def epoch(self) -> UUID:
        """The register's epoch."""
        ...

    @property
    def place(self) -> Place:
        """After the newest event."""
        ...

    @property
    def revision(self) -> Revision:
        """The newest revision."""
        ...

    @property
    def as_of(self) -> datetime:
        """Everything committed before this time has been applied."""
        ...

    def age(self) -> float:
        """Seconds since `as_of`."""
        ...

    async def resolve(self, revision: Revision) -> Place:
        """The place of a revision."""
        ...

    async def reached(self, revision: Revision) -> None:
        """Returns when this process has applied a revision."""
        ...

    def follow(
        self, after: Place, bookmark_seconds: float
    ) -> AsyncIterator[tuple[Sequence[Event], Place, datetime | None]]:
        """What comes after a place."""
        ...


async def reach(feed: Feed, at_least: str, seconds: float = _PATIENCE) -> None:
    """Returns when this process has a revision, by its token; at once for an empty one.

    Args:
        seconds: to wait for it.

    Raises:
        Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED.
    """
    if at_least:
        async with patience(seconds):
            await feed.reached(Revision.parse(at_least, feed.epoch))


@asynccontextmanager
async def patience(seconds: float = _PATIENCE) -> AsyncGenerator[None]:
    """Gives the revision of a write just made the moment that it may take.

    Raises:
        Refused: REVISION_NOT_REACHED, when the block takes longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Refused(Reason.REVISION_NOT_REACHED, "the hub does not have this revision yet; retry") from None
