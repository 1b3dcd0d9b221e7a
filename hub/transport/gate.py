"""A bound on how often callers without a certificate may knock."""

import time
from collections.abc import Callable

from hub.domain.errors import Reason, Refused


class Gate:
    """Lets a burst through, and afterwards so many a second.

    Args:
        per_second: calls a second in the long run.
        burst: calls at once after a pause.
        clock: a steady one, in seconds.
    """

    def __init__(self, per_second: float = 5, burst: int = 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: float = burst
        self._clock = clock
        self._counted_at = clock()

    def __call__(self) -> None:
        """Counts a call.

        Raises:
            Refused: TOO_MANY_REQUESTS.
        """
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        if self._left < 1:
            raise Refused(Reason.TOO_MANY_REQUESTS, "too many nodes enrol at once; retry later")
        self._left -= 1
