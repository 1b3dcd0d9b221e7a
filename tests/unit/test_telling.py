"""The statistics by which benchmarks say that times tell nothing: they must see what is there."""

import random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import telling

times = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=30)


@given(ones=times, others=times)
def test_the_share_is_that_of_all_pairs(ones: list[float], others: list[float]) -> None:
    pairs = [(one > other) + (one == other) / 2 for one in ones for other in others]
    assert abs(telling.auc(ones, others) - sum(pairs) / len(pairs)) < 1e-9


def test_equal_times_are_within_the_margin_and_a_planted_delay_is_not() -> None:
    chance = random.Random(7)
    ones, others = ([chance.expovariate(1000) for _ in range(5000)] for _ in range(2))
    margin = telling.margin(ones, others)
    assert abs(telling.auc(ones, others) - 0.5) < margin < 0.012
    seen = telling.seen(ones, others)
    assert 0 < seen < 100e-6
    for delay, found in ((2 * seen, True), (seen / 10, False)):
        assert (telling.auc([one + delay for one in ones], others) - 0.5 > margin) == found
