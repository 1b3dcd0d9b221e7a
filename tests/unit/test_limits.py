"""How often somebody may ask: token buckets, on a clock that the test moves."""

from datetime import datetime
from typing import Any

import pytest

from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller, Node, NodeState, Officer, Purpose, Role
from hub.service.limits import CheckLimits, Rate, RateLimit


class Clock:
    """Seconds, as the test sets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def caller(node: str = "punjab-police", officer: str = "") -> Caller:
    who = Officer(officer, Purpose.VETTING, "") if officer else None
    return Caller(Node(node, "", Role.POLICE, "", NodeState.ACTIVE, datetime.min), "CheckCnic", who)


def test_a_burst_passes_at_once_and_then_so_many_a_second() -> None:
    clock = Clock()
    limit = RateLimit(Rate(per_second=2, burst=3), clock=clock)
    for _ in range(3):
        assert limit.wait("a") == 0
        limit.take("a")
    assert limit.wait("a") == 0.5
    assert limit.wait("b") == 0, "each key has its own"
    clock.now = 0.5
    assert limit.wait("a") == 0
    limit.take("a")
    assert limit.wait("a", 2) == 1
    clock.now = 1000
    assert limit.wait("a", 3) == 0
    assert limit.wait("a", 5) == 1, "more than ever fit are taken in advance"


def test_no_limit_never_waits() -> None:
    limit = RateLimit(Rate(per_second=0, burst=1), clock=Clock())
    for _ in range(10):
        assert limit.wait("a", 1000) == 0
        limit.take("a", 1000)


def test_only_so_many_keys_are_remembered_those_used_last() -> None:
    limit = RateLimit(Rate(per_second=1, burst=1), keys=2, clock=Clock())
    for key in ("a", "b", "a", "c"):
        limit.take(key)
    assert (limit.wait("a") > 0, limit.wait("b") > 0, limit.wait("c") > 0) == (True, False, True)


@pytest.mark.parametrize(
    ("first", "second", "limit"),
    [
        ((caller(officer="a"), b""), (caller(officer="a"), b""), "officer"),
        ((caller(), b"x" * 16), (caller(), b"x" * 16), "end_user"),
    ],
)
def test_what_goes_beyond_a_limit_is_refused_with_its_name_and_time(first: Any, second: Any, limit: str) -> None:
    clock = Clock()
    limits = CheckLimits(Rate(1, 1000), Rate(0.1, 2), Rate(0.1, 2), clock)
    assert [limits.take(*first, 1, patience=0) for _ in range(2)] == [0, 0]
    with pytest.raises(Refused) as refused:
        limits.take(*second, 1, patience=0)
    assert (refused.value.reason, refused.value.metadata) == (Reason.TOO_MANY_REQUESTS, {"limit": limit})
    assert refused.value.retry_after == pytest.approx(10)
    clock.now = 10
    limits.take(*second, 1, patience=0)


def test_the_same_officer_or_phone_of_another_node_is_another() -> None:
    limits = CheckLimits(Rate(1, 1000), Rate(1, 1), Rate(1, 1), Clock())
    for node in ("punjab-police", "sindh-police"):
        assert limits.take(caller(node, "a"), b"x" * 16, 1, patience=0) == 0


def test_a_refusal_counts_nothing() -> None:
    limits = CheckLimits(Rate(1, 5), Rate(1, 1), Rate(1, 1), Clock())
    limits.take(caller(officer="a"), b"", 1, patience=0)
    for _ in range(10):
        with pytest.raises(Refused):
            limits.take(caller(officer="a"), b"", 1, patience=0)
    assert limits.take(caller(), b"", 4, patience=0) == 0, "the refused did not use up the node's"


def test_who_has_patience_is_told_how_long_to_wait() -> None:
    limits = CheckLimits(Rate(10, 100), Rate(0, 1), Rate(0, 1), Clock())
    assert limits.take(caller(), b"", 100, patience=60) == 0
    assert limits.take(caller(), b"", 100, patience=60) == pytest.approx(10)
    assert limits.take(caller(), b"", 500, patience=60) == pytest.approx(60)
    with pytest.raises(Refused):
        limits.take(caller(), b"", 1, patience=60)
