"""How many supervised offenders there are where: what is counted, what is told, and that it stays so."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import psycopg
import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from hub.audit.writer import AuditWriter
from hub.dev.environment import HUB_USER
from hub.domain.area import Cell
from hub.domain.districts import districts
from hub.service.area import AreaStatus
from hub.store.area import AreaStore
from hub.store.database import PostgresDatabase
from hub.store.reindex import Reindex
from hub.store.vault import Keyring, Vault
from nsor.registry.v1.identity_pb2 import Death
from nsor_client import InvalidRequest
from nsor_client.cli import app
from tests.support.contract import Node, identity_event, node
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

pytest_plugins = ["tests.support.nodes"]

# Where nobody lives whom other tests enter.
MANY, FEW = "Rajanpur", "Chiniot"


class Counting:
    """The counting of a worker, at whatever time the test says."""

    def __init__(self, hub: RunningHub) -> None:
        dsn = make_url(hub.dsn).set(username=HUB_USER).render_as_string(hide_password=False)
        self.vault = Vault(lambda: Keyring.load((hub.folder / "keyring.json").read_text()))
        self.database = PostgresDatabase(dsn, self.vault)
        self._store = AreaStore(self.database, self.vault)

    async def close_month(self, now: datetime) -> date | None:
        """Counts the month that has ended at a time."""
        return await AreaStatus(self._store, AuditWriter(self.database), lambda: now).close_month()

    async def cell(self, district: str) -> Cell | None:
        """The offenders of a district as they are now; None while they cannot be counted."""
        cells = await self._store.count([district])
        return cells[district] if cells else None


@pytest.fixture
async def counting(hub: RunningHub) -> AsyncIterator[Counting]:
    counting = Counting(hub)
    yield counting
    await counting.database.close()


def enter(punjab: Node, district: str, count: int) -> list[str]:
    """Enters people of a district; gives their numbers."""
    people = [fresh_offender() for _ in range(count)]
    for person in people:
        person.district = district
        punjab.create(person)
    return [person.person.cnic for person in people]


def told(hub: RunningHub, month: str) -> dict[str, int | None]:
    """What the public is told of a month; None of districts that are hidden."""
    with hub.client("sms-7000") as gateway:
        [found] = [each for each in gateway.get_area_status(months=24).months if each.month == month]
    return {d.district: d.offender_count if d.HasField("offender_count") else None for d in found.districts}


async def test_a_month_is_told_as_it_was_counted_and_never_otherwise(
    hub: RunningHub, punjab: Node, counting: Counting
) -> None:
    enter(punjab, MANY, 12)
    enter(punjab, FEW, 4)
    first = await counting.cell(MANY)
    assert first
    assert await counting.close_month(datetime(2031, 2, 1, tzinfo=UTC)) == date(2031, 1, 1)
    january = told(hub, "2031-01")
    assert list(january) == list(districts())
    assert (january[MANY], january[FEW]) == (first.shown, None)
    assert all(count is None or (count >= 10 and count % 5 == 0) for count in january.values())

    assert await counting.close_month(datetime(2031, 3, 1, tzinfo=UTC)) == date(2031, 2, 1)
    assert told(hub, "2031-02") == january, "the same people give the same answer"

    enter(punjab, MANY, 10)
    assert await counting.close_month(datetime(2031, 3, 2, tzinfo=UTC)) is None
    assert told(hub, "2031-02") == january
    assert await counting.close_month(datetime(2031, 4, 1, tzinfo=UTC)) == date(2031, 3, 1)
    assert (told(hub, "2031-03")[MANY] or 0) >= first.count + 10 - 4
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        hub.sql("UPDATE area_month SET counts = '{}'")


async def test_of_two_workers_one_counts(counting: Counting) -> None:
    now = datetime(2032, 1, 1, tzinfo=UTC)
    kept = await asyncio.gather(counting.close_month(now), counting.close_month(now))
    assert sorted(map(str, kept)) == ["2031-12-01", "None"]


async def test_the_dead_are_counted_no_more_and_another_set_of_people_is_drawn_for_anew(
    hub: RunningHub, punjab: Node, counting: Counting
) -> None:
    numbers = enter(punjab, FEW, 2)
    before = await counting.cell(FEW)
    node(hub, "nadra").call(identity_event(numbers[0], death=Death()))
    after = await counting.cell(FEW)
    assert before
    assert after
    assert after.count == before.count - 1
    assert after.lot != before.lot


async def test_nothing_is_counted_while_the_index_is_not_complete(
    hub: RunningHub, punjab: Node, counting: Counting
) -> None:
    enter(punjab, FEW, 1)
    before = await counting.cell(FEW)
    assert before
    hub.sql(
        "UPDATE offender_search SET rules = 1 WHERE offender_id = (SELECT offender_id FROM offender_search LIMIT 1)"
    )
    assert await counting.cell(FEW) is None
    assert await counting.close_month(datetime(2033, 1, 1, tzinfo=UTC)) is None
    await Reindex(counting.database, counting.vault).run()
    assert await counting.cell(FEW) == before


async def test_one_district_or_all_and_every_reading_is_in_the_log(hub: RunningHub, counting: Counting) -> None:
    await counting.close_month(datetime(2031, 2, 1, tzinfo=UTC))
    read = "SELECT count(*) FROM audit_entry WHERE method LIKE '%%/GetAreaStatus' AND node_id = 'sed-punjab'"
    [[before]] = hub.sql(read)
    with hub.client("sed-punjab") as agency:
        newest, *_ = agency.get_area_status(f"  {MANY.upper()}", months=1).months
        assert [each.district for each in newest.districts] == [MANY]
        with pytest.raises(InvalidRequest):
            agency.get_area_status("Atlantis")
    assert hub.sql(read) == [(before + 1,)]


async def test_the_command_shows_a_table(hub: RunningHub, punjab: Node, counting: Counting) -> None:
    enter(punjab, MANY, 12)
    await counting.close_month(datetime(2034, 2, 1, tzinfo=UTC))
    options = ["--target", hub.target, "--node", str(hub.folder / "nodes/sed-punjab")]
    shown = CliRunner().invoke(app, [*options, "area", "--months", "1"])
    assert shown.exit_code == 0, shown.output
    titles, *lines = shown.output.splitlines()
    assert titles.split() == ["district", "2034-01"]
    assert [MANY, str(told(hub, "2034-01")[MANY])] in [line.split() for line in lines]
