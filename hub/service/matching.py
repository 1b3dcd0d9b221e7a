"""Compares watch lists with the register, and makes the alerts.

What a watcher knows is compared with how things stand, not worked out from events: an event only says under which
numbers to look. So it does not matter how often somebody is looked at, nor by how many workers, and nothing of the feed
has to be remembered: after a start, and after anything that failed, everybody is looked at who is on the register or
was told of.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from uuid_utils.compat import uuid7

from hub.domain.disclosure import Channel, DisclosureMode, Grant
from hub.domain.errors import Refused
from hub.domain.feed import Event, IndexedOffender
from hub.domain.node import Role
from hub.domain.offender import Offender
from hub.domain.vetting import Watched, react
from hub.service.feed import Feed
from hub.service.lookup import Policy
from hub.service.watch_lists import WatchList, WatchLists

log = logging.getLogger(__name__)

_ROUND_SECONDS = 0.25
_BATCH = 200
# Numbers heard of between two rounds. Beyond it everybody is looked at.
_HEARD = 50_000


async def vetting_grant(policy: Policy) -> Grant:
    """What a watch list tells.

    Raises:
        Refused: DATABASE_UNAVAILABLE: it cannot be known.
    """
    return (await policy.in_force()).grant(Role.VETTING_AGENCY, Channel.BATCH)


def is_hit(grant: Grant, record: Offender | None) -> bool:
    """Whether a watcher may be told of the record that stands under a number."""
    convictions = record.facts.convictions if record and record.facts else ()
    return bool(convictions) and grant.is_hit(conviction.finality for conviction in convictions)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a round found: how far alerts are.

    Attributes:
        told: whether the disclosure policy lets alerts be sent.
        as_of: all that was committed before this time has made its alerts; None before the first round.
        heads: of each list, the number of its newest alert, and the `as_of` of this list.
    """

    told: bool = False
    as_of: datetime | None = None
    heads: Mapping[str, tuple[int, datetime | None]] = field(default_factory=dict[str, tuple[int, datetime | None]])

    def has_news(self, node_id: str, seq: int) -> bool:
        """Whether there are alerts after a number, to be sent."""
        return self.told and node_id in self.heads and self.heads[node_id][0] > seq

    def known_until(self, node_id: str, seq: int) -> datetime | None:
        """The time until which whoever has the alerts up to a number knows everything."""
        if not self.told or self.has_news(node_id, seq):
            return None
        return self.heads[node_id][1] if node_id in self.heads else self.as_of


class Matcher:
    """Makes alerts in this process; all processes do, one at a time for each list.

    Args:
        retention: age at which alerts that were sent are dropped, but for those in force.
    """

    def __init__(
        self,
        lists: WatchLists,
        feed: Feed,
        policy: Policy,
        clock: Callable[[], datetime],
        *,
        retention: timedelta,
    ) -> None:
        self._lists = lists
        self._feed = feed
        self._policy = policy
        self._clock = clock
        self._retention = retention
        self._heard = set[bytes]()
        self._all = True
        self._under_appeal: bool | None = None
        self._moved = asyncio.Event()
        self.standing = Standing()

    def hear(self, event: Event) -> None:
        """Takes in which numbers an event of the feed is about."""
        for change in event.changes:
            if isinstance(change, IndexedOffender):
                self._heard.update(change.cnic_indexes)
        if len(self._heard) > _HEARD:
            self._heard.clear()
            self._all = True

    async def moved(self) -> None:
        """Returns when the next round finds something else than the last one."""
        await self._moved.wait()

    async def run(self) -> None:
        """Compares until it is cancelled. To be begun when the feed is followed already, so that no event is missed."""
        while True:
            try:
                if await self._round():
                    continue
            except Refused as refused:
                log.warning("watch lists are not compared with the register: %s", refused.reason)
                self._all = True
            await asyncio.sleep(_ROUND_SECONDS)

    async def _round(self) -> bool:
        """Marks whom it was heard of, and compares some of each list. True when there is more to compare at once."""
        # In this order: of everything before that time it has been heard by now.
        as_of = self._feed.as_of
        heard, self._heard = self._heard, set[bytes]()
        everybody, self._all = self._all, False
        grant = await vetting_grant(self._policy)
        if everybody or grant.under_appeal != self._under_appeal:
            for head in await self._lists.heads():
                await self._lists.mark_all(head.node_id)
            self._under_appeal = grant.under_appeal
        elif heard:
            await self._lists.mark(heard)
        heads = await self._lists.heads()
        if due := [head.node_id for head in heads if head.due]:
            for node_id in due:
                await self._compare(node_id, grant)
            heads = await self._lists.heads()
        before = self.standing.heads
        self._found(
            Standing(
                told=grant.mode is not DisclosureMode.OFF,
                as_of=as_of,
                heads={
                    head.node_id: (head.seq, before.get(head.node_id, (0, None))[1] if head.due else as_of)
                    for head in heads
                },
            )
        )
        return any(head.due for head in heads)

    def _found(self, standing: Standing) -> None:
        seqs = [{node_id: seq for node_id, (seq, _) in each.heads.items()} for each in (self.standing, standing)]
        changed = seqs[0] != seqs[1] or self.standing.told != standing.told
        self.standing = standing
        if changed:
            # Whoever waits has the old one; the next to wait gets the new one.
            self._moved.set()
            self._moved = asyncio.Event()

    async def _compare(self, node_id: str, grant: Grant) -> None:
        """Compares some of those on a list who are marked: so few that other lists need not wait for long."""
        async with self._lists.open(node_id) as watch_list:
            people = await watch_list.due(_BATCH)
            seq = watch_list.seq
            for watched in people:
                await self._react(watch_list, watched, grant)
            await watch_list.settle([watched.person.id for watched in people])
            if watch_list.seq != seq:
                await watch_list.drop_sent(before=self._clock() - self._retention)

    async def _react(self, watch_list: WatchList, watched: Watched, grant: Grant) -> None:
        told, record = watched.told, watched.record
        reaction = react(told, record.id if record else None, hit=is_hit(grant, record))
        if told and reaction.take_back:
            await watch_list.take_back([told.id])
        for kind, offender_id in reaction.alerts:
            await watch_list.add_alert(watched.person.id, uuid7(), kind, offender_id, self._clock())
