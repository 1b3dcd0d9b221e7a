"""The schema: what the migrations make, what the code believes, and what the database itself refuses."""

import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import Engine, create_engine, make_url

from hub.dev.postgres import EmbeddedPostgres
from hub.store.migrating import migrate
from hub.store.tables import metadata
from tests.support.hub import RunningHub

NAMES = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("schema") / "pg") as postgres:
        yield postgres


@pytest.fixture
def dsn(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> str:
    """An empty database of the test's own."""
    return new_database(postgres, request.node.name)


def new_database(postgres: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return postgres.dsn(name)


def engine(dsn: str) -> Engine:
    return create_engine(make_url(dsn).set(drivername="postgresql+psycopg"))


def names(dsn: str) -> set[tuple[str, str, str]]:
    """Constraints and indexes with their definitions, but for Alembic's own."""
    with psycopg.connect(dsn) as connection:
        return {row for row in connection.execute(NAMES) if row[0] != "alembic_version"}


def test_the_migrations_make_the_tables_that_the_code_has(dsn: str) -> None:
    migrate(dsn)
    migrated = engine(dsn)
    with migrated.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    migrated.dispose()


def test_the_migrations_name_constraints_and_indexes_as_the_code_does(dsn: str, postgres: EmbeddedPostgres) -> None:
    migrate(dsn)
    created = new_database(postgres, "created")
    by_code = engine(created)
    metadata.create_all(by_code)
    by_code.dispose()
    assert names(dsn) == names(created)


def test_migrating_twice_changes_nothing(dsn: str) -> None:
    migrate(dsn)
    [before] = rows(dsn, "SELECT epoch, as_of FROM feed_head")
    migrate(dsn)
    assert rows(dsn, "SELECT epoch, as_of FROM feed_head") == [before]


def test_several_processes_can_migrate_at_once(dsn: str) -> None:
    code = "import sys; from hub.store.migrating import migrate; migrate(sys.argv[1])"
    started = [subprocess.Popen([sys.executable, "-c", code, dsn]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert rows(dsn, "SELECT seq FROM feed_head") == [(0,)]


def test_records_that_were_entered_before_keep_their_number(dsn: str) -> None:
    """0009: those that stand are found by it, sealed ones tell what to forget."""
    standing, sealed = UUID(int=1), UUID(int=2)
    migrate(dsn, "0007")
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO node VALUES ('police', '', 'POLICE', '', 'ACTIVE', now())")
        for id, key in ((standing, b"key"), (sealed, None)):
            connection.execute(
                "INSERT INTO offender VALUES (%s, %s, 'police', 1, %s, now())", [id, b"number of %d" % id.int, key]
            )
    migrate(dsn)
    assert rows(dsn, "SELECT number_index, offender_id FROM offender_number") == [(b"number of 1", standing)]
    assert rows(dsn, "SELECT erased_numbers FROM offender ORDER BY id") == [(None,), ([b"number of 2"],)]


def test_a_running_hub_can_be_migrated_again(hub: RunningHub) -> None:
    migrate(hub.dsn)


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def migrated(postgres: EmbeddedPostgres) -> str:
    """A database for tests that change nothing."""
    dsn = new_database(postgres, "migrated")
    migrate(dsn)
    return dsn


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("audit_entry", "decision"),
        ("offender_revision", "version"),
        ("disclosure_policy", "version"),
        ("access_step", "version"),
    ],
)
@pytest.mark.parametrize("change", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"])
def test_what_was_logged_stays(migrated: str, table: str, column: str, change: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"{table} is append-only"):
        rows(migrated, change.format(table, column))
