"""The streams of the SDK: import and watch, in the async and the sync client."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.federation.v1.federation_service_pb2 import WatchChangesResponse
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest, ImportOffendersResponse, RowError
from nsor_client import AsyncClient, FailedPrecondition, PermissionDenied, Unavailable
from tests.support.sdk_hub import (
    CertificateAuthority,
    ScriptedHub,
    closed,
    gathered,
    refuse,
    settled,
    step,
)

pytest_plugins = ["tests.support.sdk_fixtures"]


def rows(count: int) -> Iterator[ImportOffendersRequest]:
    return (ImportOffendersRequest(row=n, request_id=str(n)) for n in range(1, count + 1))


def write(request: ImportOffendersRequest) -> ImportOffendersResponse:
    return ImportOffendersResponse(row=request.row, offender=f"offenders/{request.row}")


def write_all(requests: Iterator[ImportOffendersRequest], _: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
    return map(write, requests)


def hold_open(context: grpc.ServicerContext) -> threading.Event:
    """Set when the call has ended for the hub."""
    ended = threading.Event()
    assert context.add_callback(ended.set)
    return ended


async def test_an_import_gives_a_result_for_each_row_in_order(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    def answer(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        for request in requests:
            error = RowError(reason=ErrorReason.ERROR_REASON_INVALID_FIELD)
            yield (ImportOffendersResponse(row=request.row, error=error) if request.row == 2 else write(request))

    sdk_hub.on["ImportOffenders"] = answer
    results = await gathered(sdk_client.import_offenders(rows(1000), window=7))
    assert [result.row for result in results] == list(range(1, 1001))
    assert [result.row for result in results if result.HasField("error")] == [2]


async def test_an_import_of_nothing_gives_nothing(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["ImportOffenders"] = write_all
    assert await gathered(sdk_client.import_offenders([])) == []


async def test_no_more_rows_are_taken_than_the_window_allows(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    window, taken, received = 5, 0, 0
    ahead: list[int] = []

    def source() -> Iterator[ImportOffendersRequest]:
        nonlocal taken
        for row in rows(200):
            taken += 1
            ahead.append(taken - received)
            yield row

    def in_windows(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        for first in requests:  # answers nothing before a whole window has come
            for request in [first, *(next(requests) for _ in range(window - 1))]:
                yield write(request)

    sdk_hub.on["ImportOffenders"] = in_windows
    results = sdk_client.import_offenders(source(), window=window)
    for _ in range(200):
        await step(results)
        received += 1
    await closed(results)
    assert max(ahead) <= window + 2  # one more is read and waits; one result is on its way to this test


async def test_a_source_that_fails_fails_the_import_after_the_rows_before(
    sdk_client: Any, sdk_hub: ScriptedHub
) -> None:
    class SourceError(Exception):
        pass

    def source() -> Iterator[ImportOffendersRequest]:
        yield from rows(3)
        raise SourceError

    sdk_hub.on["ImportOffenders"] = write_all
    results = sdk_client.import_offenders(source())
    for row in (1, 2, 3):
        assert (await step(results)).row == row
    with pytest.raises(SourceError):
        await step(results)


async def test_an_import_that_is_cut_ends_with_a_typed_error_and_leaves_nothing_behind(
    sdk_client: Any, sdk_hub: ScriptedHub
) -> None:
    fourth = threading.Event()

    def source() -> Iterator[ImportOffendersRequest]:
        for row in rows(1000):
            if row.row == 4:
                fourth.set()
            yield row

    def cut(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        for _ in range(3):
            next(requests)
        assert fourth.wait(10)  # the fourth row is read, and waits for a slot in the window
        refuse(context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE")

    sdk_hub.on["ImportOffenders"] = cut
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    with pytest.raises(Unavailable) as caught:
        await gathered(sdk_client.import_offenders(source(), window=3))
    assert caught.value.reason == ErrorReason.ERROR_REASON_HUB_UNAVAILABLE
    if left := asyncio.all_tasks() - tasks:
        _, pending = await asyncio.wait(left, timeout=10)
        assert not pending
    for thread in set(threading.enumerate()) - threads:
        if "ThreadPoolExecutor" not in thread.name:  # those are the hub's
            thread.join(10)
            assert not thread.is_alive()


async def test_a_refusal_while_rows_are_being_sent_keeps_its_reason(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["ImportOffenders"] = lambda _, context: refuse(
        context, grpc.StatusCode.PERMISSION_DENIED, "why", "ERROR_REASON_ROLE_NOT_ALLOWED"
    )
    for _ in range(50):  # the hub's status and a write of ours cross in most of the tries, not in each
        with pytest.raises(PermissionDenied) as caught:
            await gathered(sdk_client.import_offenders(rows(1000)))
        assert caught.value.reason == ErrorReason.ERROR_REASON_ROLE_NOT_ALLOWED


@pytest.mark.parametrize("answered", [2, 3])
async def test_an_import_that_ends_early_does_not_look_complete(
    sdk_client: Any, sdk_hub: ScriptedHub, answered: int
) -> None:
    def early(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        taken = [next(requests) for _ in range(3)]
        return map(write, taken[:answered])

    sdk_hub.on["ImportOffenders"] = early
    with pytest.raises(Unavailable, match="before every row had its result"):
        await gathered(sdk_client.import_offenders(rows(100), window=3))


async def test_closing_an_import_cancels_it(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    ended: list[threading.Event] = []

    def endless(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        ended.append(hold_open(context))
        yield write(next(requests))
        ended[0].wait(30)

    sdk_hub.on["ImportOffenders"] = endless
    results = sdk_client.import_offenders(rows(10))
    await step(results)
    await closed(results)
    assert ended[0].wait(10)


async def test_a_watch_gives_what_the_hub_sends_and_has_no_deadline(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    remaining: list[float | None] = []

    def changes(request: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        remaining.append(context.time_remaining())
        yield WatchChangesResponse(revision="8")
        yield WatchChangesResponse(revision="9")

    sdk_hub.on["WatchChanges"] = changes
    responses = await gathered(sdk_client.watch_changes("7"))
    assert [response.revision for response in responses] == ["8", "9"]
    assert sdk_hub.requests["WatchChanges"][0].after == "7"
    assert remaining[0] is None or remaining[0] > 1e9  # seconds; gRPC may say "for ever" as a number


async def test_a_watch_that_the_hub_ends_ends_with_a_typed_error(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    def changes(_: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        yield WatchChangesResponse(revision="8")
        refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "why", "ERROR_REASON_REVISION_EPOCH_CHANGED")

    sdk_hub.on["WatchChanges"] = changes
    responses = sdk_client.watch_changes("7")
    await step(responses)
    with pytest.raises(FailedPrecondition) as caught:
        await step(responses)
    assert caught.value.reason == ErrorReason.ERROR_REASON_REVISION_EPOCH_CHANGED


@pytest.fixture
def endless_watch(sdk_hub: ScriptedHub) -> list[threading.Event]:
    """The hub sends one response and then nothing; gives the event of the stream's end."""
    ended: list[threading.Event] = []

    def changes(_: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        ended.append(hold_open(context))
        yield WatchChangesResponse(revision="8")
        ended[0].wait(30)

    sdk_hub.on["WatchChanges"] = changes
    return ended


async def test_closing_a_watch_cancels_it(sdk_client: Any, endless_watch: list[threading.Event]) -> None:
    responses = sdk_client.watch_changes()
    await step(responses)
    await closed(responses)
    assert endless_watch[0].wait(10)


async def test_closing_the_client_ends_a_watch(sdk_client: Any, endless_watch: list[threading.Event]) -> None:
    responses = sdk_client.watch_changes()
    await step(responses)
    await settled(sdk_client.close())
    assert endless_watch[0].wait(10)


async def test_cancelling_the_task_that_reads_a_watch_cancels_it(
    sdk_hub: ScriptedHub, sdk_ca: CertificateAuthority, endless_watch: list[threading.Event]
) -> None:
    async with AsyncClient(sdk_hub.target, sdk_ca.credentials()) as client:
        responses = client.watch_changes()
        await anext(responses)
        reading = asyncio.ensure_future(anext(responses))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await asyncio.to_thread(endless_watch[0].wait, 10)
        with pytest.raises(StopAsyncIteration):
            await anext(responses)
