"""The command `nsor`, run as people and scripts run it, against a real gRPC server over mutual TLS."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import grpc
import pytest

from nsor.common.v1.access_pb2 import ROLE_POLICE, ROLE_PUBLIC_GATEWAY, ROLE_VETTING_AGENCY
from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.common.v1.officer_pb2 import (
    PURPOSE_INVESTIGATION,
    PURPOSE_RECORD_MAINTENANCE,
    PURPOSE_SUPERVISION,
    PURPOSE_VETTING,
    OfficerContext,
)
from nsor.federation.v1.federation_service_pb2 import (
    Change,
    Event,
    GetFederationStatusResponse,
    ListNodesResponse,
    ReportOutboxResponse,
    WatchChangesResponse,
)
from nsor.federation.v1.node_pb2 import NODE_STATE_ACTIVE, Node
from nsor.lookup.v1.alarm_pb2 import ALARM_KIND_NEAR_NUMBERS, LookupAlarm
from nsor.lookup.v1.consent_pb2 import PASSCODE_DELIVERY_NO_PHONE, PASSCODE_DELIVERY_SENT, GivenConsent, Passcode
from nsor.lookup.v1.consent_service_pb2 import AcknowledgePasscodeResponse, WatchPasscodesResponse
from nsor.lookup.v1.disclosure_pb2 import (
    CHANNEL_BATCH,
    CHANNEL_SINGLE,
    DISCLOSURE_MODE_HIT_WITH_NAME,
    DISCLOSURE_MODE_OFF,
    DisclosurePolicy,
    DisclosureRule,
)
from nsor.lookup.v1.lookup_service_pb2 import (
    CANNOT_ANSWER_REASON_DISCLOSURE_OFF,
    OUTCOME_CANNOT_ANSWER,
    OUTCOME_HIT,
    OUTCOME_INVALID_CNIC,
    OUTCOME_NO_RECORD,
    CheckCnicResponse,
    DisclosedPerson,
    GetDisclosurePolicyResponse,
    ListLookupAlarmsResponse,
    UpdateDisclosurePolicyResponse,
)
from nsor.lookup.v1.vetting_service_pb2 import AddWatchedPeopleResponse, WatchAlertsResponse
from nsor.lookup.v1.watch_list_pb2 import ALERT_KIND_ON_REGISTER, ALERT_KIND_SET_ASIDE, Alert, WatchedPerson
from nsor.monitoring.v1.monitoring_service_pb2 import ListNoticesResponse, RecordNoticeResponse
from nsor.monitoring.v1.notice_pb2 import AddressChange, NameChange, Notice, Travel
from nsor.registry.v1.identity_pb2 import IdentityEvent, NewName
from nsor.registry.v1.offender_pb2 import (
    GUARDIAN_RELATION_HUSBAND,
    SEX_FEMALE,
    SEX_MALE,
    Conviction,
    IdentityHistory,
    Offender,
    Passport,
    Person,
)
from nsor.registry.v1.registry_service_pb2 import (
    CreateOffenderResponse,
    FieldViolation,
    FindOffenderRequest,
    FindOffenderResponse,
    GetOffenderResponse,
    ImportOffendersRequest,
    ImportOffendersResponse,
    ListOffendersResponse,
    ReportIdentityEventResponse,
    RowError,
    UpdateOffenderResponse,
)
from nsor_client.cli import failures, main, render
from nsor_client.cli.offenders import TEMPLATE
from nsor_client.protojson import from_json, to_json
from nsor_client.rows import COLUMNS, RowFile
from tests.support.sdk_hub import CertificateAuthority, ScriptedHub, refuse

pytest_plugins = ["tests.support.sdk_fixtures"]

NAME = "offenders/019a9e4f-0000-7000-8000-000000000001"
AN_OFFENDER = Offender(
    name=NAME,
    owner="nodes/punjab-police",
    district="Lahore",
    person=Person(cnic="35202-0000000-1", full_name="Test Person", guardian_name="Test Guardian", sex=SEX_MALE),
)

WHO = DisclosedPerson(full_name="Test Person", guardian_name="Test Guardian", sex=SEX_MALE)

Nsor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def node(sdk_ca: CertificateAuthority, tmp_path: Path) -> Path:
    credentials = sdk_ca.credentials(ends_in=timedelta(days=30))  # not to be renewed yet
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "cert.pem").write_bytes(credentials.cert_pem)
    (folder / "key.pem").write_bytes(credentials.key_pem)
    (folder / "ca.pem").write_bytes(credentials.ca_pem)
    return folder


@pytest.fixture
def nsor(node: Path, sdk_hub: ScriptedHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nsor:
    """Runs the command with these arguments as the officer PB-1; gives its exit code, output and error output."""
    monkeypatch.setenv("NSOR_NODE", str(node))
    monkeypatch.setenv("NSOR_TARGET", sdk_hub.target)
    monkeypatch.setenv("NSOR_OFFICER", "PB-1")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in captured.err
        return ended.value.code, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("outcome", "code", "says"),
    [
        (OUTCOME_NO_RECORD, 0, "NO RECORD"),
        (OUTCOME_HIT, 10, "HIT"),
        (OUTCOME_INVALID_CNIC, 11, "NOT A CNIC"),
        (OUTCOME_CANNOT_ANSWER, 12, "CANNOT ANSWER"),
        (99, 12, "CANNOT ANSWER"),  # an outcome that is newer than this SDK
    ],
)
def test_check_tells_the_outcome_in_words_and_by_its_code(
    nsor: Nsor, sdk_hub: ScriptedHub, outcome: Any, code: int, says: str
) -> None:
    response = CheckCnicResponse(outcome=outcome, masked_cnic="35202-*****00-1")
    response.as_of_time.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    sdk_hub.answer("CheckCnic", response)
    ended, out, _ = nsor("check", "35202-0000000-1")
    assert ended == code
    assert out.startswith(f"{says}  35202-*****00-1\n")
    assert "known at 2026-01-0" in out
    assert "clean" not in out


def test_a_hit_names_the_person_as_far_as_the_hub_does(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    person = DisclosedPerson(
        full_name="Test Person",
        full_name_ur="نام",
        guardian_name="Test Guardian",
        guardian_relation=GUARDIAN_RELATION_HUSBAND,
        sex=SEX_FEMALE,
    )
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT, person=person))
    _, out, _ = nsor("check", "1")
    assert "Test Person (نام), wife of Test Guardian" in out


def test_check_says_who_asks_and_why(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_NO_RECORD))
    nsor("check", "1")
    nsor("check", "-", "--officer", "PB-2", "--purpose", "investigation", "--fir", "1/2026", stdin="3520200000001")
    vetting, investigation = sdk_hub.requests["CheckCnic"]
    assert (vetting.officer.officer_id, vetting.officer.purpose) == ("PB-1", PURPOSE_VETTING)
    assert (investigation.officer.officer_id, investigation.officer.fir_number) == ("PB-2", "1/2026")
    assert (investigation.officer.purpose, investigation.cnic) == (PURPOSE_INVESTIGATION, "3520200000001")


@pytest.mark.parametrize("command", [["check"], ["offender", "find"], ["mirror", "check", "--mirror", "{}"]])
def test_of_a_text_that_is_too_long_no_part_is_read(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path, command: list[str]
) -> None:
    mirror = tmp_path / "mirror.db"
    mirror.touch()
    text = "9123400000001" + " " * 1987 + "9123400000002"
    code, out, err = nsor(*(part.format(mirror) for part in command), "-", stdin=text)
    assert (code, out, sdk_hub.requests) == (4, "", {})
    assert err == "error: the text is longer than 2000 characters\n"


def test_json_is_one_object_a_line_with_the_names_of_the_contract(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT, masked_cnic="m"))
    code, out, err = nsor("--json", "check", "1")
    assert (code, json.loads(out), err) == (10, {"outcome": "OUTCOME_HIT", "masked_cnic": "m"}, "")
    assert out.count("\n") == 1


def test_the_template_fits_the_contract_and_can_be_sent(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    _, template, _ = nsor("offender", "template")
    sdk_hub.answer("CreateOffender", CreateOffenderResponse(offender=AN_OFFENDER, revision="7"))
    code, out, _ = nsor("offender", "create", "-", stdin=template)
    (request,) = sdk_hub.requests["CreateOffender"]
    assert (code, out) == (0, f"written: {NAME} (revision 7)\n")
    assert request.offender == from_json(TEMPLATE, Offender)
    assert request.officer.purpose == PURPOSE_RECORD_MAINTENANCE
    besides = {"old_nic", "passports", "history"}
    assert {f.name for f in Person.DESCRIPTOR.fields} - besides == json.loads(TEMPLATE)["person"].keys()


def test_nadra_reports_what_a_file_says(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("ReportIdentityEvent", ReportIdentityEventResponse(offender=NAME, revision="7"))
    event = IdentityEvent(cnic="9123400000001", event_date="2026-05-01", new_name=NewName(full_name="Ahmed Khan"))
    code, out, _ = nsor("identity", "report", "-", stdin=to_json(event))
    assert (code, out) == (0, f"kept in {NAME} (revision 7)\n")
    assert sdk_hub.requests["ReportIdentityEvent"][0].event == event


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        (["91234-0000000-1"], FindOffenderRequest(cnic="91234-0000000-1")),
        (["--kind", "old-nic", "970-55-123456"], FindOffenderRequest(old_nic="970-55-123456")),
        (["--kind", "passport", "afg P123"], FindOffenderRequest(passport=Passport(country="AFG", number="P123"))),
        (["-"], FindOffenderRequest(cnic="from stdin")),
    ],
)
def test_a_record_is_found_by_a_document(
    nsor: Nsor, sdk_hub: ScriptedHub, arguments: list[str], request_: FindOffenderRequest
) -> None:
    sdk_hub.answer("FindOffender", FindOffenderResponse(offender=AN_OFFENDER))
    code, out, _ = nsor("offender", "find", *arguments, "--fir", "123/2026", stdin="from stdin\n")
    assert (code, out.split()[:2]) == (0, ["record", NAME])
    [asked] = sdk_hub.requests["FindOffender"]
    assert (asked.officer.purpose, asked.officer.fir_number) == (PURPOSE_INVESTIGATION, "123/2026")
    asked.ClearField("officer")
    assert asked == request_


def test_a_record_shows_what_was_before(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    history = IdentityHistory(death_date="2026-05-03")
    history.former_names.add(full_name="Ahmed Khan", full_name_ur="احمد خان", end_date="2026-05-01")
    history.former_guardians.add(guardian_name="Ali\x1b", guardian_relation=GUARDIAN_RELATION_HUSBAND)
    history.former_cnics.add(cnic="91234-0000000-1", end_date="2026-05-02")
    record = Offender(name=NAME, person=Person(full_name="Bano", history=history))
    sdk_hub.answer("GetOffender", GetOffenderResponse(offender=record))
    _, out, _ = nsor("offender", "get", NAME)
    assert [line for line in out.splitlines() if line.startswith(("formerly", "died"))] == [
        "formerly   Ahmed Khan احمد خان (until 2026-05-01)",
        "formerly   husband: Ali (until )",
        "formerly   91234-0000000-1 (until 2026-05-02)",
        "died       2026-05-03",
    ]


def test_a_record_is_sent_again_under_its_request_id(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text("{}")
    sdk_hub.on["CreateOffender"] = lambda _, context: context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "late")
    code, _, err = nsor("offender", "create", str(tmp_path / "new.json"))
    request_id = sdk_hub.requests["CreateOffender"][0].request_id
    assert code == 5
    assert f"--request-id {request_id}" in err
    nsor("offender", "create", str(tmp_path / "new.json"), "--request-id", request_id)
    assert sdk_hub.requests["CreateOffender"][1].request_id == request_id


@pytest.mark.parametrize("content", ["", "{", '{"Secret": 1}', '{"person": {"sex": "Secret"}}', "x" * 300_000])
def test_a_record_that_cannot_be_read_is_not_sent(nsor: Nsor, sdk_hub: ScriptedHub, content: str) -> None:
    code, _, err = nsor("offender", "create", "-", stdin=content)
    assert code == 4
    assert err.startswith("error: -")
    assert "Secret" not in err
    assert "CreateOffender" not in sdk_hub.requests


def test_a_record_is_shown(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("GetOffender", GetOffenderResponse(offender=AN_OFFENDER))
    code, out, _ = nsor("offender", "get", NAME, "--purpose", "investigation", "--fir", "1/2026")
    assert code == 0
    assert "Test Person, son of Test Guardian" in out
    assert from_json(nsor("--json", "offender", "get", NAME)[1], Offender) == AN_OFFENDER


def test_control_characters_of_others_do_not_reach_the_terminal(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    record = Offender(person=Person(full_name="\x1b]0;title\x07Test\x9b31m", guardian_name="x"))
    sdk_hub.answer("GetOffender", GetOffenderResponse(offender=record))
    _, out, _ = nsor("offender", "get", NAME)
    assert "Test" in out
    assert not any(character in out for character in "\x1b\x07\x9b")


def test_a_list_stops_at_its_limit_and_says_so(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("ListOffenders", ListOffendersResponse(offenders=[AN_OFFENDER] * 3))
    code, out, err = nsor("offender", "list", "--limit", "2")
    assert (code, len(out.splitlines())) == (0, 2)
    assert "more than these 2" in err
    code, out, err = nsor("offender", "list", "--limit", "3")
    assert (len(out.splitlines()), err) == (3, "")


def test_nodes_are_listed(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    node = Node(name="nodes/punjab-police", role=ROLE_POLICE, state=NODE_STATE_ACTIVE, jurisdiction="Punjab")
    node.certificate_expire_time.FromDatetime(datetime(2027, 6, 1, 12, tzinfo=UTC))
    sdk_hub.answer("ListNodes", ListNodesResponse(nodes=[node]))
    _, out, _ = nsor("node", "list")
    for part in ("nodes/punjab-police", "police", "active", "(Punjab)", "2027-06-01"):
        assert part in out


def test_the_policy_is_shown_and_changed_rule_by_rule(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    gateway = [
        DisclosureRule(role=ROLE_PUBLIC_GATEWAY, channel=channel, mode=DISCLOSURE_MODE_HIT_WITH_NAME)
        for channel in (CHANNEL_SINGLE, CHANNEL_BATCH)
    ]
    policy = DisclosurePolicy(rules=gateway, etag="7", updater="nodes/npb", disclose_under_appeal=True)
    sdk_hub.answer("GetDisclosurePolicy", GetDisclosurePolicyResponse(policy=policy))
    sdk_hub.on["UpdateDisclosurePolicy"] = lambda request, _: UpdateDisclosurePolicyResponse(policy=request.policy)
    code, out, _ = nsor("policy", "show")
    assert (code, out.count("hit with name")) == (0, 2)
    assert "A conviction under appeal is disclosed" in out
    code, out, _ = nsor("policy", "set", "--mode", "off", "--channel", "single", "--no-under-appeal")
    assert (code, out.count("off"), out.count("hit with name")) == (0, 2, 1)
    [request] = sdk_hub.requests["UpdateDisclosurePolicy"]
    assert (request.officer.officer_id, request.policy.etag) == ("PB-1", "7")
    assert not request.policy.disclose_under_appeal
    assert sorted((rule.role, rule.channel, rule.mode) for rule in request.policy.rules) == [
        (ROLE_VETTING_AGENCY, CHANNEL_SINGLE, DISCLOSURE_MODE_OFF),
        (ROLE_PUBLIC_GATEWAY, CHANNEL_SINGLE, DISCLOSURE_MODE_OFF),
        (ROLE_PUBLIC_GATEWAY, CHANNEL_BATCH, DISCLOSURE_MODE_HIT_WITH_NAME),
    ]


def test_alarms_are_listed(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    alarm = LookupAlarm(kind=ALARM_KIND_NEAR_NUMBERS, node="nodes/fia", officer_id="F-1", check_count=20)
    sdk_hub.answer("ListLookupAlarms", ListLookupAlarmsResponse(alarms=[alarm]))
    code, out, _ = nsor("alarms")
    assert code == 0
    assert "near numbers  20 since" in out
    assert "nodes/fia F-1" in out


def test_a_check_that_the_policy_does_not_allow_is_told_so(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    answer = CheckCnicResponse(outcome=OUTCOME_CANNOT_ANSWER, cannot_answer_reason=CANNOT_ANSWER_REASON_DISCLOSURE_OFF)
    sdk_hub.answer("CheckCnic", answer)
    code, out, _ = nsor("check", "1")
    assert code == 12
    assert "The disclosure policy of NPB does not allow" in out


def test_notices_are_recorded_and_listed(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    notices = [
        Notice(name_change=NameChange(full_name="New Name")),
        Notice(address_change=AddressChange(address="House 1", district="Lahore")),
        Notice(travel=Travel(destination="AE", return_date="2026-05-01")),
        Notice(),
    ]
    sdk_hub.answer("RecordNotice", RecordNoticeResponse(notice=Notice(name=f"{NAME}/notices/1"), revision="8"))
    sdk_hub.answer("ListNotices", ListNoticesResponse(notices=notices))
    code, out, _ = nsor("notice", "record", NAME, "-", stdin='{"travel": {"destination": "AE"}}')
    assert (code, out) == (0, f"written: {NAME}/notices/1 (revision 8)\n")
    assert sdk_hub.requests["RecordNotice"][0].notice.travel.destination == "AE"
    _, out, _ = nsor("notice", "list", NAME)
    for line, part in zip(out.splitlines(), ("New Name", "House 1, Lahore", "AE", "does not know"), strict=True):
        assert part in line


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("PERMISSION_DENIED", "ERROR_REASON_NOT_OWNER", 3),
        ("UNAUTHENTICATED", "ERROR_REASON_CERTIFICATE_EXPIRED", 3),
        ("INVALID_ARGUMENT", "ERROR_REASON_INVALID_FIELD", 4),
        ("DEADLINE_EXCEEDED", "ERROR_REASON_UNSPECIFIED", 5),
        ("RESOURCE_EXHAUSTED", "ERROR_REASON_TOO_MANY_REQUESTS", 5),
        ("RESOURCE_EXHAUSTED", "ERROR_REASON_MESSAGE_TOO_LARGE", 1),
        ("NOT_FOUND", "ERROR_REASON_OFFENDER_NOT_FOUND", 1),
        ("ALREADY_EXISTS", "ERROR_REASON_OF_NEXT_YEAR", 1),
    ],
)
def test_a_refusal_is_told_with_its_reason_fields_and_what_to_do(
    nsor: Nsor, sdk_hub: ScriptedHub, status: str, reason: str, code: int
) -> None:
    sdk_hub.on["GetOffender"] = lambda _, context: refuse(
        context,
        grpc.StatusCode[status],
        "what happened",
        reason,
        metadata={"owner": "nodes/sindh-police"},
        fields=(("name", "PATTERN", "is no name"),),
    )
    ended, out, err = nsor("offender", "get", "x")
    assert (ended, out) == (code, "")
    assert err.startswith(f"error: what happened\n  {status} {reason}\n  name: is no name (PATTERN)\n")
    assert "owner: nodes/sindh-police" in err
    if advice := failures.ADVICE.get(dict(ErrorReason.items()).get(reason)):  # type: ignore[arg-type]
        assert f"what to do: {advice}" in err


def test_every_reason_of_the_contract_has_advice() -> None:
    assert failures.ADVICE.keys() == set(ErrorReason.values()) - {ErrorReason.ERROR_REASON_UNSPECIFIED}


def test_a_hub_that_is_not_there_is_told_in_words(nsor: Nsor) -> None:
    code, _, err = nsor("--target", "hub.invalid:7443", "check", "1")
    assert code == 5
    assert err.startswith("error: The name 'hub.invalid' cannot be resolved")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--node", "nowhere", "node", "list"], "cannot read nowhere/cert.pem"),
        (["--target", "nowhere", "node", "list"], "HOST:PORT"),
        (["check"], "give one number"),
        (["check", "1", "--purpose", "curiosity"], "curiosity"),
        (["import", "nowhere.csv"], "does not exist"),
        (["offender", "create", "nowhere.json"], "nowhere.json: No such file"),
    ],
)
def test_wrong_use_ends_with_2(nsor: Nsor, arguments: list[str], says: str) -> None:
    code, _, err = nsor(*arguments)
    assert code == 2
    assert says in err


@pytest.mark.parametrize(("variable", "option"), [("NSOR_NODE", "--node DIR"), ("NSOR_TARGET", "--target HOST:PORT")])
def test_what_is_missing_is_named(nsor: Nsor, monkeypatch: pytest.MonkeyPatch, variable: str, option: str) -> None:
    monkeypatch.delenv(variable)
    code, _, err = nsor("node", "list")
    assert code == 2
    assert f"use {option}, or set {variable}" in err


def test_help_states_the_exit_codes_and_examples(nsor: Nsor) -> None:
    _, out, _ = nsor("--help")
    for part in ("Examples:", "nsor import convictions.csv", "Exit codes:", "10  check: hit", "6  import: some rows"):
        assert part in out


def csv_file(folder: Path, *districts: str) -> Path:
    path = folder / "convictions.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for district in districts:
            writer.writerow({"cnic": "35202-0000000-1", "full_name": "Test Person", "district": district})
    return path


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_an_export_can_be_imported(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path, name: str) -> None:
    record = Offender(person=AN_OFFENDER.person, convictions=[Conviction(court="Sessions Court")])
    sdk_hub.answer("ListOffenders", ListOffendersResponse(offenders=[record, record]))
    path = tmp_path / name
    code, out, _ = nsor("export", str(path), "--filter", "owner = nodes/x", "--officer", "PB-1")
    assert (code, out) == (0, f"2 records in {path}\n")
    [request] = sdk_hub.requests["ListOffenders"]
    assert request.filter == "status = REGISTERED AND owner = nodes/x"
    assert path.stat().st_mode & 0o777 == 0o600
    people = [row.offender.person for row in RowFile(path) if isinstance(row, ImportOffendersRequest)]
    assert people == [AN_OFFENDER.person] * 2


def test_an_export_that_fails_leaves_the_file_as_it_was(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("before")

    def fail(request: Any, context: grpc.ServicerContext) -> ListOffendersResponse:
        if request.page_token:
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "no", "ERROR_REASON_NODE_NOT_ACTIVE")
        return ListOffendersResponse(offenders=[AN_OFFENDER], next_page_token="2")

    sdk_hub.on["ListOffenders"] = fail
    assert nsor("export", str(path))[0] == 3
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["out.jsonl"]


def write_rows(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
    for request in requests:
        if request.offender.district == "Nowhere":
            violation = FieldViolation(field="offender.district", reason="UNKNOWN_DISTRICT")
            reason = ErrorReason.ERROR_REASON_INVALID_FIELD
            error = RowError(reason=reason, field_violations=[violation])
            yield ImportOffendersResponse(row=request.row, error=error)
        else:
            yield ImportOffendersResponse(row=request.row, offender=f"offenders/{request.row}")


def test_import_tells_what_became_of_each_row(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path) -> None:
    sdk_hub.on["ImportOffenders"] = write_rows
    path = csv_file(tmp_path, "Lahore", "Nowhere")
    path.write_text(path.read_text() + "too,few,cells\n")
    code, out, err = nsor("import", str(path), "--result", str(tmp_path / "result.csv"))
    assert (code, err) == (6, "")
    assert out.startswith("3 rows: 1 written, 2 refused\n")
    assert "row 2: INVALID_FIELD district:UNKNOWN_DISTRICT" in out
    result = (tmp_path / "result.csv").read_text()
    assert sorted(cells[:-1] for cells in csv.reader(result.splitlines())) == [
        ["1", "written", "offenders/1", "", ""],
        ["2", "refused", "", "INVALID_FIELD", "district:UNKNOWN_DISTRICT"],
        ["3", "refused", "", "INVALID_FIELD", "offender:COLUMN_COUNT"],
        ["row", "result", "offender", "reason", "fields"],
    ]
    for text in (out, result):
        assert "35202" not in text
        assert "Test Person" not in text


def test_import_of_good_rows_ends_with_0_and_prints_json_where_asked(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path
) -> None:
    sdk_hub.on["ImportOffenders"] = write_rows
    code, out, err = nsor("--json", "import", str(csv_file(tmp_path, *["Lahore"] * 300)))
    assert (code, err) == (0, "300 rows: 300 written, 0 refused\n")
    assert [json.loads(line)["row"] for line in out.splitlines()] == [str(row) for row in range(1, 301)]


def test_an_import_that_is_cut_is_sent_again_with_the_same_request_ids(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path
) -> None:
    ids: list[list[str]] = []

    def cut(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        ids.append([next(requests).request_id for _ in range(3)])
        yield ImportOffendersResponse(row=1, offender="offenders/1")
        refuse(context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE")

    sdk_hub.on["ImportOffenders"] = cut
    path = csv_file(tmp_path, *["Lahore"] * 5)
    for _ in range(2):
        code, out, err = nsor("import", str(path))
        assert (code, out) == (5, "1 rows: 1 written, 0 refused\n")
        assert err.startswith("The import was cut. The same command again: nobody is entered twice.\nerror: ")
    assert ids[0] == ids[1]


def test_an_import_goes_on_where_its_result_file_ends(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path) -> None:
    sent: list[int] = []

    def cut(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        for request in requests:
            sent.append(request.row)
            yield ImportOffendersResponse(row=request.row, offender=f"offenders/{request.row}")
            if request.row == 3:
                refuse(context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE")

    sdk_hub.on["ImportOffenders"] = cut
    path, result = csv_file(tmp_path, *["Lahore"] * 5), tmp_path / "result.csv"
    assert nsor("import", str(path), "--result", str(result))[0] == 5
    with result.open("a") as file:
        file.write("4,writ")  # the machine went down as well
    code, out, _ = nsor("import", str(path), "--result", str(result))
    assert (code, out) == (0, "5 rows: 5 written, 0 refused\n")
    assert sent == [1, 2, 3, 4, 5]
    assert [cells[:3] for cells in csv.reader(result.read_text().splitlines())][1:] == [
        [str(row), "written", f"offenders/{row}"] for row in range(1, 6)
    ]
    path.write_text(path.read_text() + "\n")
    code, _, err = nsor("import", str(path), "--result", str(result))
    assert (code, err) == (4, f"error: {result} has the results of another file: give another file\n")


def test_a_dry_run_is_told_apart(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path) -> None:
    def try_out(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        for request in requests:
            assert request.validate_only
            yield ImportOffendersResponse(row=request.row, valid=True)

    sdk_hub.on["ImportOffenders"] = try_out
    path, result = csv_file(tmp_path, "Lahore", "Lahore"), tmp_path / "found.csv"
    code, out, _ = nsor("import", str(path), "--dry-run", "--result", str(result))
    assert (code, out) == (0, "2 rows: 2 valid, 0 refused\n")
    assert nsor("import", str(path), "--result", str(result))[0] == 4


def test_a_file_without_header_is_refused(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path) -> None:
    sdk_hub.on["ImportOffenders"] = write_rows
    path = tmp_path / "convictions.csv"
    path.write_text("35202-0000000-1,Test Person\n")
    code, _, err = nsor("import", str(path))
    assert code == 4
    assert "error: the header lacks the columns cnic" in err


def test_a_result_file_that_cannot_be_written_is_told(nsor: Nsor, tmp_path: Path) -> None:
    code, _, err = nsor("import", str(csv_file(tmp_path)), "--result", str(tmp_path / "no" / "result.csv"))
    assert code == 1
    assert err == f"error: {tmp_path / 'no' / 'result.csv'}: No such file or directory\n"


def changes(request: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
    """Two responses, after which the hub goes down; when it is back, it is that of another epoch."""
    if request.after == "9":
        refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "restored", "ERROR_REASON_REVISION_EPOCH_CHANGED")
    yield WatchChangesResponse(revision="8")
    event = Event(changes=[Change(offender=AN_OFFENDER), Change(notice=Notice(name=f"{NAME}/notices/1"))])
    yield WatchChangesResponse(revision="9", events=[event])
    refuse(context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE")


def test_watch_shows_each_change_and_the_state_of_the_line(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["WatchChanges"] = changes
    code, out, err = nsor("watch", "--after", "7")
    offender, notice = out.splitlines()
    assert NAME in offender
    assert "Test Person, son of Test Guardian" in offender
    assert f"{NAME}/notices/1" in notice
    assert [request.after for request in sdk_hub.requests["WatchChanges"]] == ["7", "9"]
    connected, waiting, to_continue, error, *_ = err.splitlines()
    assert connected == "connected"
    assert re.fullmatch(r"no line, next try in 0\.\d s: going down", waiting)
    assert to_continue == "To continue: nsor watch --after 9"
    assert (code, error) == (1, "error: restored")


def test_watch_as_json_prints_bookmarks_too(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["WatchChanges"] = changes
    _, out, _ = nsor("--json", "watch")
    assert [json.loads(line)["revision"] for line in out.splitlines()] == ["8", "9"]


def test_watched_people_are_told_of_over_a_lost_line(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    first, second = (f"alerts/019a9e4f-0000-7000-8000-{number:012}" for number in (1, 2))
    teacher = WatchedPerson(name="watchedPeople/1", reference="e-1044")

    def alerts(request: Any, context: grpc.ServicerContext) -> Iterator[WatchAlertsResponse]:
        if request.after == second:
            refuse(context, grpc.StatusCode.OUT_OF_RANGE, "not there", "ERROR_REASON_ALERT_NOT_FOUND")
        yield WatchAlertsResponse()
        found = [Alert(name=first, kind=ALERT_KIND_ON_REGISTER, watched_person=teacher, person=WHO)]
        found.append(Alert(name=second, kind=ALERT_KIND_SET_ASIDE, watched_person=teacher))
        yield WatchAlertsResponse(alerts=found)
        refuse(context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE")

    sdk_hub.on["WatchAlerts"] = alerts
    code, out, err = nsor("vetting", "watch")
    on_register, set_aside = out.splitlines()
    assert on_register.endswith("  ON REGISTER  e-1044  watchedPeople/1  Test Person, son of Test Guardian")
    assert set_aside.endswith("  SET ASIDE  e-1044  watchedPeople/1")
    assert [request.after for request in sdk_hub.requests["WatchAlerts"]] == ["", second]
    assert f"To continue: nsor vetting watch --after {second}\nerror: not there\n" in err
    assert code == 1
    _, out, _ = nsor("--json", "vetting", "watch")
    assert [len(from_json(line, WatchAlertsResponse).alerts) for line in out.splitlines()] == [0, 2]


def added(request: Any, _: grpc.ServicerContext) -> AddWatchedPeopleResponse:
    """Everybody is new on the list."""
    names = [f"watchedPeople/{uuid4()}" for _ in request.people]
    return AddWatchedPeopleResponse(watched_people=names, added_count=len(names))


def test_people_of_a_file_are_put_on_the_watch_list(nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path) -> None:
    sdk_hub.on["AddWatchedPeople"] = added
    file = tmp_path / "people.csv"
    file.write_text('\ufeffcnic,name,consent_reference\n1,"A, B",f-1\n\n2\n', encoding="utf-8")
    assert nsor("vetting", "add", str(file))[:2] == (0, "2 put on the watch list, 0 were on it already\n")
    [request] = sdk_hub.requests["AddWatchedPeople"]
    assert [(person.cnic, person.consent_reference) for person in request.people] == [("1", "f-1"), ("2", "")]


def many_people(folder: Path) -> str:
    """A file with 1,500 rows of people, and an empty line among them."""
    file = folder / "people.csv"
    rows = [f"{number},f" for number in range(1, 1500)]
    file.write_text("\n".join(["cnic,consent_reference", "", *rows]) + "\n")
    return str(file)


def test_a_hub_that_is_told_too_many_people_gets_them_when_it_can(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path
) -> None:
    asked_at = list[float]()

    def slow(request: Any, context: grpc.ServicerContext) -> AddWatchedPeopleResponse:
        asked_at.append(monotonic())
        if len(asked_at) in (2, 3):
            reason = "ERROR_REASON_TOO_MANY_REQUESTS"
            refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too fast", reason, retry_after=0.6)
        return added(request, context)

    sdk_hub.on["AddWatchedPeople"] = slow
    code, out, err = nsor("vetting", "add", many_people(tmp_path))
    assert (code, out.splitlines()) == (0, [f"{n} put on the watch list, 0 were on it already" for n in (1000, 499)])
    assert err == "The hub takes so many people a second and no more: going on in 1 s.\n" * 2
    sent = [[person.cnic for person in request.people] for request in sdk_hub.requests["AddWatchedPeople"]]
    assert sent[1] == sent[2] == sent[3] == [str(number) for number in range(1001, 1500)]
    assert all(later - earlier >= 0.6 for earlier, later in pairwise(asked_at[1:]))


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("INVALID_ARGUMENT", "ERROR_REASON_INVALID_FIELD", 4),
        ("FAILED_PRECONDITION", "ERROR_REASON_WATCH_LIST_FULL", 1),
        ("DEADLINE_EXCEEDED", "ERROR_REASON_UNSPECIFIED", 5),
        ("RESOURCE_EXHAUSTED", "ERROR_REASON_TOO_MANY_REQUESTS", 5),  # without a time to wait
    ],
)
def test_how_far_the_people_of_a_file_came_is_told(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path, status: str, reason: str, code: int
) -> None:
    def refuse_the_second(request: Any, context: grpc.ServicerContext) -> AddWatchedPeopleResponse:
        if request.people[0].cnic != "1":
            refuse(context, grpc.StatusCode[status], "what happened", reason)
        return added(request, context)

    sdk_hub.on["AddWatchedPeople"] = refuse_the_second
    ended, out, err = nsor("vetting", "add", many_people(tmp_path))
    assert (ended, out) == (code, "1000 put on the watch list, 0 were on it already\n")
    assert err.startswith(
        "Rows before 1002 of the file are on the list; people[0] below is row 1002.\n"
        "The same command can be given again: who is on the list stays.\nerror: what happened\n"
    )
    assert "--request-id" not in err


@pytest.mark.parametrize("broken", ['"Secret,f\n3,f\n4,f\n', '"Secret" 2,f\n', '3,"Secret'])
@pytest.mark.parametrize("command", [["vetting", "add"], ["reconcile"]])
def test_a_file_with_a_row_that_could_swallow_others_is_not_sent(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path, command: list[str], broken: str
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("cnic,consent_reference\n" + "1,f\n" * 1500 + broken)
    code, out, err = nsor(*command, str(file))
    assert (code, out, sdk_hub.requests) == (4, "", {})
    assert err.startswith(f"error: row 1501 of {file} cannot be read: its quotes are broken")
    assert "Secret" not in err


def test_a_register_to_compare_names_the_column_of_its_numbers(nsor: Nsor, tmp_path: Path) -> None:
    file = tmp_path / "ours.csv"
    file.write_text("91234-0000000-1\n")
    code, _, err = nsor("reconcile", str(file))
    assert (code, err) == (4, f"error: the header of {file} names no column 'cnic'\n")


def test_status_is_a_table_with_a_line_for_each_node(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    response = GetFederationStatusResponse(revision="e.7")
    sdk_hub.answer("GetFederationStatus", response)
    _, out, _ = nsor("status")
    assert out.endswith("\nNo node has acknowledged anything yet.\n")
    assert "one has not reported" in out
    sindh_node = response.nodes.add(node="nodes/sindh-police", events_behind=12, seconds_behind=3.25)
    for time in (response.provinces_as_of_time, sindh_node.complete_time):
        time.FromJsonString("2026-11-22T05:00:00Z")
    sindh_node.slowest_outbox_id = "5f3e"
    response.nodes.add(node="nodes/fia")
    code, out, _ = nsor("status")
    head, provinces, _, sindh, fia = out.splitlines()
    assert code == 0
    assert head.startswith("register at e.7, as known at ")
    assert provinces.endswith(f"up to {render.moment(response.provinces_as_of_time)}.")
    assert sindh.split()[:3] == ["nodes/sindh-police", "12", "3.2"]
    assert sindh.endswith(f"{render.moment(sindh_node.complete_time)} by 5f3e")
    assert fia.split()[:3] == ["nodes/fia", "0", "0.0"]
    _, out, _ = nsor("--json", "status")
    assert from_json(out, GetFederationStatusResponse) == response


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Processes take SIGINT, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_a_watch_well(node: Path, sdk_hub: ScriptedHub) -> None:
    def endless(request: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        yield from islice(changes(request, context), 2)
        ended.wait(60)

    ended = threading.Event()
    sdk_hub.on["WatchChanges"] = endless
    code = "from nsor_client.cli import main; main()"
    command = [sys.executable, "-c", code, "--node", str(node), "--target", sdk_hub.target, "watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert NAME in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        ended.set()
    assert process.returncode == 0
    # 8 where Ctrl-C came right behind the line: then the change is shown once more, and never left out.
    assert err in {f"connected\nTo continue: nsor watch --after {revision}\n" for revision in (8, 9)}


def test_the_outbox_queues_without_a_line_sends_and_keeps_what_was_refused(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Any, context: grpc.ServicerContext) -> CreateOffenderResponse:
        refuse(context, grpc.StatusCode.ALREADY_EXISTS, "why", "ERROR_REASON_OFFENDER_ALREADY_EXISTS")

    monkeypatch.setenv("NSOR_OUTBOX", str(tmp_path / "outbox.db"))
    assert nsor("outbox", "list")[1] == "The outbox is empty.\n"
    nsor("outbox", "add", "-", stdin='{"district": "Lahore"}')
    nsor("outbox", "add", "-", "--update", "district", stdin='{"district": "Multan"}')
    nsor("outbox", "add", "-", "--notice-of", NAME, stdin="{}")
    _, out, _ = nsor("--json", "outbox", "list")
    entries = [json.loads(line) for line in out.splitlines()]
    assert [entry["kind"] for entry in entries] == ["CreateOffender", "UpdateOffender", "RecordNotice"]
    assert {entry["state"] for entry in entries} == {"queued"}

    sdk_hub.on["CreateOffender"] = refused
    sdk_hub.answer("UpdateOffender", UpdateOffenderResponse(revision="e.7"))
    sdk_hub.answer("RecordNotice", RecordNoticeResponse(revision="e.8"))
    sdk_hub.answer("ReportOutbox", ReportOutboxResponse())
    code, _, err = nsor("outbox", "send")
    assert code == 6
    assert err.endswith("\n2 written, 1 refused, 0 waiting\n")
    assert sdk_hub.requests["UpdateOffender"][0].update_mask.paths == ["district"]
    assert sdk_hub.requests["RecordNotice"][0].officer == OfficerContext(officer_id="PB-1", purpose=PURPOSE_SUPERVISION)
    assert "ERROR_REASON_OFFENDER_ALREADY_EXISTS" in nsor("outbox", "list")[1]
    assert nsor("outbox", "drop", "1")[0] == 0
    assert nsor("outbox", "drop", "1")[0] == 4

    sdk_hub.on["RecordNotice"] = lambda _, context: refuse(
        context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE"
    )
    nsor("outbox", "add", "-", "--notice-of", NAME, stdin="{}")
    code, _, err = nsor("outbox", "send")
    assert (code, err) == (5, "0 written, 0 refused, 1 waiting\nstopped: going down\n")


def test_every_command_has_a_help_of_its_own(nsor: Nsor) -> None:
    for command in (
        ["check"],
        ["watch"],
        ["status"],
        ["import"],
        ["offender", "template"],
        ["offender", "create"],
        ["offender", "get"],
        ["offender", "list"],
        ["notice", "record"],
        ["notice", "list"],
        ["node", "list"],
        ["alarms"],
        ["policy", "show"],
        ["policy", "set"],
        ["vetting", "add"],
        ["vetting", "list"],
        ["vetting", "remove"],
        ["vetting", "watch"],
        ["outbox", "add"],
        ["outbox", "send"],
        ["outbox", "list"],
        ["outbox", "drop"],
        ["mirror", "build"],
        ["mirror", "follow"],
        ["mirror", "check"],
        ["mirror", "status"],
    ):
        code, out, _ = nsor(*command, "--help")
        assert code == 0
        assert f"nsor {' '.join(command)}" in out or " ".join(command) in out


def test_a_login_is_the_officer_by_default(nsor: Nsor, sdk_hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSOR_OFFICER")
    monkeypatch.setenv("LOGNAME", login := f"login-{uuid4()}")
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_NO_RECORD))
    nsor("check", "1")
    assert sdk_hub.requests["CheckCnic"][0].officer.officer_id == login


def test_an_outbox_that_is_lost_is_given_up(nsor: Nsor, sdk_hub: ScriptedHub) -> None:
    lost = "3f0c1a52-7a7e-4c52-9a8d-0d6f3c1f2b11"
    sdk_hub.answer("ReportOutbox", ReportOutboxResponse())
    assert nsor("outbox", "forget", lost)[0] == 0
    [report] = sdk_hub.requests["ReportOutbox"]
    assert (report.outbox_id, report.closed) == (lost, True)


CONSENT = "consents/3f0c1a52-7a7e-4c52-9a8d-0d6f3c1f2b11"


@pytest.mark.parametrize("typed", [["--passcode", "135791"], []])
def test_a_check_takes_the_passcode_of_a_consent(
    nsor: Nsor, sdk_hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch, typed: list[str]
) -> None:
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_NO_RECORD))
    monkeypatch.setattr("getpass.getpass", lambda prompt, stream=None: "135791")
    code, out, err = nsor("check", "1", "--consent", CONSENT, *typed)
    assert code == 0
    assert sdk_hub.requests["CheckCnic"][0].consent == GivenConsent(name=CONSENT, passcode="135791")
    assert "135791" not in out + err


@pytest.mark.parametrize(
    ("ends_with", "code", "deliveries"),
    [(0, 0, [PASSCODE_DELIVERY_SENT]), (1, 0, [PASSCODE_DELIVERY_NO_PHONE]), (7, 4, [])],
)
def test_passcodes_are_brought_by_a_command(
    nsor: Nsor, sdk_hub: ScriptedHub, tmp_path: Path, ends_with: int, code: int, deliveries: list[int]
) -> None:
    passcode = Passcode(consent=CONSENT, cnic="91234-0000000-1", passcode="135791", requester="nodes/sed-punjab")
    answers = [WatchPasscodesResponse(), WatchPasscodesResponse(passcodes=[passcode])]
    sdk_hub.on["WatchPasscodes"] = lambda request, context: iter(answers)
    sdk_hub.answer("AcknowledgePasscode", AcknowledgePasscodeResponse())
    phone = tmp_path / "phone"
    command = f"sh -c 'cat > {phone}; exit {ends_with}'"
    ended, out, err = nsor("consent", "deliver", "--count", "1", "--command", command)
    assert ended == code
    assert from_json(phone.read_text(), Passcode) == passcode
    acknowledged = sdk_hub.requests.get("AcknowledgePasscode", [])
    assert [(each.consent, each.delivery) for each in acknowledged] == [(CONSENT, each) for each in deliveries]
    assert "135791" not in out + err
    assert "91234" not in out + err
