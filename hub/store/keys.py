"""Where the keys for personal data come from, and the change of the key that wraps those of the records."""

from collections.abc import Mapping

from sqlalchemy import bindparam, text, update

from hub.config import HubSettings
from hub.store import bodies
from hub.store.database import PostgresDatabase
from hub.store.tables import offender
from hub.store.vault import KeyProvider, Keyring, Vault

# Short transactions: whoever changes a record waits for one of them at most.
_BATCH = 200
_OLD = text(
    """SELECT id, wrapped_key FROM offender WHERE wrapped_key IS NOT NULL AND substring(wrapped_key FOR 2) <> :version
    LIMIT :limit FOR UPDATE SKIP LOCKED"""
)
_REPLACE = update(offender).where(offender.c.id == bindparam("record")).values(wrapped_key=bindparam("wrapped"))
_USE = text(
    """SELECT substring(wrapped FOR 2) AS version, count(*) AS records
    FROM (SELECT wrapped_key FROM offender UNION ALL SELECT delivery FROM consent) AS sealed (wrapped)
    WHERE wrapped IS NOT NULL GROUP BY 1"""
)


def key_provider(settings: HubSettings) -> KeyProvider:
    """The provider that the settings name."""
    if settings.keyring:
        file = settings.keyring
        return lambda: Keyring.load(file.read_text())
    return lambda: Keyring.load(settings.keyring_text.get_secret_value())


async def rewrap(database: PostgresDatabase, vault: Vault) -> int:
    """Wraps the keys of some records anew that stand under an older key than the newest; gives how many.

    Several workers can do so at once. Bodies stay as they are.

    Raises:
        Refused: DATABASE_UNAVAILABLE.
        VaultError: a key cannot be opened.
    """
    async with database.connection() as connection:
        version = vault.version.to_bytes(2)
        rows = (await connection.execute(_OLD, {"version": version, "limit": _BATCH})).all()
        if rows:
            changes = [{"record": row.id, "wrapped": bodies.rewrap(vault, row.id, row.wrapped_key)} for row in rows]
            await connection.execute(_REPLACE, changes)
    return len(rows)


async def keys_in_use(database: PostgresDatabase) -> Mapping[int, int]:
    """How many records stand under each wrapping key, by its version; with passcodes on their way, gone in minutes.

    Raises:
        Refused: DATABASE_UNAVAILABLE.
    """
    async with database.connection() as connection:
        return {int.from_bytes(row.version): row.records for row in await connection.execute(_USE)}
