"""What use cases need of the watch lists."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from hub.domain.audit import AuditEntry
from hub.domain.ports import RequestKey
from hub.domain.vetting import AlertKind, KeptAlert, ListHead, PastAddition, Watched, WatchedPerson


class WatchList(Protocol):
    """A node's watch list within a transaction, locked."""

    seq: int
    """Number of its newest alert."""

    async def past_addition(self, request_id: UUID) -> PastAddition | None:
        """What was answered to a request before."""
        ...

    async def keep_request(self, request: RequestKey, people: Sequence[UUID], added: int, *, since: datetime) -> None:
        """Keeps what is answered to a request, and forgets requests made before `since`."""
        ...

    async def put(self, people: Sequence[WatchedPerson]) -> Mapping[bytes, UUID]:
        """Puts people on the list, marked, and gives the ids of their entries by the blind index.

        Who is there already keeps the entry, with the new references.
        """
        ...

    async def size(self) -> int:
        """How many people are on it."""
        ...

    async def remove(self, id: UUID) -> WatchedPerson | None:
        """Takes a person off, with the alerts not sent yet; gives who it was."""
        ...

    async def people(self, *, after: UUID | None, limit: int) -> Sequence[WatchedPerson]:
        """People by the id of their entry, after `after`."""
        ...

    async def due(self, limit: int) -> Sequence[Watched]:
        """People who are marked, as things stand."""
        ...

    async def settle(self, people: Collection[UUID]) -> None:
        """Takes the marks away."""
        ...

    async def add_alert(self, person_id: UUID, id: UUID, kind: AlertKind, offender_id: UUID, now: datetime) -> None:
        """Adds an alert, numbered, and keeps with the person what the watcher is told by it."""
        ...

    async def take_back(self, alerts: Collection[UUID]) -> None:
        """Takes alerts back that were not sent, and marks the people."""
        ...

    async def alerts(self, *, after: int, limit: int) -> Sequence[KeptAlert]:
        """Alerts after a number, in order."""
        ...

    async def mark_sent(self, alerts: Collection[UUID], entries: Sequence[AuditEntry]) -> None:
        """Keeps that alerts are sent, with the audit entries of that."""
        ...

    async def drop_sent(self, *, before: datetime) -> None:
        """Removes alerts that were made before a time and sent, but for those in force and the newest."""
        ...

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Writes audit entries."""
        ...


class WatchLists(Protocol):
    """The watch lists of all nodes, see `hub.store.watch_lists`."""

    async def mark(self, numbers: Collection[bytes]) -> None:
        """Marks who is to be compared with the register, by the blind indexes of their numbers."""
        ...

    async def mark_all(self, node_id: str) -> None:
        """Marks everybody on a list who is on the register, or of whom it was told."""
        ...

    async def heads(self) -> Sequence[ListHead]:
        """How far every list is."""
        ...

    async def seq_of(self, node_id: str, alert_id: UUID) -> int | None:
        """The number of an alert of a node."""
        ...

    def open(self, node_id: str) -> AbstractAsyncContextManager[WatchList]:
        """The list of a node, locked until the block ends; then it is committed."""
        ...
