"""Completes the search index: with records from before there was one, and with those indexed by older rules."""

from uuid import UUID

from sqlalchemy import or_, select

from hub.domain.search import RULES
from hub.store.database import PostgresDatabase
from hub.store.search import write_keys
from hub.store.tables import offender, offender_revision, offender_search
from hub.store.transaction import open_row, select_current
from hub.store.vault import Vault

_AT_ONCE = 100

_INDEXED = select(offender_search.c.rules).where(offender_search.c.offender_id == offender.c.id).scalar_subquery()
_INCOMPLETE = (
    select_current()
    .where(offender_revision.c.body.is_not(None), or_(_INDEXED.is_(None), _INDEXED < RULES))
    .order_by(offender.c.id)
    .limit(_AT_ONCE)
    # Nobody waits: what another worker has in hand is seen to, and what is being changed is indexed with the change.
    .with_for_update(of=offender, skip_locked=True)
)


class Reindex:
    """Makes missing entries of the index; any number of workers may do so at once."""

    def __init__(self, database: PostgresDatabase, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def run(self) -> int:
        """Returns when nothing is missing, how many records it has indexed.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        count, last = 0, UUID(int=0)
        while True:
            async with self._database.connection() as connection:
                rows = await connection.execute(
                    _INCOMPLETE.where(offender.c.id > last, offender_revision.c.offender_id > last)
                )
                found = [open_row(self._vault, row) for row in rows]
                await write_keys(connection, self._vault, found)
            if not found:
                return count
            count, last = count + len(found), found[-1].id
