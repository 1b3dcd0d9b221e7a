"""A bound on how often callers without a certificate may knock."""

import time
from collections.abc import Callable

from hub.service.limits import Rate, RateLimit, too_many_requests


class Gate:
    """Lets a burst through, and afterwards so many a second.

    Args:
        per_second: calls a second in the long run.
        burst: calls at once after a pause.
        clock: a steady one, in seconds.
    """

    def __init__(self, per_second: float = 5, burst: int = 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = RateLimit(Rate(per_second, burst), clock=clock)

    def __call__(self) -> None:
        """Counts a call.

        Raises:
            Refused: TOO_MANY_REQUESTS.
        """
        if wait := self._limit.wait("gate"):
            raise too_many_requests("enrolment", wait)
        self._limit.take("gate")
