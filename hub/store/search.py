"""The index by which records are found without their names: keyed hashes of their keys, see `hub.domain.search`."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import and_, any_, bindparam, delete, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger

from hub.domain.offender import Offender
from hub.domain.search import RULES, Wanted, keys
from hub.store.tables import offender_search
from hub.store.vault import Vault

# Records that fit and are ordered by the keys they share. Beyond it those that the database comes across first are.
_ORDERED = 5_000

_INSERT = insert(offender_search)
_WRITE = _INSERT.on_conflict_do_update(
    index_elements=[offender_search.c.offender_id],
    set_={"rules": _INSERT.excluded.rules, "hashes": _INSERT.excluded.hashes},
)
_REMOVE = delete(offender_search).where(offender_search.c.offender_id == bindparam("id"))


async def write_keys(connection: AsyncConnection, vault: Vault, offenders: Collection[Offender]) -> None:
    """Brings the index up to date with records as they are now; a sealed one leaves it."""
    rows = [
        {"offender_id": offender.id, "rules": RULES, "hashes": hashed(vault, keys(offender.facts))}
        for offender in offenders
        if offender.facts
    ]
    if rows:
        await connection.execute(_WRITE, rows)
    for offender in offenders:
        if offender.facts is None:
            await connection.execute(_REMOVE, {"id": offender.id})


async def find(connection: AsyncConnection, vault: Vault, wanted: Wanted, limit: int) -> tuple[Sequence[UUID], bool]:
    """The records that share most keys with what is wanted, and whether there are more than `limit`."""
    column = offender_search.c.hashes
    conditions: list[Any] = []
    if required := wanted.required():
        conditions.append(column.contains(hashed(vault, required)))
    if alternatives := wanted.alternatives():
        of_group = {group: hashed(vault, group) for groups in alternatives for group in groups}
        conditions.append(or_(*(and_(*(column.overlap(of_group[g]) for g in groups)) for groups in alternatives)))
    fitting = select(offender_search).where(*conditions).limit(_ORDERED).subquery()
    key = func.unnest(fitting.c.hashes).table_valued("key").render_derived()
    hints = literal(hashed(vault, wanted.hints()), ARRAY(BigInteger))
    shared = select(func.count()).select_from(key).where(key.c.key == any_(hints)).scalar_subquery()
    query = select(fitting.c.offender_id).order_by(shared.desc(), fitting.c.offender_id).limit(limit + 1)
    found = (await connection.execute(query)).scalars().all()
    return found[:limit], len(found) > limit


def hashed(vault: Vault, texts: Collection[str]) -> list[int]:
    """The hashes of keys, each once."""
    return sorted({vault.search_key(text) for text in texts})
