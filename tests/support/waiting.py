"""Waiting for what must come, with a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.02


def eventually(probe: Callable[[], T | None], seconds: float = 30) -> T:
    """What `probe` gives as soon as that is true; it is asked again and again.

    Raises:
        AssertionError: it was not true within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(_POLL_SECONDS)
    return found
