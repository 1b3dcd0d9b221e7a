"""How often somebody may ask."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and so many at once after a pause. None a second: no limit."""

    per_second: float
    burst: int


class RateLimit:
    """Token buckets, one for each key, in bounded memory.

    A bucket is one number (GCRA): the time at which it will be full again. Of more keys than fit, those that were not
    used for longest are forgotten, and so full.

    Args:
        keys: buckets to remember at most.
        clock: a steady one, in seconds.
    """

    def __init__(self, rate: Rate, *, keys: int = 20_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate.per_second if rate.per_second else 0.0
        self._burst = rate.burst
        self._keys = keys
        self._clock = clock
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def wait(self, key: Hashable, count: int = 1) -> float:
        """Seconds until a bucket has so many tokens; 0 if it has. Of more than it holds, the rest is waited for."""
        now = self._clock()
        wait = max(self._full_at.get(key, now), now) - now + (count - self._burst) * self._interval
        return wait if wait > _ROUNDING else 0.0

    def take(self, key: Hashable, count: int = 1) -> None:
        """Takes so many tokens, in advance if they are not there yet."""
        now = self._clock()
        self._full_at[key] = max(self._full_at.get(key, now), now) + count * self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._keys:
            self._full_at.popitem(last=False)


class CheckLimits:
    """How many numbers a node may ask about, an officer of it, and an end user behind it."""

    def __init__(self, node: Rate, officer: Rate, end_user: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = RateLimit(node, clock=clock)
        self._officer = RateLimit(officer, clock=clock)
        self._end_user = RateLimit(end_user, clock=clock)

    def take(self, caller: Caller, end_user: bytes, count: int, patience: float) -> float:
        """Counts so many numbers, and gives the seconds that the caller must wait before they are looked up.

        Args:
            end_user: what stands for the person behind a gateway; empty for none.
            patience: seconds that the caller can be made to wait.

        Raises:
            Refused: TOO_MANY_REQUESTS: it would have to wait longer. Nothing was counted.
        """
        node = caller.node.id
        buckets: list[tuple[str, RateLimit, Hashable]] = [("node", self._node, node)]
        if caller.officer:
            buckets.append(("officer", self._officer, (node, caller.officer.id)))
        if end_user:
            buckets.append(("end_user", self._end_user, (node, end_user)))
        wait, name = max((limit.wait(key, count), name) for name, limit, key in buckets)
        if wait > patience:
            raise too_many_requests(name, wait)
        for _, limit, key in buckets:
            limit.take(key, count)
        return wait


def too_many_requests(limit: str, wait: float) -> Refused:
    """The refusal of what goes beyond a limit.

    Args:
        limit: its name.
        wait: seconds after which the same would be let through.
    """
    return Refused(
        Reason.TOO_MANY_REQUESTS, "more than the limit allows; retry later", metadata={"limit": limit}, retry_after=wait
    )
