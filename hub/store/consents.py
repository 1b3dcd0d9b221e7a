"""The SQL behind `hub.domain.ports.Consents`.

A row tells who asked, and nothing that leads to the person without the hub's keys: the number is a blind index, and the
passcode a keyed hash, since all million of them are soon tried. `delivery` holds both, sealed, until the passcode was
brought or has expired.
"""

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.cnic import Cnic
from hub.domain.consent import Consent, Passcode
from hub.domain.ports import RequestKey
from hub.store.tables import consent
from hub.store.vault import Vault, VaultError

log = logging.getLogger(__name__)


@lru_cache(maxsize=1000)
def _tell(problem: str) -> None:
    """Logs what is wrong with one passcode: once, though watchers look for it four times a second."""
    log.error("a passcode cannot be opened: %s", problem)


# Any number that nothing else has; migrations take 7000.
_TAKE_TURN = text("SELECT pg_advisory_xact_lock(7001)")


class StoreConsents:
    """See `hub.domain.ports.Consents`, which states what each method promises."""

    def __init__(self, connection: AsyncConnection, vault: Vault) -> None:
        self._connection = connection
        self._vault = vault

    async def take_turn(self) -> None:
        await self._connection.execute(_TAKE_TURN)

    async def past(self, node_id: str, request_id: UUID) -> tuple[bytes, Consent] | None:
        query = select(consent).where(consent.c.node_id == node_id, consent.c.request_id == request_id)
        row = (await self._connection.execute(query)).one_or_none()
        return (row.digest, _consent(row)) if row else None

    async def nth_newest_of_person(self, cnic_index: bytes, n: int) -> datetime | None:
        return await self._nth_newest(consent.c.cnic_index == cnic_index, n)

    async def nth_newest_of_node(self, node_id: str, n: int) -> datetime | None:
        return await self._nth_newest(consent.c.node_id == node_id, n)

    async def _nth_newest(self, which: ColumnElement[bool], n: int) -> datetime | None:
        query = select(consent.c.created_at).where(which).order_by(consent.c.created_at.desc()).offset(n - 1).limit(1)
        return (await self._connection.execute(query)).scalar_one_or_none()

    async def insert(self, asked: Consent, cnic: Cnic, code: str, request: RequestKey) -> None:
        await self._connection.execute(
            insert(consent).values(
                id=asked.id,
                node_id=asked.node_id,
                request_id=request.id,
                digest=request.digest,
                cnic_index=asked.cnic_index,
                passcode_hash=asked.passcode_hash,
                tries_left=asked.tries_left,
                delivery=self._vault.wrap(json.dumps([cnic.digits, code]).encode(), _place(asked.id)),
                created_at=asked.created_at,
                expires_at=asked.expires_at,
            )
        )

    async def lock(self, id: UUID) -> Consent | None:
        query = select(consent).where(consent.c.id == id).with_for_update()
        row = (await self._connection.execute(query)).one_or_none()
        return _consent(row) if row else None

    async def update_tries(self, tried: Consent) -> None:
        written = update(consent).where(consent.c.id == tried.id).values(tries_left=tried.tries_left)
        await self._connection.execute(written)

    async def undelivered(self, *, after: int, now: datetime, limit: int) -> Sequence[Passcode]:
        while True:
            waiting = consent.c.delivery.is_not(None) & (consent.c.seq > after) & (consent.c.expires_at > now)
            query = select(consent).where(waiting).order_by(consent.c.seq).limit(limit)
            rows = (await self._connection.execute(query)).all()
            passcodes = [passcode for row in rows if (passcode := self._passcode(row))]
            if passcodes or len(rows) < limit:
                return passcodes
            after = rows[-1].seq

    async def erase_passcode(self, id: UUID) -> bytes | None:
        erased = update(consent).where(consent.c.id == id).values(delivery=None).returning(consent.c.cnic_index)
        return (await self._connection.execute(erased)).scalar_one_or_none()

    async def sweep(self, now: datetime, *, before: datetime) -> None:
        expired = consent.c.delivery.is_not(None) & (consent.c.expires_at <= now)
        await self._connection.execute(update(consent).where(expired).values(delivery=None))
        await self._connection.execute(delete(consent).where(consent.c.created_at < before))

    def _passcode(self, row: Any) -> Passcode | None:
        try:
            digits, code = json.loads(self._vault.unwrap(row.delivery, _place(row.id)))
        except VaultError as error:
            # Those of other people must still be brought; this one expires.
            _tell(str(error))
            return None
        return Passcode(row.seq, _consent(row), Cnic(digits), code)


def _consent(row: Any) -> Consent:
    return Consent(
        id=row.id,
        node_id=row.node_id,
        cnic_index=row.cnic_index,
        passcode_hash=row.passcode_hash,
        tries_left=row.tries_left,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def _place(id: UUID) -> str:
    return f"consent|{id}|delivery"
