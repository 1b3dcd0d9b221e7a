"""The bound on callers without a certificate."""

import pytest

from hub.domain.errors import Reason, Refused
from hub.transport.gate import Gate


def passes(gate: Gate) -> bool:
    try:
        gate()
    except Refused as refused:
        return refused.reason is not Reason.TOO_MANY_REQUESTS
    return True


@pytest.mark.parametrize("pause", [0.0, 3600.0])
def test_a_burst_passes_and_no_more_however_long_the_pause_was(pause: float) -> None:
    now = 0.0
    gate = Gate(per_second=5, burst=20, clock=lambda: now)
    now = pause
    assert [passes(gate) for _ in range(25)] == [True] * 20 + [False] * 5


def test_afterwards_so_many_a_second_pass() -> None:
    now = 0.0
    gate = Gate(per_second=5, burst=20, clock=lambda: now)
    passed = 0
    for step in range(1000):
        now = step / 100
        passed += passes(gate)
    assert passed == 20 + 49
