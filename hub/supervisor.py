"""Several worker processes on one port, kept alive."""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Event
from types import FrameType

from hub.config import HubSettings

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_STOP_SECONDS = 10
_BACKOFF_SECONDS = (0.5, 1, 2, 5, 10, 30)
_STEADY_SECONDS = 60


@dataclass(slots=True)
class _Slot:
    """A place for a worker: which process fills it, and when it may be filled again."""

    process: ForkServerProcess | None = None
    ready: Event | None = None
    started_at: float = 0
    failures: int = 0
    not_before: float = 0


@dataclass(slots=True)
class Supervisor:
    """Runs the hub until SIGTERM or SIGINT.

    Attributes:
        on_ready: is called once with HOST:PORT and that for enrolment, which may be empty, when every worker serves.
        on_tick: is called several times a second, to look after what else must stay alive.
    """

    settings: HubSettings
    on_ready: Callable[[str, str], None] = lambda target, enrol_target: None
    on_tick: Callable[[], None] = lambda: None
    _context: ForkServerContext = field(default_factory=lambda: _fork_server())
    _stopping: bool = False

    def run(self) -> None:
        """Starts the workers and starts again those that end, less often the more often they do.

        Raises:
            OSError: the address is not to be had.
            SystemExit: EX_CONFIG (78): a worker cannot run with these settings.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        with _reserved(self.settings.listen) as address, _reserved(self.settings.enrol_listen) as enrol_address:
            slots = [_Slot() for _ in range(self.settings.workers)]
            try:
                self._keep_alive(slots, address, enrol_address)
            finally:
                _end([slot.process for slot in slots if slot.process])

    def _keep_alive(self, slots: list[_Slot], *addresses: str) -> None:
        announced = False
        while not self._stopping:
            for slot in slots:
                self._fill(slot, *addresses)
            if not announced and all(slot.ready and slot.ready.is_set() for slot in slots):
                announced = True
                self.on_ready(*addresses)
            self.on_tick()
            sentinels = [slot.process.sentinel for slot in slots if slot.process]
            multiprocessing.connection.wait(sentinels, _POLL_SECONDS)

    def _fill(self, slot: _Slot, *addresses: str) -> None:
        now = time.monotonic()
        if slot.process and not slot.process.is_alive():
            steady = now - slot.started_at > _STEADY_SECONDS
            slot.failures = 0 if steady else min(slot.failures + 1, len(_BACKOFF_SECONDS) - 1)
            slot.not_before = now + _BACKOFF_SECONDS[slot.failures]
            log.error("worker %s ended with %s", slot.process.pid, slot.process.exitcode)
            if slot.process.exitcode == os.EX_CONFIG:  # another would end so, too
                raise SystemExit(os.EX_CONFIG)
            slot.process = None
        if slot.process is None and now >= slot.not_before and not self._stopping:
            slot.ready = self._context.Event()
            slot.process = self._context.Process(
                target=_work, args=(self.settings, *addresses, slot.ready.set), name="nsor-hub-worker"
            )
            slot.process.start()
            slot.started_at = now

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


@contextmanager
def _reserved(listen: str) -> Generator[str]:
    """Holds a port for the workers, which share it by SO_REUSEPORT; 0 becomes the port that was free.

    Holds nothing, and gives an empty address, for an empty one.
    """
    if not listen:
        yield ""
        return
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    if address[1]:
        # A port shared by SO_REUSEPORT could be another hub's: half of the callers would get the wrong register.
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    with socket.socket(family, kind, protocol) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
        yield f"{host}:{holder.getsockname()[1]}"


def _end(processes: list[ForkServerProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
        if process.is_alive():
            log.error("worker %s did not end in time and is killed", process.pid)
            process.kill()
            process.join()


def _work(settings: HubSettings, address: str, enrol_address: str, on_ready: Callable[[], None]) -> None:
    """The worker's process; the fork server has imported it, and nobody else need."""
    from hub.bootstrap import run_worker

    run_worker(settings, address, enrol_address, on_ready)


def _fork_server() -> ForkServerContext:
    """Workers are forked from a process that only has the hub imported: no thread runs in it, no channel is open."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hub.bootstrap"])
    return context
