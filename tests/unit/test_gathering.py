"""A histogram that is told of values together."""

import asyncio
from typing import Any

import pytest
from opentelemetry.context import attach, get_value, set_value

from hub.transport import gathering
from hub.transport.gathering import GatheringHistogram


class Told:
    """Stands for a meter's histogram: what it was told, and within which context."""

    def __init__(self) -> None:
        self.values: list[tuple[float, str]] = []
        self.two = asyncio.Event()

    def record(self, value: float, attributes: Any, context: Any) -> None:
        self.values.append((value, str(get_value("call", context))))
        if len(self.values) == 2:
            self.two.set()


def test_values_are_told_together_each_with_its_own_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_GATHERING_SECONDS", 0.01)

    async def run() -> None:
        told: Any = Told()
        histogram = GatheringHistogram(told)
        for number in (1, 2):
            attach(set_value("call", f"call {number}"))
            histogram.record(number, {})
        assert told.values == []
        await told.two.wait()
        assert told.values == [(1, "call 1"), (2, "call 2")]

    asyncio.run(run())


def test_no_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_MOST", 3)

    async def run() -> None:
        told: Any = Told()
        histogram = GatheringHistogram(told)
        for number in range(4):
            histogram.record(number, {})
        assert [value for value, _ in told.values] == [0, 1, 2]

    asyncio.run(run())
