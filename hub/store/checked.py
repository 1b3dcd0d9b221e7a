"""What checks need of the records, read apart from the rest: a worker reads all of them before it serves."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, LiteralString

from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.lookup import CheckedRecord
from hub.store import bodies
from hub.store.bodies import SealedBody
from hub.store.vault import Vault

_BATCH = 1000
"""Records that are opened before others on the event loop get their turn: some 30 ms."""

# The id in both forms, since neither is made of the other as fast in Python.
_RECORDS: LiteralString = """
    SELECT uuid_send(id), id::text, offender.version, wrapped_key, body, erased_numbers
    FROM offender JOIN offender_revision ON offender_id = id AND offender_revision.version = offender.version
"""

_Row = tuple[bytes, str, int, bytes | None, bytes | None, Sequence[bytes]]


async def checked_records(connection: AsyncConnection, vault: Vault) -> AsyncIterator[Sequence[CheckedRecord]]:
    """All records of one moment, in batches.

    By the driver's own cursor: rows of SQLAlchemy and columns that no check needs cost as much as opening the seals.

    Raises:
        psycopg.Error: the database is gone.
        VaultError: a body was moved or changed, or belongs to other keys.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async with driver.cursor("checked_records", binary=True) as cursor:
        await cursor.execute(_RECORDS)
        while rows := await cursor.fetchmany(_BATCH):
            yield _checked(vault, rows)


def _checked(vault: Vault, rows: Iterable[_Row]) -> Sequence[CheckedRecord]:
    records: list[CheckedRecord] = []
    sealed: list[tuple[bytes, SealedBody]] = []
    for id, id_text, version, wrapped, body, erased_numbers in rows:
        if wrapped is not None and body is not None:
            sealed.append((id, SealedBody(id_text, version, wrapped, body)))
        else:  # sealed for good, or merged into another
            records.append(CheckedRecord(id, version, erased_numbers))
    facts = bodies.open_checked(vault, [body for _, body in sealed])
    indexes = [[vault.index(cnic) for cnic in cnics] for cnics, _, _ in facts]
    records += [
        CheckedRecord(id, body.version, cnic_indexes, finalities, person)
        for (id, body), cnic_indexes, (_, finalities, person) in zip(sealed, indexes, facts, strict=True)
    ]
    return records
