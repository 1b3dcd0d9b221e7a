"""The index by which records are found without their names: keyed hashes of their keys, see `hub.domain.search`."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import combinations
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Select, and_, any_, bindparam, delete, func, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger

from hub.domain.offender import Offender
from hub.domain.search import RULES, Wanted, keys
from hub.store.rows import insert_rows, taking_rows
from hub.store.tables import offender_search
from hub.store.vault import Vault

# Records that fit and are ordered by the keys they share. Beyond it those that the database comes across first are.
_ORDERED = 5_000
# Records that may be of people who are being entered; so many would be odd.
_ALIKE = 500

WRITE = f"""{insert_rows(offender_search, "searched")}
    ON CONFLICT (offender_id) DO UPDATE SET rules = excluded.rules, hashes = excluded.hashes"""
"""The statement that takes `rows` as its parameter `searched`; can be a part of a greater one."""
_WRITE = taking_rows(WRITE, "searched")
_BY_INDEX = text("SET LOCAL enable_seqscan = off")
_REMOVE = delete(offender_search).where(offender_search.c.offender_id == bindparam("id"))


async def write_keys(connection: AsyncConnection, vault: Vault, offenders: Collection[Offender]) -> None:
    """Brings the index up to date with records as they are now; one that is sealed or merged leaves it."""
    if searched := rows(vault, offenders):
        await connection.execute(_WRITE, {"searched": searched})
    for offender in offenders:
        if offender.facts is None:
            await connection.execute(_REMOVE, {"id": offender.id})


def rows(vault: Vault, offenders: Iterable[Offender]) -> list[dict[str, Any]]:
    """Rows of `offender_search`, for the records that stand."""
    return [
        {"offender_id": offender.id, "rules": RULES, "hashes": hashed(vault, keys(offender.facts))}
        for offender in offenders
        if offender.facts
    ]


async def by_index(connection: AsyncConnection) -> None:
    """Keeps a transaction from reading the whole table: the planner underrates what it costs to compare long arrays."""
    await connection.execute(_BY_INDEX)


async def find(connection: AsyncConnection, vault: Vault, wanted: Wanted, limit: int) -> tuple[Sequence[UUID], bool]:
    """The records that share most keys with what is wanted, and whether there are more than `limit`."""
    await by_index(connection)
    required, hints = (hashed(vault, keys) for keys in (wanted.required(), wanted.hints()))
    found: dict[UUID, None] = {}
    for groups, least in wanted.tiers():
        arrays = {f"group_{number}": hashed(vault, group) for number, group in enumerate(groups)}
        query = _query(len(groups), least, bool(required))
        rows = await connection.execute(query, {**arrays, "required": required, "hints": hints, "limit": limit + 1})
        for id in rows.scalars():
            found[id] = None
        if len(found) > limit:
            break
    return list(found)[:limit], len(found) > limit


@cache  # To build and compile a statement takes longer than to run it; there are some thirty.
def _query(groups: int, least: int, required: bool) -> Select[Any]:
    column = offender_search.c.hashes
    fitting = select(offender_search).limit(_ORDERED)
    if required:
        fitting = fitting.where(column.contains(_array("required")))
    if groups:
        shares = [column.overlap(_array(f"group_{number}")) for number in range(groups)]
        fitting = fitting.where(or_(*(and_(*some) for some in combinations(shares, least))))
    fit = fitting.subquery()
    key = func.unnest(fit.c.hashes).table_valued("key").render_derived()
    shared = select(func.count()).select_from(key).where(key.c.key == any_(_array("hints"))).scalar_subquery()
    return select(fit.c.offender_id).order_by(shared.desc(), fit.c.offender_id).limit(bindparam("limit"))


def _array(name: str) -> BindParameter[Sequence[int]]:
    return bindparam(name, type_=ARRAY(BigInteger))


SHARING = select(offender_search.c.offender_id).where(offender_search.c.hashes.overlap(_array("keys"))).limit(_ALIKE)
"""The records that have one of the hashes in `keys`."""


def hashed(vault: Vault, texts: Collection[str]) -> list[int]:
    """The hashes of keys, each once."""
    return sorted({vault.search_key(text) for text in texts})
