"""The mirror and a real hub, by the commands that a station uses."""

import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT, OUTCOME_NO_RECORD
from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE, Offender
from nsor_client import Client
from nsor_client.cli import main
from nsor_client.mirror import Mirror, make_key, read_key
from tests.support.contract import notification
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender
from tests.support.waiting import eventually

NODE = "nadra"

Nsor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def punjab(hub: RunningHub) -> Iterator[Client]:
    with hub.client("punjab-police", timeout=30) as client:
        yield client


@pytest.fixture
def nadra(hub: RunningHub) -> Iterator[Client]:
    with hub.client(NODE, timeout=30) as client:
        yield client


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with Mirror(tmp_path / "mirror.db", make_key(tmp_path / "mirror.key")) as mirror:
        yield mirror


@pytest.fixture
def nsor(hub: RunningHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nsor:
    """Runs the command as a node with a mirror; gives its exit code, output and error output."""
    for name, value in environment(hub, tmp_path).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def environment(hub: RunningHub, folder: Path) -> dict[str, str]:
    return {
        "NSOR_NODE": str(hub.folder / "nodes" / NODE),
        "NSOR_TARGET": hub.target,
        "NSOR_MIRROR": str(folder / "mirror.db"),
        "NSOR_MIRROR_KEY": str(folder / "mirror.key"),
    }


def following(hub: RunningHub, folder: Path) -> "subprocess.Popen[str]":
    """`nsor --json mirror follow` as a process."""
    command = [sys.executable, "-c", "from nsor_client.cli import main; main()", "--json", "mirror", "follow"]
    env = environment(hub, folder) | {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True)


def enter(client: Client, count: int = 1) -> list[Offender]:
    return [client.create_offender(fresh_offender()).offender for _ in range(count)]


def until(mirror: Mirror, client: Client, condition: Callable[[], bool]) -> None:
    """Follows until something is so."""
    with closing(mirror.follow(client)) as steps:
        while not condition():
            next(steps)


def outcome(mirror: Mirror, offender: Offender) -> int:
    return mirror.check(offender.person.cnic).response.outcome


def test_a_mirror_holds_what_the_register_holds(
    hub: RunningHub, mirror: Mirror, punjab: Client, nadra: Client, tmp_path: Path
) -> None:
    [first] = enter(punjab)
    notice = punjab.write(notification(first.name))
    steps = list(mirror.build(nadra, at_least_revision=notice.revision))
    status = mirror.status()
    assert status
    assert sum(step.changes for step in steps) == status.offenders + status.notices
    assert outcome(mirror, first) == OUTCOME_HIT

    [second] = enter(punjab)
    assert outcome(mirror, second) == OUTCOME_NO_RECORD
    until(mirror, nadra, lambda: outcome(mirror, second) == OUTCOME_HIT)
    with hub.client("lahore-high-court") as court:
        day = first.convictions[0].conviction_date
        court.record_court_event(first, 1, COURT_EVENT_SET_ASIDE, day, "Order 1/2026")
    until(mirror, nadra, lambda: outcome(mirror, first) == OUTCOME_NO_RECORD)
    assert not any(notice.name.startswith(first.name) for notice in mirror.notices())

    last = punjab.create_offender(fresh_offender())
    until(mirror, nadra, lambda: outcome(mirror, last.offender) == OUTCOME_HIT)
    parts = list(nadra.get_snapshot(at_least_revision=last.revision))
    offenders = [offender for part in parts for offender in part.offenders]
    assert list(mirror.offenders()) == sorted(offenders, key=lambda o: o.name)
    assert list(mirror.notices()) == sorted((n for part in parts for n in part.notices), key=lambda n: n.name)

    # What is on the disk holds nobody's name or number.
    disk = b"".join(file.read_bytes() for file in tmp_path.glob("mirror.db*"))
    for offender in (first, second):
        for personal in (offender.person.full_name, offender.person.guardian_name, offender.person.cnic[6:13]):
            assert personal.encode() in offender.SerializeToString()
            assert personal.encode() not in disk


def test_the_hub_knows_how_far_the_mirror_is(mirror: Mirror, punjab: Client, nadra: Client) -> None:
    list(mirror.build(nadra, at_least_revision=punjab.create_offender(fresh_offender()).revision))
    [last] = enter(punjab)

    def acknowledged() -> str:
        return next((n.revision for n in nadra.get_federation_status().nodes if n.node == f"nodes/{NODE}"), "")

    with closing(mirror.follow(nadra)) as steps:
        for step in steps:  # a later step tells of what an earlier one could not
            if outcome(mirror, last) == OUTCOME_HIT and acknowledged() == step.revision:
                break


def test_a_mirror_of_a_register_that_was_restored_is_built_anew(
    mirror: Mirror, punjab: Client, nadra: Client, tmp_path: Path
) -> None:
    list(mirror.build(nadra))
    [missed] = enter(punjab)
    with closing(sqlite3.connect(tmp_path / "mirror.db")) as db, db:
        db.execute("UPDATE mirror SET revision = '00000000.' || substr(revision, 10)")
    with closing(mirror.follow(nadra)) as steps:
        assert next(steps).building
    until(mirror, nadra, lambda: outcome(mirror, missed) == OUTCOME_HIT)


@pytest.mark.fault
@pytest.mark.timeout(300)  # it starts a hub twice
def test_a_mirror_is_built_anew_where_the_hub_dropped_what_came_since(folder_hub: RunningHub, mirror: Mirror) -> None:
    hub = folder_hub
    with hub.client("punjab-police", timeout=30) as punjab, hub.client(NODE, timeout=30) as nadra:
        [held] = enter(punjab)
        until(mirror, nadra, lambda: outcome(mirror, held) == OUTCOME_HIT)
        missed = enter(punjab, 3)
        eventually(lambda: not hub.sql("SELECT FROM outbox"))
    hub.sql("DELETE FROM feed_event WHERE seq < (SELECT seq FROM feed_head)")  # as time does
    hub.stop()  # a worker remembers some of what it dropped
    hub.start()
    with hub.client(NODE, timeout=30) as nadra, closing(mirror.follow(nadra)) as steps:
        assert next(steps).building
        assert outcome(mirror, held) == OUTCOME_HIT
        while any(outcome(mirror, offender) != OUTCOME_HIT for offender in missed):
            next(steps)


def test_the_commands_of_a_station(nsor: Nsor, punjab: Client, tmp_path: Path) -> None:
    [listed] = enter(punjab)
    cnic = listed.person.cnic
    assert nsor("mirror", "check", cnic)[0] == 2, "there is no file"

    code, out, _ = nsor("--json", "mirror", "build")
    steps = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [step["building"] for step in steps] == [True] * (len(steps) - 1) + [False]
    assert (tmp_path / "mirror.key").stat().st_mode & 0o777 == 0o600
    assert "The copy is whole" in nsor("mirror", "build")[1]

    for number, code, says in ((cnic, 10, "HIT"), (fresh_cnic(), 0, "NO RECORD"), ("nobody", 11, "NOT A CNIC")):
        found, out, _ = nsor("mirror", "check", number)
        assert (found, out.split("  ")[0].split("\n")[0]) == (code, says)
        assert " old; it answers up to 60 min." in out
        found, out, _ = nsor("--json", "mirror", "check", number)
        assert found == code
        assert json.loads(out)["age_seconds"] < 3600
        assert json.loads(out)["as_of_time"]
    code, out, _ = nsor("mirror", "check", cnic, "--max-age", "0")
    assert (code, out.split("  ")[0]) == (12, "CANNOT ANSWER")
    assert listed.person.full_name not in out

    assert "are answered" in nsor("mirror", "status")[1]
    code, out, _ = nsor("--json", "mirror", "status")
    assert (code, json.loads(out)["answers"], json.loads(out)["node"]) == (0, True, NODE)
    code, out, _ = nsor("mirror", "status", "--max-age", "0")
    assert code == 12
    assert "CANNOT be answered" in out

    (tmp_path / "mirror.key").unlink()
    make_key(tmp_path / "mirror.key")
    code, _, err = nsor("mirror", "check", cnic)
    assert (code, err) == (4, "error: the mirror was made with another key\n")


@pytest.mark.slow
def test_a_mirror_whose_follower_is_killed_goes_on_where_it_was(
    hub: RunningHub, punjab: Client, tmp_path: Path
) -> None:
    killed_at_any_moment(hub, punjab, tmp_path, kills=2)


@pytest.mark.fault
@pytest.mark.timeout(600)
def test_a_mirror_whose_follower_is_killed_again_and_again(hub: RunningHub, punjab: Client, tmp_path: Path) -> None:
    killed_at_any_moment(hub, punjab, tmp_path, kills=12)


def killed_at_any_moment(hub: RunningHub, punjab: Client, folder: Path, *, kills: int) -> None:
    """Kills followers, of which the first ones build, while records are entered; judges what each of them left."""
    rng, entered, seen, built = random.Random(7), list[Offender](), 0, False
    for _ in range(kills):
        with following(hub, folder) as process:
            assert process.stdout
            assert json.loads(process.stdout.readline())["building"] == (not built), "what is there is not built again"
            for _ in range(rng.randint(0, 5)):
                process.stdout.readline()
            entered += enter(punjab, rng.randint(1, 20))
            process.kill()  # at a point that nobody chose
        with Mirror(folder / "mirror.db", read_key(folder / "mirror.key")) as mirror:
            built = mirror.status() is not None
            held = [outcome(mirror, offender) == OUTCOME_HIT for offender in entered] if built else []
            # Whatever it has, it has everything before, and nothing of what was durable is lost.
            assert held == sorted(held, reverse=True)
            assert held.count(True) >= seen
            seen = held.count(True)
    with (
        Mirror(folder / "mirror.db", read_key(folder / "mirror.key")) as mirror,
        hub.client(NODE, timeout=30) as nadra,
    ):
        until(mirror, nadra, lambda: outcome(mirror, entered[-1]) == OUTCOME_HIT)
        status = mirror.status()
        assert status
        assert {o.name for o in entered} <= {o.name for o in mirror.offenders()}
