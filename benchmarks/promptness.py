"""How soon what was decided is known to whom it concerns.

    python -m benchmarks.promptness [--quick]

From the answer to a write until the institution that watches that person has the alert; and from the answer to a change
of the disclosure policy until every line is answered by the new one. Once with the hub idle, once while a police force
checks numbers at a steady rate. All share the machine.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Thread

from demo.people import cnic, offenders
from nsor.lookup.v1.disclosure_pb2 import DISCLOSURE_MODE_HIT_ONLY, DISCLOSURE_MODE_OFF
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_CANNOT_ANSWER
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE
from nsor_client import Client
from tests.support.contract import OVERSIGHT
from tests.support.hub import RunningHub
from tests.support.vetting import School

_LINES = 8  # so many that both workers are asked
_CHECKS_PER_S = 200.0
_DAY = "2026-06-01"


@dataclass(frozen=True)
class Size:
    """How much is measured, idle and beside checks.

    Attributes:
        people: entered and set aside, one after the other.
        policies: changes of the policy; an even number, since while it is off no alert is sent.
    """

    people: int
    policies: int


FULL = Size(people=200, policies=50)
QUICK = Size(people=15, policies=6)


class Measurement:
    """One hub, and those who wait for what it says."""

    def __init__(self, hub: RunningHub, stack: ExitStack) -> None:
        self._school = School(hub)
        self._court, self._police, self._npb = (
            stack.enter_context(hub.client(name)) for name in ("lahore-high-court", "punjab-police", "npb")
        )
        self._lines = [stack.enter_context(hub.client("sms-7000")) for _ in range(_LINES)]
        self._people = count()
        self._told: SimpleQueue[float] = SimpleQueue()
        Thread(target=self._watch, daemon=True).start()

    def alerts(self, people: int) -> tuple[list[float], list[float]]:
        """Seconds until an alert came of each who was entered, and of each who was acquitted."""
        entered, acquitted = list[float](), list[float]()
        for number in (next(self._people) for _ in range(people)):
            [offender] = offenders(1, province="Punjab", seed=number, first=number)
            self._school.watches(offender.person.cnic)
            record = self._police.create_offender(offender).offender
            entered.append(self._alert())
            self._court.record_court_event(record, 1, COURT_EVENT_SET_ASIDE, _DAY, "Order 1/2026")
            acquitted.append(self._alert())
        return entered, acquitted

    def policies(self, changes: int) -> list[float]:
        """Seconds until the last of all lines was answered by a policy for the first time, for each change."""
        took: list[float] = []
        for change in range(changes):
            off = change % 2 == 0
            policy = self._npb.get_disclosure_policy()
            for rule in policy.rules:
                rule.mode = DISCLOSURE_MODE_OFF if off else DISCLOSURE_MODE_HIT_ONLY
            self._npb.update_disclosure_policy(policy, OVERSIGHT)
            began = time.monotonic()
            with ThreadPoolExecutor(_LINES) as pool:
                took.append(max(pool.map(partial(_until, off=off), self._lines)) - began)
        return took

    @contextmanager
    def checks(self) -> Generator[None]:
        """Numbers are checked meanwhile."""
        over = Event()

        def check(line: Client) -> None:
            for number in count():
                if over.wait(_LINES / _CHECKS_PER_S):
                    return
                line.check_cnic(cnic(number))

        with ThreadPoolExecutor(_LINES) as pool:
            done = [pool.submit(check, line) for line in self._lines]
            try:
                yield
            finally:
                over.set()
        for each in done:
            each.result()

    def _watch(self) -> None:
        for response in self._school.client.watch_alerts():
            now = time.monotonic()
            for _ in response.alerts:
                self._told.put(now)

    def _alert(self) -> float:
        began = time.monotonic()
        return self._told.get(timeout=60) - began


def _until(line: Client, off: bool) -> float:
    """When the line was first answered by the policy that is off, or is not."""
    while (line.check_cnic(cnic(0)).outcome == OUTCOME_CANNOT_ANSWER) != off:
        pass
    return time.monotonic()


def measure(size: Size) -> dict[str, float | str]:
    """All figures."""
    figures: dict[str, float | str] = {"machine": f"{os.cpu_count()} cores, Python {platform.python_version()}"}

    def note(name: str, seconds: Sequence[float]) -> None:
        figures[f"{name}_p50_ms"] = round(1000 * median(seconds))
        figures[f"{name}_max_ms"] = round(1000 * max(seconds))
        _say(f"{name}: {figures[f'{name}_p50_ms']} ms, {figures[f'{name}_max_ms']} ms at most, of {len(seconds)}")

    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="nsor-bench-"))
        hub = stack.enter_context(RunningHub(Path(folder, "state")))
        run = Measurement(hub, stack)

        def turn(prefix: str) -> None:
            entered, acquitted = run.alerts(size.people)
            note(f"{prefix}alert", entered)
            note(f"{prefix}acquittal_alert", acquitted)
            note(f"{prefix}policy", run.policies(size.policies))

        turn("")
        with run.checks():
            turn("busy_")
    return figures


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promptness", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ends within a minute")
    print(json.dumps(measure(QUICK if parser.parse_args().quick else FULL)))


if __name__ == "__main__":
    main()
