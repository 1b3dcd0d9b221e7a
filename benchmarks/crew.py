"""Callers of a hub, in processes of their own: one process could not keep a hub busy."""

import asyncio
import multiprocessing
import random
import resource
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count, cycle, islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

import grpc
import uvloop

from demo.people import offenders
from nsor.federation.v1.federation_service_pb2 import (
    GetSnapshotRequest,
    GetSnapshotResponse,
    WatchChangesRequest,
    WatchChangesResponse,
)
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceStub
from nsor.registry.v1.registry_service_pb2 import (
    CreateOffenderRequest,
    CreateOffenderResponse,
    ImportOffendersRequest,
    ImportOffendersResponse,
)
from nsor.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from nsor_client import Client, Credentials
from nsor_client.mirror import KEY_BYTES, Mirror

R = TypeVar("R")

OWNER = "punjab-police"
NOBODY_ALIKE = {"NSOR_DUPLICATE_LIKENESS": "2"}
"""Setting of a hub: of so many generated people some are much alike by chance. They are compared all the same."""
PUBLIC = "sms-7000"
_CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Site:
    """Where a hub is, and the folder with the credentials of its nodes."""

    target: str
    nodes: Path

    def channel(self, node: str) -> grpc.aio.Channel:
        """A line of its own: lines of one process would otherwise share a socket, and so a worker of the hub."""
        credentials = Credentials.from_dir(self.nodes / node).channel_credentials()
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 16 << 20)]
        return grpc.aio.secure_channel(self.target, credentials, options)


@dataclass
class Traffic:
    """What a process wrote and what its watchers saw, by the machine's steady clock, in seconds.

    Attributes:
        acknowledged: when the write of a record was answered, by the record's name.
        seen: when each watcher had the event of a record.
    """

    acknowledged: dict[str, float] = field(default_factory=dict[str, float])
    seen: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])


class Crew:
    """Processes that do the same work at the same time. Use as a context manager."""

    def __init__(self, site: Site, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.size = size
        self._site = site
        self._pool = ProcessPoolExecutor(size, context, initializer=_join, initargs=(context.Barrier(size),))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def work(
        self, task: Callable[..., Coroutine[Any, Any, R]], *shares: tuple[Any, ...], target: str | None = None
    ) -> list[R]:
        """The results of a task of this module in each process, with a share of the arguments for each.

        Args:
            target: another server than the crew's own, which takes the same certificates.
        """
        assert len(shares) == self.size, "the processes wait for each other"
        site = replace(self._site, target=target) if target else self._site
        futures = [self._pool.submit(_run, task, site, *share) for share in shares]
        return [future.result() for future in futures]


def split(total: int, parts: int) -> list[int]:
    """A number in parts that differ by one at most."""
    return [total // parts + (part < total % parts) for part in range(parts)]


async def create(site: Site, first: int, callers: int, seconds: float) -> float:
    """Records written per second by concurrent callers, each on a line of its own."""
    requests = _creations(first)
    written = 0

    async def call(stub: Any) -> None:
        nonlocal written
        while time.monotonic() < end:
            await stub.CreateOffender(next(requests), timeout=_CALL_SECONDS)
            written += 1

    lines = await _lines(site, callers)
    await _together()
    began = time.monotonic()
    end = began + seconds
    await asyncio.gather(*(call(RegistryServiceStub(line)) for line in lines))
    elapsed = time.monotonic() - began
    await _close(lines)
    return written / elapsed


async def load(site: Site, first: int, count: int, streams: int) -> float:
    """Records imported per second over concurrent streams."""

    async def stream(line: grpc.aio.Channel, first: int, count: int) -> None:
        async def rows() -> AsyncIterator[ImportOffendersRequest]:
            for number, offender in enumerate(offenders(count, province="Punjab", seed=first, first=first), 1):
                yield ImportOffendersRequest(row=number, offender=offender, request_id=str(uuid4()))

        stub: Any = RegistryServiceStub(line)
        response: ImportOffendersResponse
        async for response in stub.ImportOffenders(rows()):
            assert not response.HasField("error"), response.error.message

    lines = await _lines(site, streams)
    await _together()
    began = time.monotonic()
    parts = split(count, streams)
    await asyncio.gather(*(stream(line, first + sum(parts[:i]), parts[i]) for i, line in enumerate(lines)))
    elapsed = time.monotonic() - began
    await _close(lines)
    return count / elapsed


async def catch_up(site: Site, watchers: int, changes: int) -> tuple[float, float]:
    """When watchers began to read the feed from its beginning, and when all had so many changes."""

    async def watch(line: grpc.aio.Channel) -> None:
        missing = changes
        response: WatchChangesResponse
        stub: Any = FederationServiceStub(line)
        async for response in stub.WatchChanges(WatchChangesRequest(after="0")):
            missing -= sum(len(event.changes) for event in response.events)
            if missing <= 0:
                return

    lines = await _lines(site, watchers, "nadra")
    await _together()
    began = time.monotonic()
    await asyncio.gather(*map(watch, lines))
    ended = time.monotonic()
    await _close(lines)
    return began, ended


async def live(
    site: Site, first: int, callers: int, writes: int, total: int, rate: float, watchers: int, after: str
) -> Traffic:
    """Writes records while watchers follow; ends when each watcher has seen them all.

    Args:
        after: revision at which the feed stands.
        writes: by this process.
        total: by all processes together.
        rate: writes of this process per second at most.
    """
    traffic = Traffic()
    requests = enumerate(islice(_creations(first), writes))

    async def write(stub: Any) -> None:
        for number, request in requests:
            await asyncio.sleep(began + number / rate - time.monotonic())
            response: CreateOffenderResponse = await stub.CreateOffender(request, timeout=_CALL_SECONDS)
            traffic.acknowledged[response.offender.name] = time.monotonic()

    async def watch(responses: Any) -> None:
        missing = total
        response: WatchChangesResponse
        async for response in responses:
            now = time.monotonic()
            names = [change.offender.name for event in response.events for change in event.changes]
            traffic.seen += [(name, now) for name in names]
            missing -= len(names)
            if missing <= 0:
                return

    lines = await _lines(site, callers)
    ears = await _lines(site, watchers, "nadra")
    streams = [aiter(FederationServiceStub(line).WatchChanges(WatchChangesRequest(after=after))) for line in ears]
    for stream in streams:
        await anext(stream)  # the first bookmark: from now on it follows
    await _together()
    began = time.monotonic()
    await asyncio.gather(*map(watch, streams), *(write(RegistryServiceStub(line)) for line in lines))
    await _close(lines + ears)
    return traffic


async def snapshot(site: Site) -> tuple[int, float, float]:
    """Reads a snapshot, keeping nothing: records, seconds, and this process's peak memory in MB."""
    [line] = await _lines(site, 1, "nadra")
    count = 0
    began = time.monotonic()
    stub: Any = FederationServiceStub(line)
    response: GetSnapshotResponse
    async for response in stub.GetSnapshot(GetSnapshotRequest()):
        count += len(response.offenders)
        if response.HasField("end"):
            assert count == response.end.offender_count
    elapsed = time.monotonic() - began
    await _close([line])
    return count, elapsed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def build_mirror(site: Site, file: Path) -> tuple[int, float, float]:
    """Builds a mirror: records and notices, seconds, and this process's peak memory in MB."""
    credentials = Credentials.from_dir(site.nodes / "nadra")
    began = time.monotonic()
    with Client(site.target, credentials) as client, Mirror(file, bytes(KEY_BYTES)) as mirror:
        count = sum(step.changes for step in mirror.build(client))
    elapsed = time.monotonic() - began
    return count, elapsed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass
class Calls:
    """What a process's calls took.

    Attributes:
        latencies: of each call, in seconds; at a steady rate from the moment when it was due.
    """

    elapsed: float = 0.0
    latencies: list[float] = field(default_factory=list[float])


async def check(
    site: Site, method: str, requests: Sequence[bytes], in_flight: int, seconds: float, rate: float | None
) -> Calls:
    """Calls a unary method, with requests in turn.

    Args:
        in_flight: calls at once; spread over four lines.
        rate: calls a second at most; None for as many as there is an answer to.
    """
    lines = await _lines(site, 4)
    methods: Iterator[Any] = cycle([line.unary_unary(method) for line in lines])

    async def call(request: bytes) -> None:
        await next(methods)(request, timeout=_CALL_SECONDS)

    calls = await _call_all(call, requests, in_flight, seconds, rate)
    await _close(lines)
    return calls


async def compare(
    site: Site, method: str, kinds: Sequence[Sequence[bytes]], in_flight: int, seconds: float
) -> list[list[float]]:
    """Seconds that each call of a unary method took, by kind; kinds and requests are drawn by lot, by a public node."""
    lines = await _lines(site, 4, PUBLIC)
    took: list[list[float]] = [[] for _ in kinds]

    async def caller(line: Any) -> None:
        call = line.unary_unary(method)
        while time.monotonic() < end:
            kind = random.randrange(len(kinds))
            request = random.choice(kinds[kind])
            began = time.perf_counter()
            await call(request, timeout=_CALL_SECONDS)
            took[kind].append(time.perf_counter() - began)

    await _together()
    end = time.monotonic() + seconds
    await asyncio.gather(*(caller(line) for line in islice(cycle(lines), in_flight)))
    await _close(lines)
    return took


async def check_http(site: Site, paths: Sequence[bytes], in_flight: int, seconds: float) -> Calls:
    """The same by HTTP/1.1 over TLS, each caller on a line of its own; nothing but the length of an answer is read."""
    folder = site.nodes / OWNER
    tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    tls.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
    host, port = site.target.split(":")
    lines = [await asyncio.open_connection(host, int(port), ssl=tls) for _ in range(in_flight)]
    idle = deque(lines)

    async def call(path: bytes) -> None:
        line = idle.pop()
        reader, writer = line
        writer.write(b"GET /check/" + path + b" HTTP/1.1\r\nHost: hub\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        idle.append(line)

    calls = await _call_all(call, paths, in_flight, seconds, None)
    for _, writer in lines:
        writer.close()
    return calls


async def exchange(site: Site, method: str, requests: Sequence[bytes], window: int, seconds: float) -> Calls:
    """Sends the requests in turn on one stream of a method that gives a response to each.

    Args:
        window: requests at most that wait for their responses.
    """
    calls = Calls()
    slots = asyncio.Semaphore(window)
    [line] = await _lines(site, 1)

    async def sent() -> AsyncIterator[bytes]:
        for request in cycle(requests):
            await slots.acquire()
            if time.monotonic() > began + seconds:
                return
            yield request

    await _together()
    began = time.monotonic()
    stub: Any = line
    async for _ in stub.stream_stream(method)(sent()):
        calls.latencies.append(time.monotonic() - began)
        slots.release()
    calls.elapsed = time.monotonic() - began
    await _close([line])
    return calls


async def call_each(site: Site, method: str, requests: Sequence[bytes]) -> None:
    """Calls a unary method with each request once."""
    [line] = await _lines(site, 1)
    stub: Any = line
    call = stub.unary_unary(method)
    for first in range(0, len(requests), 64):
        await asyncio.gather(*(call(request) for request in requests[first : first + 64]))
    await _close([line])


async def _call_all(
    call: Callable[[bytes], Awaitable[None]],
    requests: Sequence[bytes],
    in_flight: int,
    seconds: float,
    rate: float | None,
) -> Calls:
    calls = Calls()
    numbers = count()

    async def caller() -> None:
        for number in numbers:
            due = began + number / rate if rate else time.monotonic()
            if due >= began + seconds:
                return
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            await call(requests[number % len(requests)])
            calls.latencies.append(time.monotonic() - due)

    await _together()
    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    calls.elapsed = time.monotonic() - began
    return calls


def _creations(first: int) -> Iterator[CreateOffenderRequest]:
    for offender in offenders(10**6, province="Punjab", seed=first, first=first):
        yield CreateOffenderRequest(offender=offender, request_id=str(uuid4()))


async def _lines(site: Site, count: int, node: str = OWNER) -> list[grpc.aio.Channel]:
    lines = [site.channel(node) for _ in range(count)]
    await asyncio.gather(*(line.channel_ready() for line in lines))
    return lines


async def _close(lines: list[grpc.aio.Channel]) -> None:
    await asyncio.gather(*(line.close() for line in lines))


_barrier: Barrier


def _join(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


async def _together() -> None:
    """Returns when every process of the crew is here."""
    await asyncio.to_thread(_barrier.wait, _CALL_SECONDS)


def _run(task: Callable[..., Coroutine[Any, Any, R]], *arguments: Any) -> R:
    return uvloop.run(task(*arguments))
