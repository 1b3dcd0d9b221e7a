"""Whether times tell two kinds of calls apart: Mann and Whitney's test."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import sqrt

_LONGEST = 0.01


def auc(ones: Sequence[float], others: Sequence[float]) -> float:
    """Share of the pairs, one of each kind, of which the one took longer: 0.5 where times tell nothing."""
    ordered = sorted(others)
    twice = sum(bisect_left(ordered, time) + bisect_right(ordered, time) for time in ones)
    return twice / 2 / len(ones) / len(others)


def margin(ones: Sequence[float], others: Sequence[float]) -> float:
    """How far from 0.5 the share lies at most, 95 times of 100, where times tell nothing."""
    return 1.96 * sqrt((len(ones) + len(others) + 1) / 12 / len(ones) / len(others))


def seen(ones: Sequence[float], others: Sequence[float]) -> float:
    """Seconds of delay, planted in one kind alone, that stand out: by twice the margin. At most 10 ms."""
    at, noticed = auc(ones, others), 2 * margin(ones, others)
    least, most = 0.0, _LONGEST
    while most - least > 1e-6:
        middle = (least + most) / 2
        if auc([time + middle for time in ones], others) - at < noticed:
            least = middle
        else:
            most = middle
    return most
