"""The time."""

import sys
import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time."""
    return datetime.now(UTC)


def steady() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine is suspended: data ages meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
