"""The nodes of the federation: enrolling them, and knowing them at each call."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from hub.domain.errors import Reason, Refused
from hub.domain.node import Node, NodeState
from hub.domain.ports import Database


async def enrol(database: Database, node: Node, serial: int, expires_at: datetime) -> None:
    """Makes a node known with its certificate, or adds a certificate to a node that is.

    Args:
        serial: of the certificate.
        expires_at: end of the certificate.
    """
    async with database.transaction() as tx:
        if await tx.node(node.id) is None:
            await tx.insert_node(node)
        await tx.insert_certificate(node.id, serial, expires_at)


class NodeDirectory:
    """The nodes and their certificates, in memory, for the check of each call.

    `refresh` is to be called twice a second; when it has not succeeded for `bound` seconds by the steady clock, nobody
    is let in.
    """

    def __init__(self, database: Database, steady: Callable[[], float] = time.monotonic, bound: float = 5) -> None:
        self._database = database
        self._steady = steady
        self._bound = bound
        self._node_of_serial: dict[int, Node] = {}
        self._refreshed_at = float("-inf")
        self._catching_up = asyncio.Lock()

    async def refresh(self) -> None:
        """Reads them anew.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        asked_at = self._steady()
        async with self._database.transaction() as tx:
            self._node_of_serial = dict(await tx.nodes_by_serial())
        self._refreshed_at = asked_at

    async def catch_up(self) -> None:
        """Reads them anew, once for all who ask meanwhile: for a certificate that was enrolled just now.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        asked_at = self._steady()
        async with self._catching_up:
            if self._refreshed_at < asked_at:
                await self.refresh()

    @property
    def fresh(self) -> bool:
        """Whether it may be relied on."""
        return self._steady() - self._refreshed_at <= self._bound

    def authenticate(self, node_id: str, serial: int) -> Node:
        """The active node that a certificate belongs to.

        Args:
            node_id: as the certificate names it.
            serial: of the certificate.

        Raises:
            Refused: CERTIFICATE_NOT_ENROLLED, NODE_NOT_ACTIVE, DATABASE_UNAVAILABLE (the directory is stale).
        """
        if not self.fresh:
            raise Refused(Reason.DATABASE_UNAVAILABLE, "the hub cannot reach its database; retry")
        node = self._node_of_serial.get(serial)
        if node is None or node.id != node_id:
            raise Refused(Reason.CERTIFICATE_NOT_ENROLLED, "this certificate is not enrolled at the hub")
        if node.state is not NodeState.ACTIVE:
            raise Refused(Reason.NODE_NOT_ACTIVE, "this node is not active", metadata={"state": node.state})
        return node
