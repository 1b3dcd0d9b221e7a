"""What a worker loads before it serves: the same as the feed would have brought it, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import pytest

from hub.domain.cnic import Cnic
from hub.domain.errors import Reason, Refused
from hub.domain.feed import BEGINNING, Event, IndexedOffender
from hub.domain.lookup import CheckedRecord, Disclosed
from hub.domain.offender import Finality
from hub.domain.revision import Revision
from hub.feed.tail import Tail
from hub.lookup.index import LookupIndex
from hub.store.database import PostgresDatabase
from hub.store.feed import FeedStore
from hub.store.vault import Keyring, Vault
from hub.transport import convert
from nsor.registry.v1.identity_pb2 import Death, NewCnic, NewName
from nsor.registry.v1.offender_pb2 import COURT_EVENT_APPEAL_FILED, COURT_EVENT_SET_ASIDE, Offender
from tests.support.contract import Node, court_event, identity_event, merging, node
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender, fresh_old_nic

pytest_plugins = ["tests.support.nodes"]

DISCLOSED = Disclosed("Somebody", "", "Somebody Else", "", "FATHER", "MALE")


class Index(LookupIndex):
    """An index that has something happen when the first records come in, while the others are still to be read."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__(convert.lookup.disclosed_person)
        self._meanwhile = meanwhile

    def load(self, records: Iterable[CheckedRecord]) -> None:
        super().load(records)
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()


@pytest.fixture
def vault(hub: RunningHub) -> Vault:
    return Vault(lambda: Keyring.load((hub.folder / "keyring.json").read_text()))


@pytest.fixture
async def store(hub: RunningHub, vault: Vault) -> AsyncIterator[FeedStore]:
    database = PostgresDatabase(hub.dsn, vault)
    yield FeedStore(database, vault)
    await database.close()


def convict(convictions: int = 1, **person: str) -> Offender:
    """A convict of no other test, convicted in so many cases."""
    offender = fresh_offender(**person)
    for number in range(2, convictions + 1):
        offender.convictions.add().CopyFrom(offender.convictions[0])
        offender.convictions[-1].fir_number = f"{number}00/2024"
    return offender


def numbers_of(event: Event) -> set[bytes]:
    """The blind indexes of the numbers that an event is about."""
    return {index for change in event.changes if isinstance(change, IndexedOffender) for index in change.cnic_indexes}


async def test_a_register_is_loaded_as_the_feed_brings_it(
    hub: RunningHub, store: FeedStore, punjab: Node, court: Node
) -> None:
    nadra = node(hub, "nadra")
    punjab.create(convict(cnic="", old_nic=fresh_old_nic()))
    appealing, mixed, sealed, moved, dead = (punjab.create(convict(2)).offender for _ in range(5))
    court.call(court_event(appealing, COURT_EVENT_APPEAL_FILED))
    court.call(court_event(mixed, COURT_EVENT_SET_ASIDE))
    for record in (sealed, moved):
        nadra.call(identity_event(record.person.cnic, new_cnic=NewCnic(cnic=fresh_cnic())))
    nadra.call(identity_event(moved.person.cnic, new_name=NewName(full_name="Somebody Else")))
    nadra.call(identity_event(dead.person.cnic, death=Death()))
    for number in (1, 2):
        court.call(court_event(punjab.get(sealed.name), COURT_EVENT_SET_ASIDE, number=number))
    stays, goes = (punjab.create(convict()).offender for _ in range(2))
    node(hub, "npb").call(merging(stays, goes))
    retried = convict(cnic=sealed.person.cnic)
    retried.convictions[0].fir_number = "900/2024"
    punjab.check(sealed.person.cnic, punjab.create(retried).revision)  # so it is in the feed

    followed, loaded = Index(), Index()
    place, numbers = BEGINNING, set[bytes]()
    while events := await store.events(place, 200):
        for event in events:
            followed.apply(event)
            numbers |= numbers_of(event)
        place = events[-1].place
    async for records in store.checked_records():
        loaded.load(records)
    assert len(loaded) == len(followed)
    assert {number: loaded.find(number) for number in numbers} == {number: followed.find(number) for number in numbers}


async def test_what_is_written_during_a_load_follows_it(
    hub: RunningHub, store: FeedStore, vault: Vault, punjab: Node, court: Node
) -> None:
    acquitted, entered = punjab.create(convict()).offender, convict()
    revisions: list[str] = []

    def write() -> None:
        revisions.append(court.call(court_event(acquitted, COURT_EVENT_SET_ASIDE)).revision)
        revisions.append(punjab.create(entered).revision)

    index = Index(write)
    tail = Tail(store, index.apply)
    await tail.start(index)
    gone, new = (vault.index(Cnic.parse(record.person.cnic)) for record in (acquitted, entered))
    assert (len(index.find(gone).finalities), len(index.find(new).finalities)) == (1, 0), (
        "the load is of the moment when it began"
    )
    assert tail.age() == float("inf"), "so nothing is answered from it yet"
    following = asyncio.create_task(tail.run())
    for revision in revisions:
        await tail.reached(Revision.parse(revision, tail.epoch))
    following.cancel()
    await asyncio.wait({following})
    assert not index.find(gone).finalities
    assert index.find(new).finalities


async def test_a_load_that_is_cut_leaves_nothing_behind(
    hub: RunningHub, store: FeedStore, vault: Vault, punjab: Node
) -> None:
    """The database that comes back need not be the one that went away."""
    record = punjab.create(convict()).offender
    lost = CheckedRecord(b"0" * 16, 1, [b"of a register that was replaced"], {Finality.FINAL}, DISCLOSED)

    def cut() -> None:
        index.load([lost])
        terminate = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE query ~ 'checked_records' AND pid <> pg_backend_pid()"""
        assert hub.sql(terminate) == [(True,)]

    index = Index(cut)
    tail = Tail(store, index.apply)
    with pytest.raises(Refused) as refused:
        await tail.start(index)
    assert refused.value.reason is Reason.DATABASE_UNAVAILABLE
    assert index.find(lost.cnic_indexes[0]).finalities, "it was cut in the middle"
    assert tail.age() == float("inf"), "so nothing is answered from it"
    await tail.start(index)
    assert not index.find(lost.cnic_indexes[0]).finalities
    assert index.find(vault.index(Cnic.parse(record.person.cnic))).finalities
