"""The outbox and a real hub: a sender that is killed loses nothing and writes nothing twice."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nsor_client.outbox import Outbox
from tests.support.contract import MAINTENANCE, notification
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

# A notice may be recorded any number of times, so nothing but its request_id keeps one from being there twice.
KILLED_AFTER_THE_ANSWER = """
import os, signal, sys
from nsor_client import Client, Credentials
from nsor_client.outbox import Outbox

class Killed(Client):
    def write(self, request, *, timeout=None):
        super().write(request, timeout=timeout)
        os.kill(os.getpid(), signal.SIGKILL)

with Outbox(sys.argv[1]) as outbox, Killed(sys.argv[3], Credentials.from_dir(sys.argv[2])) as client:
    outbox.send(client)
"""


def queued(path: Path, parent: str, count: int) -> list[str]:
    """Queues this many notices, each of another new name; gives the names in order."""
    names = [f"Name {first}{second}" for first in "ABCDEFGH" for second in "AEIOU"][:count]
    with Outbox(path) as outbox:
        for name in names:
            request = notification(parent)
            request.notice.name_change.full_name = name
            request.notice.name_change.effective_date = "2026-01-01"
            outbox.add(request)
    return names


def recorded(hub: RunningHub, parent: str) -> list[str]:
    """What the hub has recorded, in the order in which it did."""
    with hub.client("punjab-police") as client:
        return [notice.name_change.full_name for notice in client.list_notices(parent, MAINTENANCE)][::-1]


@pytest.fixture
def parent(hub: RunningHub) -> str:
    with hub.client("punjab-police") as client:
        return client.create_offender(fresh_offender()).offender.name


def waiting(path: Path) -> int:
    with Outbox(path) as outbox:
        return len(list(outbox.entries()))


def test_a_sender_killed_between_the_answer_and_its_note_of_it_writes_nothing_twice(
    hub: RunningHub, parent: str, tmp_path: Path
) -> None:
    path = tmp_path / "outbox.db"
    names = queued(path, parent, 3)
    command = [sys.executable, "-c", KILLED_AFTER_THE_ANSWER, str(path)]
    command += [str(hub.folder / "nodes/punjab-police"), hub.target]
    for _ in range(2):  # the second one sends the first entry again
        assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
        assert recorded(hub, parent) == names[:1]
        assert waiting(path) == 3
    with hub.client("punjab-police") as client, Outbox(path) as outbox:
        assert outbox.send(client).written == 3
    assert recorded(hub, parent) == names
    assert waiting(path) == 0


@pytest.mark.slow
def test_a_sender_killed_at_any_moment_loses_nothing_and_writes_nothing_twice(
    hub: RunningHub, parent: str, tmp_path: Path
) -> None:
    path, rng = tmp_path / "outbox.db", random.Random(7)
    names = queued(path, parent, 30)
    command = [sys.executable, "-c", "from nsor_client.cli import main; main()"]
    command += ["--node", str(hub.folder / "nodes/punjab-police"), "--target", hub.target]
    command += ["outbox", "send", "--outbox", str(path)]
    for _ in range(4):
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            assert process.stderr
            for _ in range(rng.randint(1, 6)):
                process.stderr.readline()
            process.kill()  # the next write is under way, at a point that nobody chose
        assert process.returncode == -signal.SIGKILL
        assert recorded(hub, parent) == names[: len(recorded(hub, parent))]
    with hub.client("punjab-police") as client, Outbox(path) as outbox:
        outbox.send(client)
    assert recorded(hub, parent) == names
    assert waiting(path) == 0
