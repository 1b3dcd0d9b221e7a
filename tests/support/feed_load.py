"""Writers and watchers of the feed, who write down what they see for the checker."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from nsor.federation.v1 import federation_service_pb2 as pb
from nsor.monitoring.v1.notice_pb2 import AddressChange, Notice
from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest
from nsor_client import AsyncClient, DeadlineExceeded, NsorError, Unavailable
from nsor_client.following import may_pass
from tests.support.feed_checker import (
    BEGINNING,
    COMPACTED,
    EPOCH_CHANGED,
    Event,
    History,
    Response,
    Snapshot,
    Stream,
    Version,
    Write,
)
from tests.support.people import fresh_offender

T = TypeVar("T")

_AGAIN_SECONDS = 0.05
_RECENT = 50


class Recorder:
    """Records a run: let writers write, then call `finish`, and the watchers end when they have seen everything.

    Args:
        writes: that are in the register already.
    """

    def __init__(self, writes: Sequence[Write] = ()) -> None:
        self._writes = list(writes)
        self._streams: list[Stream] = []
        self._snapshots: list[Snapshot] = []
        self._feed = Stream("the feed", BEGINNING, time.time())
        self._tokens = [BEGINNING]
        self._known: dict[str, Event] = {}
        self._end: float | None = None

    @property
    def events(self) -> int:
        """How many events watchers have seen."""
        return len(self._known)

    async def write_one(self, client: AsyncClient) -> Offender:
        """Enters a record."""
        offender, request_id = fresh_offender(), str(uuid4())
        began = time.time()
        response = await acknowledged(lambda: client.create_offender(offender, request_id=request_id))
        self._wrote(Version(response.offender.name, response.offender.etag), response.revision, began)
        return response.offender

    async def write(self, client: AsyncClient, chance: random.Random, enough: Callable[[], bool]) -> None:
        """Writes as a police force, in all the ways there are."""
        own: list[Offender] = []
        while not enough():
            match chance.choice(("create", "update", "update", "notify", "import")) if own else "create":
                case "create":
                    own.append(await self.write_one(client))
                case "update":
                    await self._update(client, chance.choice(own))
                case "notify":
                    await self._notify(client, chance.choice(own))
                case _:
                    await self._import(client, rows=chance.randint(2, 20), window=chance.choice((1, 4, 20)))

    async def import_row_by_row(self, client: AsyncClient, enough: Callable[[], bool]) -> None:
        """Imports, each row a transaction of its own: many events at little cost."""
        while not enough():
            await self._import(client, rows=200, window=1)

    async def watch(
        self, name: str, client: AsyncClient, chance: random.Random, *, after: str = "", pause: float = 0
    ) -> None:
        """Watches until everything has been seen, leaving now and then, and resuming in all the ways there are.

        Args:
            after: the token that it begins with.
            pause: seconds that it takes over each response.
        """
        for number in count(1):
            stream = Stream(name, after, time.time())
            self._streams.append(stream)
            if await self._follow(client, stream, chance.randint(1, 60), pause):
                return
            # Once also without need, while everybody writes.
            anew = stream.refused or number == 2
            after = await self.snapshot(name, client) if anew else self._resumption(stream, chance)

    async def read_all(self, client: AsyncClient) -> None:
        """Reads the feed from its beginning until everything has been seen: what others see is compared with it."""
        assert await self._follow(client, self._feed), self._feed.refused

    @property
    def latest(self) -> float:
        """Commit time of the last event that `read_all` has, in seconds since 1970; 0 before the first."""
        return next((r.events[-1].committed for r in reversed(self._feed.responses) if r.events), 0)

    def finish(self) -> None:
        """Ends the run: a watcher who knows everything until now has seen all."""
        self._end = time.time()

    def history(self, dropped: int = 0) -> History:
        """What was recorded.

        Args:
            dropped: number of events that the feed does not hold any more.
        """
        return History(self._writes, self._streams, self._feed, self._snapshots, dropped)

    async def _update(self, client: AsyncClient, offender: Offender) -> None:
        request_id = str(uuid4())
        offender.district = "Multan" if offender.district == "Lahore" else "Lahore"
        began = time.time()
        response = await acknowledged(lambda: client.update_offender(offender, ["district"], request_id=request_id))
        self._wrote(Version(response.offender.name, response.offender.etag), response.revision, began)
        offender.CopyFrom(response.offender)

    async def _notify(self, client: AsyncClient, offender: Offender) -> None:
        request_id = str(uuid4())
        address = AddressChange(address="House 1", district="Lahore", effective_date="2026-01-01")
        notice = Notice(address_change=address, notified_date="2026-01-01")
        began = time.time()
        response = await acknowledged(lambda: client.record_notice(offender.name, notice, request_id=request_id))
        self._wrote(Version(response.notice.name, ""), response.revision, began)

    async def _import(self, client: AsyncClient, *, rows: int, window: int) -> None:
        waiting = {
            number: ImportOffendersRequest(row=number, offender=fresh_offender(), request_id=str(uuid4()))
            for number in range(1, rows + 1)
        }
        began: dict[int, float] = {}

        def sent(requests: Sequence[ImportOffendersRequest]) -> Any:
            for request in requests:
                began.setdefault(request.row, time.time())
                yield request

        async def receive() -> None:
            async for result in client.import_offenders(sent(list(waiting.values())), window=window):
                assert result.offender, result.error
                del waiting[result.row]
                self._wrote(Version(result.offender, '"1"'), "", began[result.row])

        await acknowledged(receive)

    def _wrote(self, version: Version, revision: str, began: float) -> None:
        self._writes.append(Write(version, revision, began, time.time()))
        if revision:
            self._tokens.append(revision)

    async def _follow(self, client: AsyncClient, stream: Stream, at_most: int | None = None, pause: float = 0) -> bool:
        """Follows a stream until it is refused or has given so many responses; True when it has given everything."""
        try:
            async with aclosing(client.watch_changes(stream.after)) as responses:
                async for message in responses:
                    response = self._received(message)
                    stream.responses.append(response)
                    if self._end is not None and response.as_of is not None and response.as_of > self._end:
                        return True
                    if len(stream.responses) == at_most:
                        return False
                    await asyncio.sleep(pause)
        except NsorError as error:
            stream.refused = error.reason_name.removeprefix("ERROR_REASON_")
            if stream.refused not in (COMPACTED, EPOCH_CHANGED):
                raise
        return False

    async def snapshot(self, name: str, client: AsyncClient) -> str:
        """Takes a snapshot, and gives the token to go on after."""

        async def take() -> Snapshot:
            versions: list[Version] = []
            async for part in client.get_snapshot():
                versions += [Version(offender.name, offender.etag) for offender in part.offenders]
                versions += [Version(notice.name, "") for notice in part.notices]
            return Snapshot(name, part.revision, part.as_of_time.ToNanoseconds() / 1e9, versions)

        self._snapshots.append(await acknowledged(take))
        return self._snapshots[-1].revision

    def _resumption(self, stream: Stream, chance: random.Random) -> str:
        """After the last response; after an event in it, as if the watcher had fallen over there; or anywhere."""
        if not stream.responses:
            return stream.after
        last = stream.responses[-1]
        self._tokens.append(last.revision)
        how = chance.random()
        if how < 0.7 or not last.events:
            return last.revision
        if how < 0.9:
            return chance.choice(last.events).revision
        return chance.choice(self._tokens[-_RECENT:])

    def _received(self, message: pb.WatchChangesResponse) -> Response:
        as_of = message.as_of_time.ToNanoseconds() / 1e9 if message.HasField("as_of_time") else None
        return Response([self._event(event) for event in message.events], message.revision, as_of, time.time())

    def _event(self, message: pb.Event) -> Event:
        versions = tuple(
            Version(change.offender.name, change.offender.etag)
            if change.HasField("offender")
            else Version(change.notice.name, "")
            for change in message.changes
        )
        event = Event(message.revision, message.commit_time.ToNanoseconds() / 1e9, versions)
        # Many watchers get the same events: one object each, as long as they are the same.
        known = self._known.setdefault(event.revision, event)
        return known if known == event else event


async def acknowledged(call: Callable[[], Awaitable[T]]) -> T:
    """What a call gives in the end: it is made again, as the same request, until the hub answers it."""
    while True:
        try:
            return await call()
        except NsorError as error:
            # A line that was cut in the middle of an answer can look like a fault of the hub, but names no reason.
            if not (isinstance(error, (Unavailable, DeadlineExceeded)) or (may_pass(error) and not error.reason)):
                raise
            await asyncio.sleep(_AGAIN_SECONDS)
