"""The calls of the SDK, of the async and the sync client alike, against a real gRPC server over mutual TLS."""

import ast
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest

from nsor.common.v1.officer_pb2 import PURPOSE_VETTING, OfficerContext
from nsor.federation.v1.federation_service_pb2 import ListNodesResponse, ReportOutboxResponse
from nsor.federation.v1.node_pb2 import Node
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_CANNOT_ANSWER, OUTCOME_HIT, CheckCnicResponse
from nsor.lookup.v1.vetting_service_pb2 import WatchAlertsRequest, WatchAlertsResponse
from nsor.lookup.v1.watch_list_pb2 import Alert
from nsor.monitoring.v1.monitoring_service_pb2 import ListNoticesResponse, RecordNoticeResponse
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import (
    CreateOffenderRequest,
    CreateOffenderResponse,
    FindOffenderResponse,
    GetOffenderResponse,
    ListOffendersResponse,
    UpdateOffenderResponse,
)
from nsor_client import Client, DeadlineExceeded, PermissionDenied, Unavailable
from nsor_client.channel import SERVICES, Endpoint, may_be_retried, service_config
from tests.support.rosters import answer_all
from tests.support.sdk_hub import (
    CertificateAuthority,
    ScriptedHub,
    gathered,
    refuse,
    serving,
    settled,
    snapshot_of,
    step,
)

pytest_plugins = ["tests.support.sdk_fixtures"]

OFFICER = OfficerContext(officer_id="PB-1", purpose=PURPOSE_VETTING)
ID = "019a9e4f-0000-7000-8000-000000000001"


async def test_check_sends_what_was_given_and_returns_the_answer(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT))
    response = await settled(sdk_client.check_cnic("35202 ۰", officer=OFFICER, at_least_revision="7"))
    (request,) = sdk_hub.requests["CheckCnic"]
    assert response.outcome == OUTCOME_HIT
    assert (request.cnic, request.officer, request.at_least_revision) == ("35202 ۰", OFFICER, "7")


async def test_a_record_is_found_by_one_document(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    record = Offender(name="offenders/1")
    sdk_hub.answer("FindOffender", FindOffenderResponse(offender=record))
    assert await settled(sdk_client.find_offender(OFFICER, old_nic="970-55-123456")) == record
    (request,) = sdk_hub.requests["FindOffender"]
    assert (request.WhichOneof("document"), request.old_nic) == ("old_nic", "970-55-123456")
    for documents in ({}, {"cnic": "", "old_nic": ""}):
        with pytest.raises(ValueError, match="give one"):
            await settled(sdk_client.find_offender(OFFICER, **documents))


async def test_a_record_is_created_read_and_updated(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    record = Offender(name="offenders/1", etag="e", district="Lahore")
    sdk_hub.answer("CreateOffender", CreateOffenderResponse(offender=record, revision="1"))
    sdk_hub.answer("GetOffender", GetOffenderResponse(offender=record))
    sdk_hub.answer("UpdateOffender", UpdateOffenderResponse(offender=record, revision="2"))

    created = await settled(sdk_client.create_offender(record, request_id=ID, officer=OFFICER))
    read = await settled(sdk_client.get_offender("offenders/1", OFFICER))
    updated = await settled(sdk_client.update_offender(read, ["district", "person.full_name"], request_id=ID))

    assert (created.revision, read, updated.revision) == ("1", record, "2")
    assert sdk_hub.requests["CreateOffender"][0].request_id == ID
    assert sdk_hub.requests["UpdateOffender"][0].update_mask.paths == ["district", "person.full_name"]


async def test_a_notice_is_recorded(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    notice = Notice(notified_date="2026-01-01")
    sdk_hub.answer("RecordNotice", RecordNoticeResponse(notice=notice, revision="1"))
    response = await settled(sdk_client.record_notice("offenders/1", notice, officer=OFFICER))
    assert response.notice == notice
    assert sdk_hub.requests["RecordNotice"][0].parent == "offenders/1"


@pytest.mark.parametrize(
    ("method", "arguments", "response", "field", "item"),
    [
        ("list_offenders", [OFFICER], ListOffendersResponse, "offenders", Offender),
        ("list_notices", ["offenders/1", OFFICER], ListNoticesResponse, "notices", Notice),
        ("list_nodes", [], ListNodesResponse, "nodes", Node),
    ],
)
async def test_a_list_goes_through_every_page(
    sdk_client: Any, sdk_hub: ScriptedHub, method: str, arguments: list[Any], response: Any, field: str, item: Any
) -> None:
    pages = {"": (["a", "b"], "t1"), "t1": ([], "t2"), "t2": (["c"], "")}

    def page(request: Any, context: grpc.ServicerContext) -> Any:
        names, following = pages[request.page_token]
        return response(**{field: [item(name=name) for name in names], "next_page_token": following})

    rpc = response.DESCRIPTOR.name.removesuffix("Response")
    sdk_hub.on[rpc] = page
    found = await gathered(getattr(sdk_client, method)(*arguments, page_size=2))
    assert [record.name for record in found] == ["a", "b", "c"]
    assert [request.page_size for request in sdk_hub.requests[rpc]] == [2, 2, 2]


async def test_pages_are_fetched_only_as_they_are_needed(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("ListNodes", ListNodesResponse(nodes=[Node(name="a")], next_page_token="more"))
    nodes = sdk_client.list_nodes()
    await step(nodes)
    assert len(sdk_hub.requests["ListNodes"]) == 1


async def test_a_write_is_tried_again_with_the_same_request_id(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> CreateOffenderResponse:
        if len(sdk_hub.requests["CreateOffender"]) < 3:
            refuse(context, grpc.StatusCode.UNAVAILABLE, "no", "ERROR_REASON_DATABASE_UNAVAILABLE")
        return CreateOffenderResponse(revision="1")

    sdk_hub.on["CreateOffender"] = answer
    response = await settled(sdk_client.create_offender(Offender()))
    ids = [request.request_id for request in sdk_hub.requests["CreateOffender"]]
    assert response.revision == "1"
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert UUID(ids[0]).version == 4


async def test_what_the_hub_refused_is_not_tried_again(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnic"] = lambda _, context: refuse(
        context, grpc.StatusCode.INTERNAL, "no", "ERROR_REASON_INTERNAL"
    )
    with pytest.raises(Exception, match="INTERNAL"):
        await settled(sdk_client.check_cnic("1"))
    assert len(sdk_hub.requests["CheckCnic"]) == 1


async def test_two_writes_have_two_request_ids(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.answer("CreateOffender", CreateOffenderResponse())
    for _ in range(2):
        await settled(sdk_client.create_offender(Offender()))
    first, second = sdk_hub.requests["CreateOffender"]
    assert first.request_id != second.request_id


async def test_a_call_has_a_deadline_even_if_nobody_gave_one(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    remaining: list[float | None] = []

    def answer(_: Any, context: grpc.ServicerContext) -> CheckCnicResponse:
        remaining.append(context.time_remaining())
        return CheckCnicResponse()

    sdk_hub.on["CheckCnic"] = answer
    await settled(sdk_client.check_cnic("1"))
    await settled(sdk_client.check_cnic("1", timeout=100))
    default, given = remaining
    assert default is not None
    assert given is not None
    assert 0 < default < 11 < given < 101


async def test_after_a_lost_answer_the_error_carries_the_request_id(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    def never(_: Any, context: grpc.ServicerContext) -> CreateOffenderResponse:
        while context.is_active():
            time.sleep(0.01)
        return CreateOffenderResponse()

    sdk_hub.on["CreateOffender"] = never
    with pytest.raises(DeadlineExceeded) as caught:
        await settled(sdk_client.create_offender(Offender(), timeout=0.2))
    assert caught.value.request_id == sdk_hub.requests["CreateOffender"][0].request_id


def test_only_what_can_be_repeated_is_retried() -> None:
    retried = {(n["service"], n["method"]) for n in json.loads(service_config())["methodConfig"][0]["name"]}
    for service in SERVICES:
        for method in service.methods:
            a_stream = method.client_streaming or method.server_streaming
            harmless = method.name.startswith(("Get", "List", "Check", "Acknowledge"))
            has_id = "request_id" in method.input_type.fields_by_name
            assert ((service.full_name, method.name) in retried) == (not a_stream and (harmless or has_id))
            assert may_be_retried(method) == ((service.full_name, method.name) in retried)
    assert ("nsor.registry.v1.RegistryService", "CreateOffender") in retried
    assert ("nsor.federation.v1.FederationService", "WatchChanges") not in retried


@pytest.mark.parametrize("target", ["", "localhost", ":7443", "a b:1", "https://hub:7443", "hub:port", "u@hub:1"])
def test_a_target_that_is_no_address_is_refused(target: str, sdk_ca: CertificateAuthority) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Client(target, sdk_ca.credentials())


@pytest.mark.parametrize(("target", "host", "port"), [("hub.example:7443", "hub.example", 7443), ("[::1]:1", "::1", 1)])
def test_host_and_port_of_a_target(target: str, host: str, port: int, sdk_ca: CertificateAuthority) -> None:
    endpoint = Endpoint(target, sdk_ca.credentials())
    assert (endpoint.host, endpoint.port) == (host, port)


def test_a_client_reaches_a_hub_that_came_back(sdk_ca: CertificateAuthority) -> None:
    with serving(sdk_ca) as gone:
        target = gone.target
    with Client(target, sdk_ca.credentials()) as client:
        with pytest.raises(Unavailable, match="Nothing listens"):
            client.check_cnic("1")
        with serving(sdk_ca, port=int(target.rpartition(":")[2])) as back:
            back.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT))
            outcome = None
            while outcome is None:  # gRPC lets some time pass between its attempts to connect
                with suppress(Unavailable):
                    outcome = client.check_cnic("1").outcome
    assert outcome == OUTCOME_HIT


async def test_the_examples_of_the_readme_run(
    sdk_hub: ScriptedHub,
    sdk_ca: CertificateAuthority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    credentials = sdk_ca.credentials()
    for name, content in (("cert", credentials.cert_pem), ("key", credentials.key_pem), ("ca", credentials.ca_pem)):
        (tmp_path / f"{name}.pem").write_bytes(content)
    sdk_hub.answer("CheckCnic", CheckCnicResponse(outcome=OUTCOME_HIT))
    sdk_hub.answer("ListOffenders", ListOffendersResponse(offenders=[Offender(name="offenders/1", etag="e")]))
    sdk_hub.on["UpdateOffender"] = lambda _, context: refuse(
        context, grpc.StatusCode.ABORTED, "changed", "ERROR_REASON_ETAG_MISMATCH"
    )
    readme = Path(__file__).parents[2] / "clients/python/README.md"
    examples = re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    sdk_hub.answer("CreateOffender", CreateOffenderResponse())
    sdk_hub.answer("ReportOutbox", ReportOutboxResponse())
    sdk_hub.on["GetSnapshot"] = lambda *_: iter(snapshot_of(1))
    sdk_hub.on["CheckCnics"] = answer_all

    def alert_once(request: WatchAlertsRequest, context: grpc.ServicerContext) -> Iterator[WatchAlertsResponse]:
        if request.after:
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "suspended", "ERROR_REASON_NODE_NOT_ACTIVE")
        yield WatchAlertsResponse(alerts=[Alert(name="alerts/1")])

    sdk_hub.on["WatchAlerts"] = alert_once
    dealt_with: list[Alert] = []
    known: dict[str, Any] = {
        "request": CreateOffenderRequest(offender=Offender(district="Lahore")),
        "deal_with": dealt_with.append,
    }
    for example in examples:
        code = re.sub(r"nodes/[a-z-]+", str(tmp_path), example.replace("127.0.0.1:7443", sdk_hub.target))
        with suppress(PermissionDenied):  # of the watch, which would never end
            if (running := eval(compile(code, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), known)) is not None:
                await running
    first, *roster, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("hit: ")
    assert [line.split()[0] for line in roster] == ["35202-0000000-1", "35202-0000000-3"]
    assert second == "1 0 None"
    assert third.startswith(f"{OUTCOME_CANNOT_ANSWER} "), "a copy of 1970"
    assert [alert.name for alert in dealt_with] == ["alerts/1"]
    assert (tmp_path / "last-alert").read_text() == "alerts/1"
    assert sdk_hub.requests["UpdateOffender"][0].offender.district == "Multan"
