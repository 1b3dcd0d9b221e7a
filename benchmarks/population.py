"""A register of many records, written to the tables at once: an import of a million would take an hour."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from uuid_utils.compat import uuid7

from benchmarks.crew import OWNER, split
from demo.people import offenders
from hub.domain.search import RULES, keys
from hub.store import bodies
from hub.store.search import hashed
from hub.store.vault import Keyring, Vault
from hub.transport import convert

_PROCESSES = 2
_CHUNK = 10_000
_METHOD = "nsor.registry.v1.RegistryService/CreateOffender"
STATEMENTS: tuple[LiteralString, ...] = (
    "COPY offender (id, cnic_index, owner, version, wrapped_key, created_at) FROM STDIN",
    "COPY offender_revision (offender_id, version, owner, actor, method, body, changed_at) FROM STDIN",
    "COPY offender_search (offender_id, rules, hashes) FROM STDIN",
)


def populate(dsn: str, keyring: str, count: int) -> None:
    """Enters the people 0 to `count` - 1 of `demo.people`, as records of one owner, past the feed.

    A hub that runs meanwhile does not see them: start it anew.
    """
    shares = split(count, _PROCESSES)
    with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(_fill, dsn, keyring, sum(shares[:i]), shares[i]) for i in range(_PROCESSES)]:
            done.result()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE offender, offender_revision, offender_search")


def _fill(dsn: str, keyring: str, first: int, count: int) -> None:
    vault = Vault(Keyring.load(keyring))
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for start in range(first, first + count, _CHUNK):
            rows = list(_rows(vault, start, min(_CHUNK, first + count - start)))
            for place, statement in enumerate(STATEMENTS):
                with cursor.copy(statement) as copy:
                    for row in rows:
                        copy.write_row(row[place])
            connection.commit()


def _rows(vault: Vault, first: int, count: int) -> Iterator[tuple[tuple[Any, ...], ...]]:
    now = datetime.now(UTC)
    for message in offenders(count, province="Punjab", seed=first, first=first):
        facts = convert.offender_facts(message, now)
        id = uuid7()
        key = bodies.new_key(vault, id)
        index = vault.index(facts.person.cnic)
        body = bodies.seal_facts(vault, key.plain, id, 1, facts)
        yield (
            (id, index, OWNER, 1, key.wrapped, now),
            (id, 1, OWNER, OWNER, _METHOD, body, now),
            (id, RULES, hashed(vault, keys(facts))),
        )
