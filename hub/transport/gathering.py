"""Measures of calls, told together."""

import asyncio
from collections.abc import Mapping

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Histogram

_GATHERING_SECONDS = 0.1
_MOST = 1000


class GatheringHistogram:
    """A histogram that is told of values together: one by one, each takes four times as long (docs/performance.md).

    For use on an event loop; what was recorded within the last tenth of a second before its end is lost.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._gathered: list[tuple[float, Mapping[str, str], Context]] = []

    def record(self, value: float, attributes: Mapping[str, str]) -> None:
        """Records a value."""
        if not self._gathered:
            asyncio.get_running_loop().call_later(_GATHERING_SECONDS, self._tell)
        self._gathered.append((value, attributes, get_current()))
        if len(self._gathered) == _MOST:
            self._tell()

    def _tell(self) -> None:
        gathered, self._gathered = self._gathered, []
        for value, attributes, context in gathered:
            self._histogram.record(value, attributes, context)
