"""What it takes to follow a stream for as long as a program runs: which errors pass, how long to wait, what to say."""

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import grpc

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor_client.errors import NsorError

FIRST_WAIT = 0.25
"""Seconds before the first new try, at most."""

LONGEST_WAIT = 10.0
"""Seconds between two tries, at most, unless the hub asks for more: a station should be back soon after its line is."""

LONGEST_ASKED_WAIT = 300.0
"""Seconds that a hub may ask for."""

_PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    # What a hub that goes down, or a proxy on the way, makes of a stream.
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}


@dataclass(frozen=True)
class LineState:
    """Whether a watch is connected; if not, why, and when it tries again.

    Attributes:
        error: what broke the line; None while it is connected.
        wait: seconds until the next try.
    """

    error: NsorError | None = None
    wait: float = 0.0

    @property
    def connected(self) -> bool:
        """Whether responses come."""
        return self.error is None


OnState = Callable[[LineState], object]
"""Called at each change of the state, in the thread or task that reads the watch."""


def may_pass(error: NsorError) -> bool:
    """Whether a later try of the same stream can succeed: the line or the hub is at fault, not what was asked."""
    return error.code in _PASSING and error.reason != ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE


class Backoff:
    """Times to wait between tries: each limit twice the one before, and a random half to all of it.

    The random part keeps the stations of a country from knocking at the same moment when their hub is back.
    """

    def __init__(self, rng: random.Random | None = None, longest: float = LONGEST_WAIT) -> None:
        self._rng = rng or random.Random()
        self._longest = longest
        self._limit = FIRST_WAIT

    def reset(self) -> None:
        """The last try succeeded: begin again with short times."""
        self._limit = FIRST_WAIT

    def next(self, asked: float | None) -> float:
        """Seconds to wait now; at least what the hub asked for, within reason."""
        wait = self._limit * self._rng.uniform(0.5, 1)
        self._limit = min(2 * self._limit, self._longest)
        return max(wait, min(asked or 0.0, LONGEST_ASKED_WAIT))


async def async_pause(over: asyncio.Event, seconds: float) -> None:
    """Waits for that time, or until `over` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), seconds)


def pause(over: threading.Event, seconds: float) -> None:
    """Waits for that time, or until `over` is set."""
    over.wait(seconds)
