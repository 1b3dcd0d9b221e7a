"""Counts of districts, found by the index of searches: no record is opened for them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import BigInteger

from hub.domain.area import AreaMonth, Cell, area_key
from hub.domain.search import RULES
from hub.store import search
from hub.store.database import PostgresDatabase
from hub.store.tables import area_month
from hub.store.vault import Vault

_INCOMPLETE = text("""
    SELECT EXISTS (
        SELECT FROM offender LEFT JOIN offender_search ON offender_id = id
        WHERE wrapped_key IS NOT NULL AND merged_into IS NULL AND (rules IS NULL OR rules < :rules)
    )
""")
# `people` stands for the set of offenders: the same in whatever order they come, another when anybody comes or goes.
_COUNT = text("""
    SELECT count(*) AS offenders, bit_xor(hashtextextended(offender_id::text, 0)) AS people
    FROM offender_search WHERE hashes @> :key
""").bindparams(bindparam("key", type_=ARRAY(BigInteger)))


class AreaStore:
    """Counts the register, and keeps what is told of it."""

    def __init__(self, database: PostgresDatabase, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def months(self, limit: int) -> Sequence[AreaMonth]:
        """The newest months that were counted, the newest first."""
        query = select(area_month).order_by(area_month.c.month.desc()).limit(limit)
        async with self._database.connection() as connection:
            rows: Sequence[Any] = (await connection.execute(query)).all()
        return [AreaMonth(row.month, row.counts, row.counted_at) for row in rows]

    async def has(self, first_day: date) -> bool:
        """Whether a month was counted."""
        async with self._database.connection() as connection:
            rows = await connection.execute(select(area_month.c.month).where(area_month.c.month == first_day))
            return rows.first() is not None

    async def count(self, districts: Collection[str]) -> Mapping[str, Cell] | None:
        """The supervised offenders of each district at one moment; None while the index of searches is not complete."""
        cells: dict[str, Cell] = {}
        async with self._database.connection() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            if (await connection.execute(_INCOMPLETE, {"rules": RULES})).scalar_one():
                return None
            await search.by_index(connection)
            for district in districts:
                key = search.hashed(self._vault, [area_key(district)])
                row = (await connection.execute(_COUNT, {"key": key})).one()
                cells[district] = Cell(row.offenders, self._vault.lot(f"{district}|{row.people}"))
        return cells

    async def keep(self, month: AreaMonth) -> bool:
        """Keeps what is told of a month, unless it was counted before; whether it did."""
        row = {"month": month.first_day, "counts": dict(month.counts), "counted_at": month.counted_at}
        statement = insert(area_month).values(row).on_conflict_do_nothing().returning(area_month.c.month)
        async with self._database.connection() as connection:
            return (await connection.execute(statement)).first() is not None
