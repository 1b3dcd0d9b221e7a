"""The SDK follows the feed of a real hub over its restarts."""

import asyncio
from contextlib import aclosing

import pytest

from nsor_client import AsyncClient, LineState
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender


async def enter(police: AsyncClient) -> str:
    """Name of a record that was just entered."""
    return (await police.create_offender(fresh_offender())).offender.name


@pytest.mark.slow
@pytest.mark.timeout(300)  # it starts a hub twice
async def test_a_watch_goes_on_over_a_restart_of_the_hub(folder_hub: RunningHub) -> None:
    hub, states, told = folder_hub, list[LineState](), list[str]()
    async with hub.async_client("punjab-police") as punjab, hub.async_client("sindh-police") as sindh:
        written = [await enter(punjab) for _ in range(3)]
        async with aclosing(sindh.watch_changes("0", on_state=states.append)) as responses:
            for restarts in range(2):
                if restarts:
                    await asyncio.to_thread(hub.stop)
                    await asyncio.to_thread(hub.start)
                    async with hub.async_client("punjab-police") as new_line:
                        written += [await enter(new_line) for _ in range(3)]
                while len(told) < len(written):
                    response = await anext(responses)
                    told += [change.offender.name for event in response.events for change in event.changes]
                assert told == written
    assert states[0].connected
    assert any(not state.connected for state in states)


async def test_a_snapshot_an_acknowledgement_and_the_status(hub: RunningHub) -> None:
    async with hub.async_client("punjab-police") as punjab, hub.async_client("nadra") as nadra:
        written = await punjab.create_offender(fresh_offender())
        parts = [part async for part in nadra.get_snapshot(at_least_revision=written.revision)]
        assert written.offender.name in [offender.name for part in parts for offender in part.offenders]
        await nadra.acknowledge_changes(parts[-1].revision)
        status = await nadra.get_federation_status()
        [mine] = [node for node in status.nodes if node.node == "nodes/nadra"]
        assert mine.revision == parts[-1].revision
