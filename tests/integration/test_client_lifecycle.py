"""The command `nsor` over the life of a record, against a real hub."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nsor.registry.v1.offender_pb2 import FINALITY_FINAL, Offender
from nsor_client.cli import main
from nsor_client.protojson import to_json
from nsor_client.rows import write_csv
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


def test_a_file_lets_in_who_is_compared_and_another_person(nsor: Nsor, tmp_path: Path) -> None:
    known, twin, cousin = (fresh_offender() for _ in range(3))
    for alike in (twin, cousin):
        cnic = alike.person.cnic
        alike.person.CopyFrom(known.person)
        alike.person.cnic = cnic
    rows, result = tmp_path / "rows.csv", tmp_path / "result.csv"

    def enter(*people: Offender, code: int, override: str = "") -> list[list[str]]:
        with rows.open("w", newline="") as file:
            write_csv(people, file)
        if override:
            header, *lines = rows.read_text().splitlines()
            lines = [f"{header},not_the_same_as,because", *(f"{line},{override}" for line in lines)]
            rows.write_text("\n".join(lines))
        nsor("punjab-police", "import", str(rows), "--result", str(result), code=code)
        found = [line.split(",") for line in result.read_text().splitlines()[1:]]
        result.unlink()
        return found

    [[_, _, name, _, _, _]] = enter(known, code=0)
    [[_, what, alike, reason, _, _]] = enter(twin, code=6)
    assert (what, alike, reason) == ("refused", name, "LIKELY_DUPLICATE"), "the result names whom to compare"
    [[_, _, _, reason, fields, _]] = enter(twin, code=6, override=f"{alike},")
    assert (reason, fields) == ("INVALID_FIELD", "reason:REQUIRED")
    [[_, what, second, _, _, _]] = enter(twin, code=0, override=f"{alike},twins")
    assert what == "written"
    assert f"not the same as {name}: twins" in nsor("punjab-police", "offender", "history", second)

    [[_, _, both, _, _, _]] = enter(cousin, code=6)
    assert set(both.split()) == {name, second}
    override = {"not_the_same_as": both.split(), "reason": "cousin"}
    line = {"offender": json.loads(to_json(cousin)), "duplicate_override": override}
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(line))
    assert "1 rows: 1 written, 0 refused" in nsor("punjab-police", "import", str(rows), "--result", str(result))


def test_the_outbox_lets_in_who_is_compared_and_another_person(
    nsor: Nsor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSOR_OUTBOX", str(tmp_path / "outbox.db"))
    known, twin = fresh_offender(), fresh_offender()
    cnic = twin.person.cnic
    twin.person.CopyFrom(known.person)
    twin.person.cnic = cnic
    file = tmp_path / "new.json"
    file.write_text(to_json(known))
    name = nsor("punjab-police", "offender", "create", str(file)).split()[1]
    file.write_text(to_json(twin))
    nsor("punjab-police", "outbox", "add", str(file))
    overriding = ["outbox", "override", "1", "--not-the-same-as", name, "--because", "twins"]
    assert "no creation that was refused" in nsor("punjab-police", *overriding, code=4)
    nsor("punjab-police", "outbox", "send", code=6)
    assert f"{name}=1.00" in nsor("punjab-police", "outbox", "list")
    assert "queued" in nsor("punjab-police", *overriding)
    nsor("punjab-police", "outbox", "send")
    assert "The outbox is empty." in nsor("punjab-police", "outbox", "list")
    written = nsor("punjab-police", "offender", "find", cnic, "--purpose", "record-maintenance").split()[1]
    assert f"not the same as {name}: twins" in nsor("punjab-police", "offender", "history", written)


def test_two_records_of_one_person_become_one(nsor: Nsor, tmp_path: Path) -> None:
    file, people, names = tmp_path / "new.json", [fresh_offender(), fresh_offender()], list[str]()
    for person in people:
        file.write_text(to_json(person))
        names.append(nsor("punjab-police", "offender", "create", str(file)).split()[1])
    merging = ["offender", "merge", *names, "--reason", "NADRA: one person, two cards", "--duplicate-etag", "1"]
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
    revoked = nsor("npb", "access", "revoke", name, "--etag", "3", "--reason", "the officer left the case")
    assert "state      revoked" in revoked
    assert "revoked    " in revoked
    assert "ACCESS_NOT_GRANTED" in nsor("punjab-police", *reading, code=3)

    name = nsor("punjab-police", *asking, "--scope", "convictions").split()[1]
    nsor("punjab-prosecution", "access", "forward", name, "--etag", "1")
    declined = nsor("npb", "access", "decline", name, "--etag", "2", "--reason", "unrelated")
    assert "state      declined" in declined
    assert "at nodes/npb: unrelated" in declined
