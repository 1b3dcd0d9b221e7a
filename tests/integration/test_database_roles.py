"""What the database itself refuses: to the hub's user, to the auditor, and to the owner of the tables."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from hub.dev.environment import HUB_USER
from hub.store.tables import metadata
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender


def line(hub: RunningHub, user: str) -> psycopg.Connection:
    return psycopg.connect(make_url(hub.dsn).set(username=user).render_as_string(hide_password=False))


@pytest.fixture(scope="module")
def auditor(hub: RunningHub) -> Iterator[str]:
    """A user of the auditor's role."""
    password = sql.Literal(make_url(hub.dsn).password)
    with hub.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE an_auditor LOGIN PASSWORD {} IN ROLE nsor_auditor").format(password))
    yield "an_auditor"
    hub.sql("DROP ROLE an_auditor")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM audit_entry",
        "DELETE FROM audit_entry",
        "UPDATE offender_revision SET body = NULL",
        "DELETE FROM offender_revision",
        "UPDATE notice SET body = ''",
        "UPDATE request SET version = 1",
        "UPDATE feed_event SET changes = '[]'",
        "UPDATE feed_head SET epoch = gen_random_uuid()",
        "UPDATE disclosure_policy SET rules = '[]'",
        "UPDATE access_step SET expires_at = NULL",
        "UPDATE access_request SET scopes = '[]'",
        "UPDATE consent SET expires_at = now()",
        "UPDATE node SET role = 'NPB'",
        "DELETE FROM offender",
        "UPDATE offender_number SET number_index = ''",
        "TRUNCATE outbox",
        "ALTER TABLE offender DISABLE ROW LEVEL SECURITY",
    ],
)
def test_the_hub_can_only_do_what_it_must(hub: RunningHub, statement: LiteralString) -> None:
    with line(hub, HUB_USER) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_the_hub_cannot_bring_a_sealed_record_back(hub: RunningHub) -> None:
    with hub.client("punjab-police") as punjab, hub.client("lahore-high-court") as court:
        written = punjab.create_offender(fresh_offender()).offender
        today = datetime.now(UTC).date().isoformat()
        court.record_court_event(written, 1, COURT_EVENT_SET_ASIDE, today, "Order 1/2026")
    id = written.name.removeprefix("offenders/")
    with line(hub, HUB_USER) as connection:
        assert connection.execute("UPDATE offender SET wrapped_key = '' WHERE id = %s", [id]).rowcount == 0
        assert connection.execute("SELECT version FROM offender WHERE id = %s", [id]).fetchall() == [(2,)]


def test_the_auditor_reads_the_log_and_no_record(hub: RunningHub, auditor: str) -> None:
    with line(hub, auditor) as connection:
        assert connection.execute("SELECT node_id, method FROM audit_entry").fetchone()
        assert connection.execute("SELECT id FROM node").fetchone()
        connection.execute("SELECT state, actor FROM access_step JOIN access_request ON access_request_id = id")
        for statement in (
            "SELECT FROM offender",
            "SELECT FROM notice",
            "SELECT FROM consent",
            "DELETE FROM audit_entry",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)


def test_row_level_security_is_forced_on_every_table(hub: RunningHub) -> None:
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    forced = hub.sql(f"{tables} AND relrowsecurity AND relforcerowsecurity")  # type: ignore[arg-type]
    assert {name for [name] in forced} == set(metadata.tables)


def test_the_owner_of_the_tables_sees_no_record(hub: RunningHub) -> None:
    with hub.client("punjab-police") as punjab:
        punjab.create_offender(fresh_offender())
    with hub.connect() as connection:
        connection.execute("CREATE ROLE an_owner")
        connection.execute("ALTER TABLE offender OWNER TO an_owner")
        connection.execute("SET ROLE an_owner")
        assert connection.execute("SELECT id FROM offender").fetchall() == []
        connection.rollback()
