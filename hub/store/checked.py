"""What checks need of the records, read apart from the rest: a worker reads all of them before it serves."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, LiteralString

from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.lookup import CheckedRecord
from hub.store import bodies
from hub.store.vault import Vault

_BATCH = 500
"""Records that are opened before others on the event loop get their turn: some 10 ms."""

# The id in both forms, since neither is made of the other as fast in Python.
_RECORDS: LiteralString = """
    SELECT uuid_send(id), id::text, offender.version, wrapped_key, body, erased_numbers
    FROM offender JOIN offender_revision ON offender_id = id AND offender_revision.version = offender.version
"""


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
            yield [_checked(vault, *row) for row in rows]


def _checked(
    vault: Vault,
    id: bytes,
    id_text: str,
    version: int,
    wrapped: bytes | None,
    body: bytes | None,
    erased_numbers: Sequence[bytes],
) -> CheckedRecord:
    if wrapped is None or body is None:  # sealed, or merged into another
        return CheckedRecord(id, version, erased_numbers)
    cnics, finalities, person = bodies.open_checked(vault, wrapped, id=id_text, version=version, body=body)
    return CheckedRecord(id, version, [vault.index(cnic) for cnic in cnics], finalities, person)
