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
