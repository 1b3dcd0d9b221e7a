"""Keeping the register: imports, searches, and lists.

    python -m benchmarks.registry [--quick]

Imports are given as a ratio to COPY, which writes as many records, made beforehand, into the same tables of the same
server; both take turns within one run, since machines are noisy. Callers and hub share the machine.
"""

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from benchmarks import crew
from benchmarks.crew import NOBODY_ALIKE, OWNER, Crew, Site, split
from benchmarks.population import generated, populate, sealed, write
from hub.store.vault import Keyring, Vault
from hub.transport.paging import page_token
from nsor.common.v1.officer_pb2 import PURPOSE_INVESTIGATION, PURPOSE_RECORD_MAINTENANCE, OfficerContext
from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import ListOffendersRequest
from tests.support.hub import RunningHub
from tests.support.spellings import WAYS, Somebody, found_by, people, query

_PROCESSES = 2
_STREAMS = 4
_BEGINNING = 10**9
"""Number of the first person who is imported: none of the population."""
_CHUNK = 10_000
_PAGE = 10_000
_INVESTIGATION = OfficerContext(officer_id="P-40961", purpose=PURPOSE_INVESTIGATION, fir_number="123/2026")
_MAINTENANCE = OfficerContext(officer_id="P-10249", purpose=PURPOSE_RECORD_MAINTENANCE)
_SEARCH = "/nsor.registry.v1.RegistryService/SearchOffenders"


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        records: on the register when it is searched and listed.
        rounds: turns of imports and COPY.
        imported: records of a turn.
        seconds: of searching.
        queries: searches in each way of spelling, for recall.
        page_size: of the pages that are listed.
        pages: read of each kind.
    """

    records: int
    rounds: int
    imported: int
    seconds: float
    queries: int
    page_size: int
    pages: int


FULL = Size(records=1_000_000, rounds=3, imported=10_000, seconds=60, queries=500, page_size=50, pages=50)
QUICK = Size(records=12_000, rounds=2, imported=1_500, seconds=5, queries=40, page_size=1, pages=20)


def spelt(first: int, count: int) -> Iterator[Offender]:
    """People whose names are spelt in many ways: the same for the same arguments."""
    for somebody, offender in zip(crowd(first, count), generated(first, count), strict=True):
        yield somebody.fill(offender)


def crowd(first: int, count: int) -> Iterator[Somebody]:
    """Who they are."""
    return people(count, seed=first)


class Measurement:
    """A run against one hub; `figures` fills up."""

    def __init__(self, hub: RunningHub, size: Size) -> None:
        self._hub = hub
        self._size = size
        self._next = _BEGINNING
        self.figures: dict[str, float | str] = {}

    def imports(self) -> None:
        """Rows imported per second, beside COPY."""
        vault = Vault(lambda: Keyring.load(self._keyring()))
        imports: list[float] = []
        copies: list[float] = []
        with Crew(self._site(), _PROCESSES) as team, psycopg.connect(self._hub.dsn) as connection:
            self._import(team, 200)  # lines, caches
            for _ in range(self._size.rounds):
                imports.append(self._import(team, self._size.imported))
                first = self._numbers(self._size.imported)
                rows = sealed(vault, generated(first, self._size.imported))
                began = time.monotonic()
                write(connection, rows)
                copies.append(self._size.imported / (time.monotonic() - began))
        self._note("import_rows_per_s", median(imports))
        self._note("copy_rows_per_s", median(copies))
        self._note("import_over_copy", median(i / c for i, c in zip(imports, copies, strict=True)))

    def fill(self) -> None:
        """Brings the register to its size, past a hub that is started anew afterwards."""
        _say(f"entering {self._size.records:,} records")
        populate(self._hub.dsn, self._keyring(), self._size.records, spelt)
        self._note("records", self._hub.sql("SELECT count(*) FROM offender")[0][0])
        for table in ("offender_revision", "offender_search"):
            [(octets,)] = self._hub.sql("SELECT pg_total_relation_size(%s::regclass)", table)
            self._note(f"{table}_mb", octets / 2**20)

    def searches(self) -> None:
        """Latency of searches by two callers, by name and father's name, half of them with the date of birth."""
        chance = random.Random(7000)
        known = list(crowd(0, min(_CHUNK, self._share())))
        requests = [
            query(
                chance.choice(known),
                chance.choice(WAYS),
                chance,
                with_birth=chance.random() < 0.5,
                officer=_INVESTIGATION,
            ).SerializeToString()
            for _ in range(2_000)
        ]
        with Crew(self._site(), _PROCESSES) as team:
            team.work(crew.check, *[(_SEARCH, requests[half::2], 1, 2.0, None) for half in range(_PROCESSES)])
            done = team.work(
                crew.check,
                *[(_SEARCH, requests[half::2], 1, self._size.seconds, None) for half in range(_PROCESSES)],
            )
        percentiles = quantiles([1000 * latency for each in done for latency in each.latencies], n=100)
        self._note("searches_per_s", sum(len(each.latencies) / each.elapsed for each in done))
        self._note("search_p50_ms", percentiles[49])
        self._note("search_p99_ms", percentiles[98])

    def quality(self) -> None:
        """How many of those sought are among the first ten, and how many of those much alike are the one sought."""
        known = list(crowd(0, min(_CHUNK, self._share())))
        with self._hub.client(OWNER, timeout=60) as client:
            search = partial(client.search_offenders, officer=_INVESTIGATION)
            for way in WAYS:
                for with_birth in (False, True):
                    found = found_by(search, way, known, self._size.queries, with_birth=with_birth)
                    of = f"{way}_with_birth" if with_birth else way
                    self._note(f"recall_{of}", found.recall)
                    if found.alike:
                        self._note(f"precision_{of}", found.precision)

    def pages(self) -> None:
        """Page 10,000 beside page 1 of ListOffenders."""
        request = ListOffendersRequest(page_size=self._size.page_size, officer=_MAINTENANCE)
        before = self._size.page_size * (_PAGE - 1)
        [(last,)] = self._hub.sql(
            "SELECT id FROM offender WHERE owner = %s ORDER BY id DESC OFFSET %s LIMIT 1", OWNER, before - 1
        )
        deep = ListOffendersRequest()
        deep.CopyFrom(request)
        deep.page_token = page_token(OWNER, request, str(last))
        firsts: list[float] = []
        deeps: list[float] = []
        with self._hub.channel(OWNER) as channel:
            line: Any = channel
            list_page = line.unary_unary("/nsor.registry.v1.RegistryService/ListOffenders")
            for _ in range(self._size.pages + 1):
                for times, page in ((firsts, request), (deeps, deep)):
                    began = time.monotonic()
                    list_page(page.SerializeToString(), timeout=60)
                    times.append(time.monotonic() - began)
        self._note("page_1_ms", 1000 * median(firsts[1:]))
        self._note("page_10000_over_page_1", median(deeps[1:]) / median(firsts[1:]))

    def _import(self, team: Crew, count: int) -> float:
        parts = split(count, _PROCESSES)
        return sum(team.work(crew.load, *((self._numbers(part), part, _STREAMS) for part in parts)))

    def _numbers(self, count: int) -> int:
        """The first of so many people whom nobody has entered yet."""
        self._next += count
        return self._next - count

    def _share(self) -> int:
        """People whom the first process of `populate` enters, as the first part of one crowd."""
        return split(self._size.records, _PROCESSES)[0]

    def _keyring(self) -> str:
        return (self._hub.folder / "keyring.json").read_text()

    def _site(self) -> Site:
        return Site(self._hub.target, self._hub.folder / "nodes")

    def _note(self, name: str, value: float) -> None:
        self.figures[name] = float(f"{value:.4g}")
        _say(f"{name} = {self.figures[name]:,}")


def measure(size: Size) -> dict[str, float | str]:
    """All figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="nsor-bench-")))
        hub = RunningHub(folder / "state", environment=NOBODY_ALIKE)
        run = Measurement(hub, size)
        run.figures["machine"] = f"{os.cpu_count()} cores, Python {platform.python_version()}"
        with hub:
            run.imports()
            run.fill()
        stack.enter_context(hub)
        run.searches()
        run.quality()
        run.pages()
        return run.figures


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures and prints the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.registry", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything, within a minute")
    print(json.dumps(measure(QUICK if parser.parse_args().quick else FULL)))


if __name__ == "__main__":
    main()
