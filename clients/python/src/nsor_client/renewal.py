"""What it takes to keep a certificate from ending while a program runs."""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio

from nsor_client.credentials import Credentials
from nsor_client.errors import Unavailable

LOOK_SECONDS = 10.0
"""Time between two looks at the folder of the credentials, at most."""

SHORTEST_WAIT = 1.0
"""Seconds between two renewals, at least, however short certificates live."""

LONGEST_WAIT = 300.0
"""Seconds between two tries to renew, at most: a CA may need a person to sign."""

log = logging.getLogger("nsor_client")


class Schedule:
    """When a certificate is to be renewed: at half of its life and up to a tenth of it later, at random.

    So the stations of a country do not come at the same moment; of several processes with one folder one renews, and
    the others find what it put there.
    """

    def __init__(self, credentials: Credentials, rng: random.Random | None = None) -> None:
        begin, end = credentials.begin_time, credentials.expire_time
        self._due = begin + (end - begin) * (rng or random.Random()).uniform(0.5, 0.6)

    def is_due(self) -> bool:
        """Whether it is time, by the clock of this machine."""
        return datetime.now(UTC) >= self._due

    def wait(self) -> float:
        """Seconds until there may be something to do."""
        left = (self._due - datetime.now(UTC)).total_seconds()
        return max(SHORTEST_WAIT, min(left, LOOK_SECONDS))


class AsyncBackground:
    """A coroutine that runs beside, until it is ended."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.create_task(work())

    async def end(self) -> None:
        """Cancels it, and waits until it is over."""
        self._task.cancel()
        await asyncio.wait({self._task})


class Background:
    """A function that runs beside, in a thread that keeps no program from ending."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name="nsor-client-renewal", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Waits until it is over; it must have been told."""
        self._thread.join()


async def async_ready(channel: grpc.aio.Channel, seconds: float) -> None:
    """Returns when a line is up.

    Raises:
        Unavailable: it is not, within that time.
    """
    try:
        await asyncio.wait_for(channel.channel_ready(), seconds)
    except TimeoutError:
        raise _not_up() from None


def ready(channel: grpc.Channel, seconds: float) -> None:
    """Returns when a line is up.

    Raises:
        Unavailable: it is not, within that time.
    """
    future = grpc.channel_ready_future(channel)
    try:
        future.result(seconds)
    except grpc.FutureTimeoutError:
        raise _not_up() from None
    finally:
        future.cancel()


def _not_up() -> Unavailable:
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "There is no line with the new certificate.")
