"""The streams of the SDK: import, watch and snapshot, in the async and the sync client."""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.federation.v1.federation_service_pb2 import (
    AcknowledgeChangesResponse,
    GetFederationStatusResponse,
    GetSnapshotResponse,
    WatchChangesResponse,
)
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest, ImportOffendersResponse, RowError
from nsor_client import (
    AsyncClient,
    FailedPrecondition,
    InternalError,
    LineState,
    NsorError,
    PermissionDenied,
    Unavailable,
)
from nsor_client.following import FIRST_WAIT, LONGEST_ASKED_WAIT, LONGEST_WAIT, Backoff
from tests.support.sdk_hub import (
    CertificateAuthority,
    ScriptedHub,
    closed,
    gathered,
    refuse,
    serving,
    settled,
    snapshot_of,
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
    with pytest.raises(Unavailable, match="before everything had its result"):
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


class Script:
    """A feed of five responses, "1" to "5"; each stream goes on after its `after` and ends as the script says.

    Args:
        endings: for each stream, how many responses it sends, and how it ends: a status to refuse with, or None for
            a stream that the hub ends well. After the last one a stream gives all and is then refused for good.
    """

    def __init__(self, *endings: tuple[int, grpc.StatusCode | None]) -> None:
        self._endings = list(endings)
        self.remaining: list[float | None] = []

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        self.remaining.append(context.time_remaining())
        count, code = self._endings.pop(0) if self._endings else (5, grpc.StatusCode.FAILED_PRECONDITION)
        first = int(request.after or 0) + 1
        for number in range(first, min(first + count, 6)):
            yield WatchChangesResponse(revision=str(number))
        if code is not None:
            refuse(context, code, "why", "ERROR_REASON_REVISION_EPOCH_CHANGED" if not self._endings else "")


async def until_it_fails(iterator: Any, kind: type[NsorError]) -> tuple[list[Any], NsorError]:
    """What an iterator gives, and the error with which it ends."""
    given: list[Any] = []
    while True:
        try:
            given.append(await step(iterator))
        except kind as error:
            return given, error


async def followed(client: Any, states: list[LineState] | None = None, after: str = "0") -> list[str]:
    """The revisions that a watch gives until the register has a new epoch."""
    responses = client.watch_changes(after, on_state=None if states is None else states.append)
    given, caught = await until_it_fails(responses, FailedPrecondition)
    assert caught.reason == ErrorReason.ERROR_REASON_REVISION_EPOCH_CHANGED
    return [response.revision for response in given]


async def test_a_watch_gives_what_the_hub_sends_and_has_no_deadline(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["WatchChanges"] = script = Script()
    assert await followed(sdk_client, after="3") == ["4", "5"]
    assert script.remaining[0] is None or script.remaining[0] > 1e9  # seconds; gRPC may say "for ever" as a number


@pytest.mark.parametrize(
    "code",
    [
        None,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ],
)
async def test_a_watch_goes_on_where_it_was_cut(
    sdk_client: Any, sdk_hub: ScriptedHub, code: grpc.StatusCode | None
) -> None:
    sdk_hub.on["WatchChanges"] = Script((2, code), (0, code), (1, code))
    states: list[LineState] = []
    assert await followed(sdk_client, states) == ["1", "2", "3", "4", "5"]
    assert [request.after for request in sdk_hub.requests["WatchChanges"]] == ["0", "2", "2", "3"]
    assert [state.connected for state in states] == [True, False, False, True, False, True]
    waits = [state for state in states if not state.connected]
    assert all(state.error and state.error.code is (code or grpc.StatusCode.UNAVAILABLE) for state in waits)
    assert all(0 < state.wait <= LONGEST_WAIT for state in waits)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REVISION"),
        (grpc.StatusCode.FAILED_PRECONDITION, "REVISION_EPOCH_CHANGED"),
        (grpc.StatusCode.OUT_OF_RANGE, "REVISION_COMPACTED"),
        (grpc.StatusCode.PERMISSION_DENIED, "NODE_NOT_ACTIVE"),
        (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_EXPIRED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    ],
)
async def test_a_watch_gives_up_where_no_later_try_can_succeed(
    sdk_client: Any, sdk_hub: ScriptedHub, code: grpc.StatusCode, reason: str
) -> None:
    def changes(_: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        yield WatchChangesResponse(revision="8")
        refuse(context, code, "why", f"ERROR_REASON_{reason}")

    sdk_hub.on["WatchChanges"] = changes
    responses = sdk_client.watch_changes("7")
    await step(responses)
    with pytest.raises(NsorError) as caught:
        await step(responses)
    assert caught.value.reason == ErrorReason.Value(f"ERROR_REASON_{reason}")
    assert len(sdk_hub.requests["WatchChanges"]) == 1


async def test_a_watch_begins_when_the_hub_does(sdk_ca: CertificateAuthority) -> None:
    with serving(sdk_ca) as first:
        port = int(first.target.rpartition(":")[2])
    with ExitStack() as stack:

        def start(state: LineState) -> None:
            if not state.connected and not hubs:
                hubs.append(stack.enter_context(serving(sdk_ca, port=port)))
                hubs[0].on["WatchChanges"] = Script()

        hubs: list[ScriptedHub] = []
        async with AsyncClient(first.target, sdk_ca.credentials()) as client:
            responses = client.watch_changes("0", on_state=start)
            assert (await anext(responses)).revision == "1"
            await responses.aclose()


async def test_closing_the_client_ends_the_wait_of_a_watch(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    def refused(_: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        refuse(context, grpc.StatusCode.UNAVAILABLE, "why", "ERROR_REASON_HUB_UNAVAILABLE", retry_after=1000)

    def close(state: LineState) -> None:
        assert state.wait == LONGEST_ASKED_WAIT
        if isinstance(sdk_client, AsyncClient):
            closing.append(asyncio.ensure_future(sdk_client.close()))
        else:
            sdk_client.close()

    closing: list[asyncio.Future[None]] = []
    sdk_hub.on["WatchChanges"] = refused
    with pytest.raises(Unavailable):
        await step(sdk_client.watch_changes(on_state=close))


def test_waits_grow_to_a_limit_and_begin_again() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.next(None) for _ in range(50)]
    for number, wait in enumerate(waits):
        limit = min(FIRST_WAIT * 2**number, LONGEST_WAIT)
        assert limit / 2 <= wait <= limit
    assert len(set(waits)) == 50
    backoff.reset()
    assert backoff.next(None) <= FIRST_WAIT
    assert backoff.next(20) == 20
    assert backoff.next(1e9) == LONGEST_ASKED_WAIT


async def test_a_whole_snapshot_is_read_to_its_end(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    for count in (0, 3):
        sdk_hub.on["GetSnapshot"] = lambda _, __, count=count: iter(snapshot_of(count))
        assert await gathered(sdk_client.get_snapshot()) == snapshot_of(count)


@pytest.mark.parametrize("missing", [0, 1])
async def test_a_snapshot_that_lacks_a_part_never_shows_an_end(
    sdk_client: Any, sdk_hub: ScriptedHub, missing: int
) -> None:
    parts = snapshot_of(3)
    del parts[missing]
    assert await refused_snapshot(sdk_client, sdk_hub, parts) is InternalError


async def test_a_snapshot_that_was_cut_is_refused(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    for parts in (snapshot_of(3)[:-1], []):
        assert await refused_snapshot(sdk_client, sdk_hub, parts) is Unavailable


async def test_a_snapshot_that_does_not_match_itself_is_refused(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    changed, swapped, of_two, longer = (snapshot_of(3) for _ in range(4))
    changed[1].offenders[0].etag = "other"
    swapped[0], swapped[1] = swapped[1], swapped[0]
    of_two[1].revision = "e.8"
    for parts in (changed, swapped, of_two):
        assert await refused_snapshot(sdk_client, sdk_hub, parts) is InternalError
    sdk_hub.on["GetSnapshot"] = lambda _, __: iter([*longer, longer[0]])
    with pytest.raises(InternalError):
        await gathered(sdk_client.get_snapshot())


async def refused_snapshot(client: Any, hub: ScriptedHub, parts: list[GetSnapshotResponse]) -> type[NsorError]:
    """The kind of error with which a snapshot ends; its end must not have been given."""
    hub.on["GetSnapshot"] = lambda _, __: iter(parts)
    given, error = await until_it_fails(client.get_snapshot(), NsorError)
    assert not any(response.HasField("end") for response in given)
    return type(error)


async def test_an_acknowledgement_and_the_status_are_calls_like_others(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("AcknowledgeChanges", AcknowledgeChangesResponse())
    sdk_hub.answer("GetFederationStatus", status := GetFederationStatusResponse(revision="e.7"))
    await settled(sdk_client.acknowledge_changes("e.6"))
    assert sdk_hub.requests["AcknowledgeChanges"][0].revision == "e.6"
    assert await settled(sdk_client.get_federation_status()) == status


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
