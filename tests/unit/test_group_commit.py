"""Who shares a commit with whom, on a clock that the test moves."""

import asyncio
from collections.abc import Sequence

import pytest

from hub.service.group_commit import GroupCommit


async def _settled() -> None:
    """Returns when all that can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_after_a_commit_what_arrives_waits_in_proportion_and_shares_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        now = 0.0
        commits: list[list[int]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: now)

        async def commit(items: Sequence[int]) -> Sequence[int]:
            nonlocal now
            now += 0.001
            commits.append(list(items))
            return items

        group = GroupCommit(commit, batch=10, waiting=10, rest=3)
        assert await group.submit(1) == 1, "a lone one does not wait"
        waiting: list[asyncio.Task[int]] = []
        for number in (2, 3, 4):
            waiting.append(asyncio.create_task(group.submit(number)))
            await _settled()
        now = 0.003
        await _settled()
        assert commits == [[1]]
        now = 0.005
        assert await asyncio.gather(*waiting) == [2, 3, 4]
        assert commits == [[1], [2, 3, 4]]
        now = 0.04
        assert await group.submit(5) == 5, "nor does who comes after the rest"

    asyncio.run(run())
