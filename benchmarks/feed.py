"""The feed and the writes that fill it.

    python -m benchmarks.feed [--quick]

Writes are given as a ratio to pgbench doing the same inserts on the same server, in turns within one run, since
machines are noisy. All clients share the machine with the hub.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from benchmarks import crew
from benchmarks.ceiling import Ceiling
from benchmarks.crew import NOBODY_ALIKE, Crew, Site, Traffic, split
from benchmarks.population import populate
from hub.domain.revision import Revision
from tests.support.fragile_hub import workers_of
from tests.support.hub import RunningHub

_CALLERS = 32
_WATCHERS = (1, 8, 100)
_LAG_WATCHERS = 8
_LAG_RATE = 200.0
_PROCESSES = 2


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: turns of the hub and pgbench.
        seconds: of each.
        imported: records written by ImportOffenders in each round.
        deliveries: events times watchers, about, for each figure of live events.
        history: the same from the beginning of the feed, where opening the streams must not count.
        lag_seconds: of writing at a steady rate.
        records: in the snapshot and the mirror.
    """

    rounds: int
    seconds: int
    imported: int
    deliveries: int
    history: int
    lag_seconds: int
    records: int


FULL = Size(
    rounds=3, seconds=10, imported=10_000, deliveries=100_000, history=1_000_000, lag_seconds=30, records=1_000_000
)
QUICK = Size(rounds=2, seconds=3, imported=3_000, deliveries=10_000, history=60_000, lag_seconds=5, records=10_000)
TINY = Size(rounds=1, seconds=3, imported=200, deliveries=200, history=200, lag_seconds=1, records=500)


class Measurement:
    """A run against one hub; `figures` fills up."""

    def __init__(self, hub: RunningHub, team: Crew, size: Size) -> None:
        self._hub = hub
        self._team = team
        self._size = size
        self._next = size.records  # those before are entered by `snapshot`
        self.figures: dict[str, float | str] = {}

    def writes(self, folder: Path) -> None:
        """Durable writes, in turns with pgbench."""
        self._create(1)  # lines, caches and the first record
        ceiling = Ceiling(self._hub.dsn, folder)
        creates: list[float] = []
        imports: list[float] = []
        peers: list[float] = []
        costs: list[float] = []
        for _ in range(self._size.rounds):
            cpu = self._worker_cpu()
            creates.append(self._create(self._size.seconds))
            costs.append((self._worker_cpu() - cpu) / (creates[-1] * self._size.seconds))
            peers.append(ceiling.rate(_CALLERS, self._size.seconds))
            imports.append(self._import(self._size.imported))
        ratios = [create / peer for create, peer in zip(creates, peers, strict=True)]
        self._note("writes_per_s", median(creates))
        self._note("worker_cpu_us_per_write", 1e6 * median(costs))
        self._note("import_records_per_s", median(imports))
        self._note("pgbench_per_s", median(peers))
        self._note("writes_over_pgbench", median(ratios))
        self._note("imports_over_pgbench", median(imports) / median(peers))

    def events(self, watchers: int) -> None:
        """Events delivered per second, to all watchers together: from the beginning of the feed, and as they happen.

        Writes that share a transaction share an event; each counts.
        """
        self._head()
        [(written,)] = self._hub.sql("SELECT sum(jsonb_array_length(changes))::integer FROM feed_event")
        events = min(written, -(-self._size.history // watchers))
        shares = [(share, events) for share in split(watchers, _PROCESSES)]
        times = self._team.work(crew.catch_up, *shares)
        elapsed = max(ended for _, ended in times) - min(began for began, _ in times)
        self._note(f"events_per_s_{watchers}", watchers * events / elapsed)

        writes = max(100, min(self._size.deliveries // watchers, int(self.writes_per_s * self._size.seconds)))
        traffic = self._live(writes, float("inf"), watchers)
        elapsed = max(at for _, at in traffic.seen) - min(traffic.acknowledged.values())
        self._note(f"live_events_per_s_{watchers}", len(traffic.seen) / elapsed)

    def lag(self) -> None:
        """From the answer to a write until a watcher has its event."""
        # Where the machine cannot do half as much again, it would be the length of a queue that is measured.
        rate = min(_LAG_RATE, self.writes_per_s / 1.5)
        traffic = self._live(int(rate * self._size.lag_seconds), rate, _LAG_WATCHERS)
        lags = [1000 * (at - traffic.acknowledged[name]) for name, at in traffic.seen]
        percentiles = quantiles(lags, n=100)
        times = traffic.acknowledged.values()
        self._note("lag_p50_ms", percentiles[49])
        self._note("lag_p99_ms", percentiles[98])
        self._note("lag_at_writes_per_s", len(times) / (max(times) - min(times)))

    def snapshot(self) -> None:
        """A snapshot of so many records and those written before, and what it costs in memory."""
        populate(self._hub.dsn, (self._hub.folder / "keyring.json").read_text(), self._size.records)
        self._hub.stop()
        self._hub.start()
        with _peak_memory(self._hub.pid) as peaks, Crew(_site(self._hub), 1) as one:
            [(count, elapsed, client_peak)] = one.work(crew.snapshot, ())
        self._note("snapshot_records", count)
        self._note("snapshot_s", elapsed)
        self._note("snapshot_records_per_s", count / elapsed)
        self._note("snapshot_worker_growth_mb", max(peak - before for before, peak in peaks))
        self._note("worker_memory_mb", max(before for before, _ in peaks))
        self._note("snapshot_client_peak_mb", client_peak)

    def mirror(self, folder: Path) -> None:
        """A node's mirror, built of the same records: the snapshot, and sealing and storing it, which run in turns."""
        file = folder / "mirror.db"
        with Crew(_site(self._hub), 1) as one:
            [(count, elapsed, peak)] = one.work(crew.build_mirror, (file,))
        self._note("mirror_build_records", count)
        self._note("mirror_build_s", elapsed)
        self._note("mirror_build_records_per_s", count / elapsed)
        self._note("mirror_client_peak_mb", peak)
        self._note("mirror_file_mb", file.stat().st_size / 2**20)

    @property
    def writes_per_s(self) -> float:
        """As measured by `writes`."""
        return float(self.figures["writes_per_s"])

    def _create(self, seconds: float) -> float:
        shares = [(self._numbers(10**6), callers, seconds) for callers in split(_CALLERS, _PROCESSES)]
        return sum(self._team.work(crew.create, *shares))

    def _import(self, count: int) -> float:
        parts = split(count, _PROCESSES)
        return sum(self._team.work(crew.load, *((self._numbers(part), part, 4) for part in parts)))

    def _live(self, writes: int, rate: float, watchers: int) -> Traffic:
        after = self._head().token
        shares = [
            (self._numbers(part), callers, part, writes, rate / _PROCESSES, share, after)
            for part, callers, share in zip(
                split(writes, _PROCESSES), split(_CALLERS, _PROCESSES), split(watchers, _PROCESSES), strict=True
            )
        ]
        whole = Traffic()
        for part in self._team.work(crew.live, *shares):
            whole.acknowledged |= part.acknowledged
            whole.seen += part.seen
        assert len(whole.acknowledged) == writes
        assert len(whole.seen) == writes * watchers, "every watcher sees every write once"
        return whole

    def _head(self) -> Revision:
        """Where the feed stands when all that was written is in it."""
        while self._hub.sql("SELECT FROM outbox LIMIT 1"):
            time.sleep(0.05)
        [(epoch, write)] = self._hub.sql("SELECT epoch, outbox_id FROM feed_head LEFT JOIN feed_event USING (seq)")
        return Revision(epoch, write or 0)

    def _worker_cpu(self) -> float:
        """Processor time that the workers have used, in seconds: it hardly minds what else the machine does."""
        used = [worker.cpu_times() for worker in workers_of(self._hub.pid)]
        return sum(times.user + times.system for times in used)

    def _numbers(self, count: int) -> int:
        """The first of so many people whom nobody has entered yet."""
        self._next += count
        return self._next - count

    def _note(self, name: str, value: float) -> None:
        self.figures[name] = float(f"{value:.4g}")
        _say(f"{name} = {self.figures[name]:,}")


def measure(size: Size) -> dict[str, float | str]:
    """All figures."""
    with (
        TemporaryDirectory(prefix="nsor-bench-") as folder,
        RunningHub(Path(folder, "state"), environment=NOBODY_ALIKE) as hub,
    ):
        with Crew(_site(hub), _PROCESSES) as team:
            run = Measurement(hub, team, size)
            run.figures["machine"] = f"{os.cpu_count()} cores, Python {platform.python_version()}"
            run.writes(Path(folder))
            run.lag()
            for watchers in _WATCHERS:
                run.events(watchers)
            run.snapshot()
            run.mirror(Path(folder))
        return run.figures


@contextmanager
def _peak_memory(supervisor: int) -> Generator[list[tuple[float, float]]]:
    """Memory of each worker before the block and at its peak in the block, in MB."""
    found: list[tuple[float, float]] = []
    before: dict[int, float] = {}
    for worker in workers_of(supervisor):
        Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # the kernel's peak begins anew
        before[worker.pid] = worker.memory_info().rss / 2**20
    yield found
    for pid, memory in before.items():
        status = Path(f"/proc/{pid}/status").read_text()
        [peak] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        found.append((memory, int(peak.split()[1]) / 1024))


def _site(hub: RunningHub) -> Site:
    return Site(hub.target, hub.folder / "nodes")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feed", description=__doc__)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", dest="size", action="store_const", const=QUICK, help="ends within a minute")
    sizes.add_argument("--tiny", dest="size", action="store_const", const=TINY, help=argparse.SUPPRESS)
    parser.set_defaults(size=FULL)
    print(json.dumps(measure(parser.parse_args().size)))


if __name__ == "__main__":
    main()
