"""A register of many records, written to the tables at once: an import of a million would take an hour."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
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
from nsor.registry.v1 import offender_pb2 as pb

People = Callable[[int, int], Iterator[pb.Offender]]

_PROCESSES = 2
_CHUNK = 10_000
_METHOD = "nsor.registry.v1.RegistryService/CreateOffender"
_STATEMENTS: tuple[LiteralString, ...] = (
    "COPY offender_number (number_index, offender_id) FROM STDIN",
    "COPY offender (id, owner, version, wrapped_key, created_at) FROM STDIN",
    "COPY offender_revision (offender_id, version, owner, actor, method, body, changed_at) FROM STDIN",
    "COPY offender_search (offender_id, rules, hashes) FROM STDIN",
)


def generated(first: int, count: int) -> Iterator[pb.Offender]:
    """The people `first` to `first + count - 1` of `demo.people`."""
    return offenders(count, province="Punjab", seed=first, first=first)


def populate(
    dsn: str, keyring: str, count: int, people: Callable[[int, int], Iterator[pb.Offender]] = generated
) -> None:
    """Enters the people 0 to `count` - 1, as records of one owner, past the feed.

    A hub that runs meanwhile does not see them: start it anew.

    Args:
        people: gives so many people, from the first of these numbers on; a function of a module.
    """
    shares = split(count, _PROCESSES)
    with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn")) as pool:
        fills = [pool.submit(_fill, dsn, keyring, people, sum(shares[:i]), shares[i]) for i in range(_PROCESSES)]
        for done in fills:
            done.result()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE offender, offender_number, offender_revision, offender_search")


def _fill(dsn: str, keyring: str, people: People, first: int, count: int) -> None:
    vault = Vault(lambda: Keyring.load(keyring))
    with psycopg.connect(dsn) as connection:
        for start in range(first, first + count, _CHUNK):
            write(connection, sealed(vault, people(start, min(_CHUNK, first + count - start))))


def write(connection: psycopg.Connection, rows: Sequence[tuple[tuple[Any, ...], ...]]) -> None:
    """Copies records into the tables, and commits."""
    with connection.cursor() as cursor:
        for place, statement in enumerate(_STATEMENTS):
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row[place])
    connection.commit()


def sealed(vault: Vault, people: Iterator[pb.Offender]) -> list[tuple[tuple[Any, ...], ...]]:
    """Records as their rows in the tables."""
    now = datetime.now(UTC)
    rows: list[tuple[tuple[Any, ...], ...]] = []
    for message in people:
        facts = convert.registry.offender_facts(message, now)
        id = uuid7()
        key = bodies.new_key(vault, id)
        index = vault.index(facts.person.documents[0])
        body = bodies.seal_facts(vault, key.plain, id, 1, facts)
        rows.append(
            (
                (index, id),
                (id, OWNER, 1, key.wrapped, now),
                (id, 1, OWNER, OWNER, _METHOD, body, now),
                (id, RULES, hashed(vault, keys(facts))),
            )
        )
    return rows
