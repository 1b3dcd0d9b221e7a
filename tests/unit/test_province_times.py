"""Up to when the records of every province are known, by what their nodes have reported."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from hub.domain.feed import BEGINNING, FederationStatus, Outbox, Progress
from hub.domain.node import Node, NodeState, Role
from hub.feed.lag import Lag

NOW = datetime(2026, 11, 22, tzinfo=UTC)

TIMES = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 22), timezones=st.just(UTC))


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    node = Node("x", "X", draw(st.sampled_from(Role)), "", draw(st.sampled_from(NodeState)), NOW)
    until = draw(TIMES)
    return Progress(node, 0, 0, None, timedelta(0), None, Outbox(UUID(int=1), until) if until else None)


def provinces_as_of(nodes: Sequence[Progress]) -> datetime | None:
    return FederationStatus(UUID(int=0), BEGINNING, NOW, nodes).provinces_as_of


def counts(progress: Progress) -> bool:
    return progress.node.role is Role.POLICE and progress.node.state is not NodeState.REVOKED


@given(st.lists(progresses(), max_size=8))
def test_it_is_the_time_of_the_province_that_is_furthest_behind(nodes: list[Progress]) -> None:
    known = provinces_as_of(nodes)
    times = [progress.complete_until for progress in nodes if counts(progress)]
    if known is None:
        assert not times or None in times
    else:
        assert known in times
        assert all(time and known <= time for time in times)


@given(st.lists(progresses(), max_size=8))
def test_who_keeps_no_records_or_was_thrown_out_changes_nothing(nodes: list[Progress]) -> None:
    assert provinces_as_of(nodes) == provinces_as_of([progress for progress in nodes if counts(progress)])


def test_what_a_province_reported_holds_once_the_index_has_caught_up() -> None:
    """The write that was reported as sent is in the database, and may not be in the index yet."""

    def report(until: datetime | None, read_at: float, known_at: float) -> None:
        police = Node("punjab-police", "P", Role.POLICE, "Punjab", NodeState.ACTIVE, NOW)
        outbox = Outbox(UUID(int=1), until) if until else None
        progress = Progress(police, 0, 0, None, timedelta(0), None, outbox)
        lag.record(FederationStatus(UUID(int=0), BEGINNING, NOW, [progress]), read_at, known_at)

    lag, (first, second, third) = Lag(), [NOW - timedelta(minutes=minutes) for minutes in (3, 2, 1)]
    assert lag.provinces_as_of(99) is None
    report(first, read_at=10, known_at=9)
    assert [lag.provinces_as_of(at) for at in (9.9, 10)] == [None, first]
    report(second, read_at=20, known_at=12)
    assert [lag.provinces_as_of(at) for at in (12, 19.9, 20)] == [first, first, second]
    report(third, read_at=30, known_at=13)
    assert [lag.provinces_as_of(at) for at in (13, 25, 30)] == [first, first, third], "the feed stands still"
    report(first, read_at=40, known_at=35)
    assert lag.provinces_as_of(35) == first, "a station that is further behind counts at once"
    report(None, read_at=50, known_at=45)
    assert lag.provinces_as_of(45) is None
