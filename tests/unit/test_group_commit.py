"""Who shares a commit with whom."""

import asyncio
from collections.abc import Sequence

from hub.service.group_commit import GroupCommit


def test_what_arrives_while_a_commit_is_under_way_shares_the_next() -> None:
    async def run() -> None:
        commits: list[list[int]] = []
        done = asyncio.Event()

        async def commit(items: Sequence[int]) -> Sequence[int]:
            commits.append(list(items))
            await done.wait()
            return [10 * item for item in items]

        group = GroupCommit(commit, batch=2, waiting=10)
        tasks: list[asyncio.Task[int]] = []
        for number in range(1, 5):
            tasks.append(asyncio.create_task(group.submit(number)))
            await asyncio.sleep(0.01)
        assert commits == [[1]], "a lone one does not wait"
        done.set()
        assert await asyncio.gather(*tasks) == [10, 20, 30, 40]
        assert commits == [[1], [2, 3], [4]]

    asyncio.run(run())


def test_what_comes_at_one_moment_shares_a_commit() -> None:
    async def run() -> None:
        commits: list[list[int]] = []

        async def commit(items: Sequence[int]) -> Sequence[int]:
            commits.append(list(items))
            return items

        group = GroupCommit(commit, batch=10, waiting=10)
        assert await asyncio.gather(*map(group.submit, range(3))) == [0, 1, 2]
        assert commits == [[0, 1, 2]]

    asyncio.run(run())
