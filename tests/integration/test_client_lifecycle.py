"""The command `nsor` over the life of a record, against a real hub."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nsor.registry.v1.offender_pb2 import FINALITY_FINAL
from nsor_client.cli import main
from nsor_client.protojson import to_json
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

Nsor = Callable[..., str]


@pytest.fixture
def nsor(hub: RunningHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nsor:
    """Runs the command as a node; gives what it prints, or what it says where it ends with this exit code."""
    monkeypatch.setenv("NSOR_TARGET", hub.target)
    monkeypatch.setenv("NSOR_OFFICER", "PB-1")
    monkeypatch.setenv("TERM", "dumb")

    def run(node: str, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["--node", str(hub.folder / "nodes" / node), *arguments])
        captured = capsys.readouterr()
        assert ended.value.code == code, captured.err
        return captured.err if code else captured.out

    return run


def test_a_record_from_its_entry_to_its_end(nsor: Nsor, tmp_path: Path) -> None:
    convict = fresh_offender()
    convict.convictions[0].finality = FINALITY_FINAL
    file = tmp_path / "new.json"
    file.write_text(to_json(convict))
    name = nsor("punjab-police", "offender", "create", str(file)).split()[1]
    assert "conviction 1: " in nsor("punjab-police", "offender", "get", name)

    proposing = ["transfer", "propose", name, "sindh-police", "--etag", "1", "--reason", "moved to Karachi"]
    assert "nodes/punjab-police → nodes/sindh-police" in nsor("punjab-police", *proposing)
    assert name in nsor("sindh-police", "transfer", "list")
    assert name not in nsor("npb", "transfer", "list", "--overdue")
    assert "proposed   to nodes/sindh-police" in nsor("sindh-police", "offender", "get", name)
    assert "owner: nodes/punjab-police" in nsor(
        "sindh-police", "transfer", "decline", name, "--etag", '"2"', "--reason", "not here"
    )
    proposing[5] = "3"
    nsor("punjab-police", *proposing)
    assert "owner: nodes/sindh-police" in nsor("sindh-police", "transfer", "accept", name, "--etag", "4")

    order = ["--date", "2026-06-01", "--order", "Crl. Appeal 120/2026, Lahore High Court"]
    event = ["offender", "court-event", name, "1"]
    refused = nsor("lahore-high-court", *event, "appeal-dismissed", "--etag", "5", *order, code=1)
    assert "COURT_EVENT_NOT_POSSIBLE" in refused
    assert "registered: " in nsor("lahore-high-court", *event, "appeal-filed", "--etag", "5", *order)
    history = nsor("sindh-police", "offender", "history", name).splitlines()
    assert len(history) == 6
    assert "RecordCourtEvent by PB-1 at nodes/lahore-high-court" in history[0]
    assert "because: moved to Karachi" in history[2]
    assert "owner      nodes/punjab-police" in nsor("sindh-police", "offender", "get", name, "--version", "1")
    assert "nodes/fia" in nsor("npb", "offender", "propagation", name)

    assert "sealed: " in nsor("lahore-high-court", *event, "set-aside", "--etag", "6", *order)
    left = nsor("sindh-police", "offender", "get", name)
    assert "status     sealed" in left
    assert not [text for text in (convict.person.cnic, convict.person.full_name, convict.district) if text in left]
    assert "CONVICTION_SET_ASIDE" in nsor("punjab-police", "offender", "create", str(file), code=1)


def test_two_records_of_one_person_become_one(nsor: Nsor, tmp_path: Path) -> None:
    file, people, names = tmp_path / "new.json", [fresh_offender(), fresh_offender()], list[str]()
    for person in people:
        file.write_text(to_json(person))
        names.append(nsor("punjab-police", "offender", "create", str(file)).split()[1])
    merging = ["offender", "merge", *names, "--because", "NADRA: one person, two cards", "--duplicate-etag", "1"]
    assert "ETAG_MISMATCH" in nsor("npb", *merging, "--etag", "2", code=1)
    assert f"merged: {names[0]} (revision " in nsor("npb", *merging, "--etag", "1")
    stays, gone = (nsor("punjab-police", "offender", "get", name) for name in names)
    assert f"born {people[1].person.date_of_birth}: CNIC {people[1].person.cnic}" in stays
    assert "conviction 2: " in stays
    assert "status     merged" in gone
    assert f"merged     into {names[0]}" in gone
    refused = nsor("npb", *merging, "--etag", "2", code=1)
    assert "OFFENDER_MERGED" in refused
    assert "Do it with the record that the error names." in refused


def test_access_from_the_request_to_the_read(nsor: Nsor, tmp_path: Path) -> None:
    convict = fresh_offender()
    file = tmp_path / "new.json"
    file.write_text(to_json(convict))
    record = nsor("sindh-police", "offender", "create", str(file)).split()[1]
    reading = ["offender", "get", record, "--purpose", "investigation", "--fir", "123/2026"]
    refused = nsor("punjab-police", *reading, code=3)
    assert "ACCESS_NOT_GRANTED" in refused
    assert "nsor access request" in refused

    asking = ["access", "request", record, "--fir", "123/2026", "--station", "Civil Lines", "--reason", "named"]
    shown = nsor("punjab-police", *asking, "--scope", "person", "--scope", "notices")
    name = shown.split()[1]
    assert "requested, to be forwarded by" in shown
    assert "FIR        123/2026, Civil Lines" in shown
    assert name in nsor("punjab-prosecution", "access", "list", "--state", "requested")
    assert name not in nsor("npb", "access", "list", "--overdue")
    forwarded = nsor("punjab-prosecution", "access", "forward", name, "--etag", "1", "--reason", "credible")
    assert "by PB-1 at nodes/punjab-prosecution: credible" in forwarded
    granting = ["access", "grant", name, "--etag", '"2"', "--days", "2"]
    assert "INVALID_FIELD" in nsor("npb", *granting, "--scope", "history", code=4)
    assert "granted    person, until " in nsor("npb", *granting, "--scope", "person")
    assert "granted    person, until " in nsor("punjab-police", "access", "get", name)
    read = nsor("punjab-police", *reading)
    assert convict.person.cnic in read
    assert "conviction" not in read

    name = nsor("punjab-police", *asking, "--scope", "convictions").split()[1]
    nsor("punjab-prosecution", "access", "forward", name, "--etag", "1")
    declined = nsor("npb", "access", "decline", name, "--etag", "2", "--reason", "unrelated")
    assert "state      declined" in declined
    assert "at nodes/npb: unrelated" in declined
