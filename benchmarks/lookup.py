"""Checks of a CNIC, beside servers that do less and servers that do it the usual way.

    python -m benchmarks.lookup [--quick]

All servers run at once, with one worker process each, and take turns within one run, so that ratios hold on a noisy
machine. The callers share its cores, which moves all ratios towards 1: server CPU per call, in the figures too, does
not mind. etcd comes from Debian's package, without being installed, and holds 10,000 keys only, which favours it; where
it is not to be had, its figures are left out.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import psutil
import psycopg
import uvloop

from benchmarks import crew, peers, telling
from benchmarks.crew import Calls, Crew, Site
from benchmarks.population import populate
from demo.people import cnic
from hub.bootstrap import leave_alone_what_stays
from hub.lookup.index import LookupIndex
from hub.store.database import PostgresDatabase
from hub.store.feed import FeedStore
from hub.store.vault import Keyring, Vault
from hub.transport import convert
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicRequest, CheckCnicsRequest
from tests.support.collector import collecting
from tests.support.fragile_hub import workers_of
from tests.support.hub import RunningHub
from tests.support.waiting import eventually

_PROCESSES = 2
_IN_FLIGHT = 64
_UNLIMITED = {"NSOR_NODE_CHECKS_PER_SECOND": "0"}
_ONE_IN_A_HUNDRED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
_REQUESTS = 20_000
_CHECK = "/nsor.lookup.v1.LookupService/CheckCnic"
_RANGE = "/etcdserverpb.KV/Range"
_PEERS = ("echo", "psycopg", "fastapi", "etcd")
_CHECKS = "/nsor.lookup.v1.LookupService/CheckCnics"
_ROSTER = 1_000
_PLANTED_SECONDS = 200e-6


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        records: on the register.
        rounds: turns of each server.
        seconds: of each turn.
        apart_seconds: for which hits and misses are compared.
    """

    records: int
    rounds: int
    seconds: float
    apart_seconds: float


FULL = Size(records=1_000_000, rounds=5, seconds=10, apart_seconds=60)
QUICK = Size(records=5_000, rounds=2, seconds=1, apart_seconds=2)


@dataclass
class Server:
    """A server, how it is called, and what was measured.

    Attributes:
        processes: whose processor time counts.
        work: calls it for so many seconds, at a rate or as fast as it answers.
    """

    name: str
    processes: Callable[[], Sequence[psutil.Process]]
    work: Callable[[float, float | None], list[Calls]]
    rates: list[float] = field(default_factory=list[float])
    cpu_us: list[float] = field(default_factory=list[float])

    def turn(self, seconds: float) -> None:
        """Calls it as fast as it answers."""
        used = self._used()
        done = self.work(seconds, None)
        calls = sum(len(each.latencies) for each in done)
        self.rates.append(calls / max(each.elapsed for each in done))
        self.cpu_us.append((self._used() - used) / calls * 1e6)
        _say(f"{self.name}: {self.rates[-1]:,.0f}/s, {self.cpu_us[-1]:,.0f} us of server CPU a call")

    def _used(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())


def measure(size: Size) -> dict[str, float | str | None]:
    """All figures."""
    figures: dict[str, float | str | None] = {"machine": f"{os.cpu_count()} cores, Python {platform.python_version()}"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="nsor-bench-")))
        collector = stack.enter_context(collecting())
        telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_EXPORTER_OTLP_INSECURE": "true"}
        environment = _UNLIMITED | _ONE_IN_A_HUNDRED | telemetry
        hub = RunningHub(folder / "state", workers=1, environment=environment)
        with hub:
            _say(f"entering {size.records:,} records")
            keyring = (hub.folder / "keyring.json").read_text()
            populate(hub.dsn, keyring, size.records)
            _say("loading them into two indexes")
            figures |= index_load(hub.dsn, keyring)
        began = time.monotonic()
        stack.enter_context(hub)
        [worker] = workers_of(hub.pid)
        figures |= {"records": size.records, "start_s": round(time.monotonic() - began, 1)}
        figures["worker_memory_mb"] = round(worker.memory_info().rss / 2**20)
        team = stack.enter_context(Crew(Site(hub.target, hub.folder / "nodes"), _PROCESSES))
        servers = [_grpc("check", hub.target, team, [worker], _requests(size))]
        servers += _peers(stack, hub, environment, team, size)
        for server in servers:
            server.turn(0.5)  # lines, caches
            server.rates.clear()
            server.cpu_us.clear()
        rosters: list[float] = []
        for number in range(size.rounds):
            _say(f"round {number + 1} of {size.rounds}")
            for server in servers:
                server.turn(size.seconds)
            rosters.append(_numbers_per_s(team, size))
        check, *others = servers
        figures |= {"check_per_s": round(median(check.rates)), "check_cpu_us": round(median(check.cpu_us))}
        for other in others:
            ratios = [mine / theirs for mine, theirs in zip(check.rates, other.rates, strict=True)]
            figures[f"check_over_{other.name}"] = round(median(ratios), 3)
            figures[f"{other.name}_cpu_us"] = round(median(other.cpu_us))
        ratios = [roster / single for roster, single in zip(rosters, check.rates, strict=True)]
        figures |= {"numbers_per_s": round(median(rosters)), "batch_over_check": round(median(ratios), 1)}
        for name in _PEERS:
            figures.setdefault(f"check_over_{name}", None)
        figures |= _latency(check, size)
        _say("hits beside misses")
        figures |= _hits_beside_misses(team, size, "hit_miss", 1, 0)
        figures |= _hits_beside_misses(team, size, "hit_miss_load", 4, 4)
        return figures


def index_load(dsn: str, keyring: str) -> dict[str, float]:
    """What two workers that start together do before they serve, each in a process of its own."""
    with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn")) as pool:
        loads = [load.result() for load in [pool.submit(_load_index, dsn, keyring) for _ in range(_PROCESSES)]]
    seconds, cpu_us, megabytes = map(max, zip(*loads, strict=True))
    return {"index_load_s": round(seconds, 1), "index_cpu_us": round(cpu_us, 1), "index_mb": round(megabytes)}


def _load_index(dsn: str, keyring: str) -> tuple[float, float, float]:
    """Seconds, processor time for a record in us, and MB of memory that remain."""
    vault = Vault(lambda: Keyring.load(keyring))
    store = FeedStore(PostgresDatabase(dsn, vault), vault)
    index = LookupIndex(convert.lookup.disclosed_person)
    process = psutil.Process()
    leave_alone_what_stays()  # as a worker does

    async def load() -> None:
        async for records in store.checked_records():
            index.load(records)

    before, used, began = process.memory_info().rss, time.process_time(), time.monotonic()
    uvloop.run(load())
    cpu_us = (time.process_time() - used) / len(index) * 1e6
    return time.monotonic() - began, cpu_us, (process.memory_info().rss - before) / 2**20


def _latency(check: Server, size: Size) -> dict[str, float]:
    done = check.work(size.seconds, median(check.rates) / 2)
    percentiles = quantiles([1000 * latency for each in done for latency in each.latencies], n=100)
    return {"p50_half_ms": round(percentiles[49], 2), "p99_half_ms": round(percentiles[98], 2)}


def _hits_beside_misses(team: Crew, size: Size, name: str, *in_flight: int) -> dict[str, float]:
    """Whether the time of an answer tells the public, or who listens on its line, that it was a hit.

    Args:
        in_flight: calls at once of each process.
    """
    chance = random.Random(7000)
    people = [chance.randrange(size.records) for _ in range(_REQUESTS)]
    kinds = [
        [CheckCnicRequest(cnic=cnic(first + person)).SerializeToString() for person in people]
        for first in (0, size.records)
    ]
    done = team.work(crew.compare, *[(_CHECK, kinds, calls, size.apart_seconds) for calls in in_flight])
    hits, misses = ([time for took in done for time in took[kind]] for kind in range(2))
    planted = [time + _PLANTED_SECONDS for time in hits]
    return {
        f"{name}_calls": len(hits) + len(misses),
        f"{name}_auc": round(telling.auc(hits, misses), 4),
        f"{name}_auc_margin": round(telling.margin(hits, misses), 4),
        f"{name}_auc_planted": round(telling.auc(planted, misses), 4),
        f"{name}_seen_us": round(1e6 * telling.seen(hits, misses)),
    }


def _numbers_per_s(team: Crew, size: Size) -> float:
    """Numbers checked per second by rosters, 1,000 in a message, a stream for each process."""
    people = _people(size)
    messages = [
        CheckCnicsRequest(cnics=people[first : first + _ROSTER]).SerializeToString()
        for first in range(0, len(people), _ROSTER)
    ]
    done = team.work(crew.exchange, *[(_CHECKS, messages, 2, size.seconds)] * _PROCESSES)
    rate = _ROSTER * sum(len(each.latencies) for each in done) / max(each.elapsed for each in done)
    _say(f"rosters: {rate:,.0f} numbers/s")
    return rate


def _people(size: Size) -> list[str]:
    """Numbers drawn evenly; half of them are on the register."""
    chance = random.Random(7000)
    return [cnic(chance.randrange(2 * size.records)) for _ in range(_REQUESTS)]


def _requests(size: Size) -> list[bytes]:
    return [CheckCnicRequest(cnic=person).SerializeToString() for person in _people(size)]


def _grpc(
    name: str,
    target: str,
    team: Crew,
    processes: Sequence[psutil.Process],
    requests: list[bytes],
    method: str = _CHECK,
) -> Server:
    def work(seconds: float, rate: float | None) -> list[Calls]:
        share = (method, requests, _IN_FLIGHT // _PROCESSES, seconds, rate / _PROCESSES if rate else None)
        return team.work(crew.check, *[share] * _PROCESSES, target=target)

    return Server(name, lambda: processes, work)


def _peers(stack: ExitStack, hub: RunningHub, environment: dict[str, str], team: Crew, size: Size) -> list[Server]:
    with psycopg.connect(hub.dsn, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(peers.TABLE)
        person = peers.PERSON.SerializeToString()
        with cursor.copy("COPY peer FROM STDIN") as copy:
            for number in range(size.records):
                copy.write_row((peers.index(cnic(number)), person))
    requests = _requests(size)
    servers: list[Server] = []
    for name in ("echo", "psycopg"):
        target, process = stack.enter_context(_serving(name, hub, environment))
        servers.append(_grpc(name, target, team, [process], requests))
    eventually((hub.folder / "selecting").exists, 300)  # it has the register
    web, web_process = stack.enter_context(_serving("fastapi", hub, environment))
    paths = [person.encode() for person in _people(size)]

    def over_http(seconds: float, rate: float | None) -> list[Calls]:
        return team.work(crew.check_http, *[(paths, _IN_FLIGHT // _PROCESSES, seconds)] * _PROCESSES, target=web)

    servers.append(Server("fastapi", lambda: [web_process], over_http))
    if binary := _etcd_binary(Path(hub.folder).parent):
        target, process = stack.enter_context(_etcd(binary, hub))
        _say("filling etcd")
        keys = [b"\x0a" + bytes([len(person)]) + person.encode() for person in _people(size)]
        value = peers.PERSON.SerializeToString()
        puts = [key + b"\x12" + bytes([len(value)]) + value for key in keys[::2]]
        team.work(crew.call_each, *[("/etcdserverpb.KV/Put", puts[half::2]) for half in (0, 1)], target=target)
        servers.append(_grpc("etcd", target, team, [process], keys, _RANGE))
    return servers


@contextmanager
def _serving(kind: str, hub: RunningHub, environment: dict[str, str]) -> Generator[tuple[str, psutil.Process]]:
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.peers", kind, str(port), str(hub.folder), hub.dsn]
    with _running(command, port, environment) as process:
        yield f"127.0.0.1:{port}", process


@contextmanager
def _etcd(binary: Path, hub: RunningHub) -> Generator[tuple[str, psutil.Process]]:
    port, peer = _free_port(), _free_port()
    tls = hub.folder / "hub"
    command = [str(binary), "--data-dir", str(hub.folder.parent / "etcd"), "--log-level", "error"]
    command += [f"--listen-client-urls=https://127.0.0.1:{port}", f"--advertise-client-urls=https://127.0.0.1:{port}"]
    command += [f"--listen-peer-urls=http://127.0.0.1:{peer}", "--client-cert-auth", f"--trusted-ca-file={tls}/ca.pem"]
    command += [f"--cert-file={tls}/cert.pem", f"--key-file={tls}/key.pem"]
    with _running(command, port) as process:
        yield f"127.0.0.1:{port}", process


@contextmanager
def _running(command: list[str], port: int, environment: dict[str, str] | None = None) -> Generator[psutil.Process]:
    with subprocess.Popen(command, env=os.environ | (environment or {})) as process:
        try:
            eventually(lambda: _answers(port), 60)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _etcd_binary(folder: Path) -> Path | None:
    """etcd out of Debian's package `etcd-server`, unpacked into the folder."""
    try:
        subprocess.run(["apt-get", "download", "etcd-server"], cwd=folder, check=True, capture_output=True, timeout=60)
        [package] = folder.glob("etcd-server_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder / "debian")], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        _say("etcd is left out: Debian's package etcd-server cannot be had")
        return None
    return folder / "debian" / "usr" / "bin" / "etcd"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures and prints the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything, within a minute")
    print(json.dumps(measure(QUICK if parser.parse_args().quick else FULL)))


if __name__ == "__main__":
    main()
