"""`nsor vetting`, as a school's clerk uses it, against a real hub."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nsor_client.cli import main
from tests.support.contract import Node
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender

pytest_plugins = ["tests.support.nodes"]

Nsor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nsor(hub: RunningHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nsor:
    """Runs a command of the group as the school; gives its exit code, output and error output."""
    monkeypatch.setenv("NSOR_NODE", str(hub.folder / "nodes" / "sed-punjab"))
    monkeypatch.setenv("NSOR_TARGET", hub.target)
    monkeypatch.setenv("NSOR_OFFICER", "clerk-7")
    monkeypatch.setenv("TZ", "UTC")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def roster(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = ()) -> str:
    """A file of people."""
    path = folder / "teachers.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns or ("cnic", "consent_reference", "reference"))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_from_a_roster_to_an_alert(hub: RunningHub, nsor: Nsor, punjab: Node, tmp_path: Path) -> None:
    offender = fresh_offender()
    one = {"cnic": offender.person.cnic, "consent_reference": "form-1", "reference": "e-1044"}
    file = roster(tmp_path, one, {"cnic": fresh_cnic(), "consent_reference": "form-2", "reference": "e-1045"})
    assert nsor("vetting", "add", file)[:2] == (0, "2 put on the watch list, 0 were on it already\n")
    assert nsor("vetting", "add", file)[:2] == (0, "0 put on the watch list, 2 were on it already\n")
    _, out, _ = nsor("vetting", "list")
    [line] = [line for line in out.splitlines() if "e-1044" in line]
    name = line.split()[0]
    assert "form-1" in line

    command = [sys.executable, "-c", "from nsor_client.cli import main; main()", "vetting", "watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        punjab.create(offender)
        shown = process.stdout.readline()
        process.kill()
    assert "ON REGISTER  e-1044" in shown
    assert offender.person.full_name in shown

    assert nsor("vetting", "remove", name)[:2] == (0, "")
    code, _, err = nsor("vetting", "remove", name)
    assert code == 1
    assert "nsor vetting list" in err
    assert name not in nsor("vetting", "list")[1]


def test_what_is_wrong_with_a_roster_is_said_by_row(nsor: Nsor, tmp_path: Path) -> None:
    code, _, err = nsor("vetting", "add", roster(tmp_path, columns=("cnic", "reference")))
    assert (code, err) == (4, f"error: the header of {tmp_path}/teachers.csv names no column consent_reference\n")
    bad = [{"cnic": fresh_cnic(), "consent_reference": f"f-{number}"} for number in range(1002)]
    bad[1001]["consent_reference"] = "Ahmed Khan"
    code, out, err = nsor("--json", "vetting", "add", roster(tmp_path, *bad))
    assert code == 4
    assert json.loads(out)["added_count"] == 1000, "what stands in the message before is on the list"
    assert err.startswith("Rows before 1001 of the file are on the list; people[0] below is row 1001.\n")
    assert "people[1].consent_reference" in err
    assert "Ahmed" not in err
