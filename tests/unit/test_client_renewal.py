"""A client that keeps its certificate from ending, and a scripted hub that sees by which one each call comes."""

import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from nsor.federation.v1.federation_service_pb2 import RenewCertificateResponse, WatchChangesResponse
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicResponse
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest, ImportOffendersResponse
from nsor_client import AsyncClient, Client, Credentials, renewal
from nsor_client.renewal import Schedule
from tests.support.sdk_hub import CertificateAuthority, ScriptedHub, closed, refuse, settled, step

pytest_plugins = ["tests.support.sdk_fixtures"]

SECONDS = 30.0
HALF_OVER = timedelta(hours=1)  # certificates of this CA began two days ago
NOT_YET = timedelta(days=30)

kinds = pytest.mark.parametrize("kind", [AsyncClient, Client], ids=["async", "sync"])


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(renewal, "SHORTEST_WAIT", 0.02)


class Station:
    """A node with a folder, and a hub that renews its certificates."""

    def __init__(self, hub: ScriptedHub, ca: CertificateAuthority, folder: Path) -> None:
        self.hub, self.ca, self.folder = hub, ca, folder
        self.renewals_end_in = NOT_YET
        self.callers: list[bytes] = []
        hub.on["RenewCertificate"] = self.renew
        hub.on["CheckCnic"] = self.check
        self.put(ca.credentials(ends_in=HALF_OVER))

    def put(self, credentials: Credentials) -> Credentials:
        credentials.write(self.folder)
        return credentials

    def renew(self, *_: Any) -> RenewCertificateResponse:
        granted = self.ca.renewed(self.stored, ends_in=self.renewals_end_in)
        return RenewCertificateResponse(certificate=granted.decode(), ca_certificates=self.ca.pem.decode())

    def check(self, _: Any, context: grpc.ServicerContext) -> CheckCnicResponse:
        self.callers.append(caller(context))
        return CheckCnicResponse()

    @property
    def stored(self) -> Credentials:
        return Credentials.from_dir(self.folder)

    @asynccontextmanager
    async def client(self, kind: Any, *, renew: bool = True) -> AsyncIterator[Any]:
        client = kind(self.hub.target, self.stored, timeout=SECONDS, renew=renew)
        try:
            yield client
        finally:
            await settled(client.close())


@pytest.fixture
def station(sdk_hub: ScriptedHub, sdk_ca: CertificateAuthority, tmp_path: Path) -> Station:
    return Station(sdk_hub, sdk_ca, tmp_path / "node")


def caller(context: grpc.ServicerContext) -> bytes:
    """Certificate by which a call comes."""
    [certificate] = context.auth_context()["x509_pem_cert"]
    return certificate


async def until(client: Any, condition: Callable[[], bool]) -> None:
    """Calls until something is so; no call may fail."""
    began = datetime.now(UTC)
    while not condition():
        await settled(client.check_cnic("1"))
        assert datetime.now(UTC) - began < timedelta(seconds=SECONDS)


@kinds
async def test_past_half_of_its_life_a_certificate_is_renewed_kept_and_used(kind: Any, station: Station) -> None:
    first = station.stored
    async with station.client(kind) as client:
        await until(client, lambda: station.callers[-1:] != [] and station.callers[-1] != first.cert_pem)
        assert station.callers[-1] == station.stored.cert_pem
        assert station.stored.key_pem == first.key_pem
        await until(client, lambda: len(station.callers) > 20)
    assert len(station.hub.requests["RenewCertificate"]) == 1


@kinds
async def test_a_watch_goes_on_over_renewals_without_loss_or_repeat(kind: Any, station: Station) -> None:
    station.renewals_end_in = HALF_OVER  # is due again at once
    watchers: set[bytes] = set()

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[WatchChangesResponse]:
        watchers.add(caller(context))
        for revision in range(int(request.after) + 1, 10**6):
            if not context.is_active():
                return
            yield WatchChangesResponse(revision=str(revision))

    station.hub.on["WatchChanges"] = watch
    states: list[bool] = []
    async with station.client(kind) as client:
        responses = client.watch_changes("0", on_state=lambda state: states.append(state.connected))
        revisions: list[int] = []
        while len(watchers) < 4:
            revisions.append(int((await step(responses)).revision))
            await settled(client.check_cnic("1"))
        await closed(responses)
    assert revisions == list(range(1, len(revisions) + 1))
    assert states == [True]


@kinds
async def test_what_is_open_ends_on_the_old_line(kind: Any, station: Station) -> None:
    first = station.stored

    def answer(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[ImportOffendersResponse]:
        return (ImportOffendersResponse(row=request.row) for request in requests)

    station.hub.on["ImportOffenders"] = answer
    async with station.client(kind) as client:
        rows = (ImportOffendersRequest(row=row) for row in range(1, 101))
        results = client.import_offenders(rows, window=1)
        done = [(await step(results)).row]
        await until(client, lambda: station.callers[-1:] != [] and station.callers[-1] != first.cert_pem)
        done += [(await step(results)).row for _ in range(99)]
        await closed(results)
    assert done == list(range(1, 101))


@kinds
async def test_a_renewal_that_fails_is_told_and_tried_again(
    kind: Any, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    first, tries = station.stored, iter(range(3))

    def renew(request: Any, context: grpc.ServicerContext) -> Any:
        if next(tries, None) is not None:
            refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "no CA", "ERROR_REASON_SIGNING_UNAVAILABLE")
        return station.renew()

    station.hub.on["RenewCertificate"] = renew
    async with station.client(kind) as client:
        await until(client, lambda: station.callers[-1:] != [] and station.callers[-1] != first.cert_pem)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 3
    assert all("was not renewed" in warning and "no CA" in warning for warning in warnings)


@kinds
async def test_what_another_process_puts_into_the_folder_is_taken(
    kind: Any, station: Station, sdk_ca: CertificateAuthority
) -> None:
    station.put(sdk_ca.credentials(ends_in=NOT_YET))
    async with station.client(kind) as client:
        await settled(client.check_cnic("1"))
        other = station.put(sdk_ca.credentials(ends_in=NOT_YET))
        await until(client, lambda: station.callers[-1] == other.cert_pem)
        (station.folder / "key.pem").write_bytes(b"")  # what cannot work breaks nothing
        for _ in range(20):
            await settled(client.check_cnic("1"))
        last = station.put(sdk_ca.credentials(ends_in=NOT_YET))
        await until(client, lambda: station.callers[-1] == last.cert_pem)
    assert "RenewCertificate" not in station.hub.requests


@kinds
async def test_where_the_folder_cannot_be_written_the_new_certificate_is_used_all_the_same(
    kind: Any, station: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    first = station.stored
    monkeypatch.setattr(Credentials, "write", full)
    async with station.client(kind) as client:
        await until(client, lambda: len({*station.callers}) == 2)
        count = len(station.callers)
        await until(client, lambda: len(station.callers) > count + 20)
    assert station.callers[-1] != first.cert_pem
    assert station.stored == first
    assert len(station.hub.requests["RenewCertificate"]) == 1, "a hub takes back the oldest of too many"
    assert "could not be kept" in caplog.text


@kinds
async def test_nothing_is_renewed_unless_it_is_asked_for(kind: Any, station: Station) -> None:
    async with station.client(kind, renew=False) as client:
        other = station.put(station.ca.credentials(ends_in=HALF_OVER))
        for _ in range(20):
            await settled(client.check_cnic("1"))
    assert other.cert_pem not in station.callers
    assert "RenewCertificate" not in station.hub.requests
    with pytest.raises(ValueError, match="of a folder"):
        kind(station.hub.target, station.ca.credentials(), renew=True)


def test_half_of_the_life_and_a_little_is_the_time(sdk_ca: CertificateAuthority) -> None:
    # Two days are over.
    for life_left, due in ((timedelta(days=1.2), True), (timedelta(days=2.1), False)):
        schedules = [Schedule(sdk_ca.credentials(ends_in=life_left), random.Random(seed)) for seed in range(20)]
        assert {schedule.is_due() for schedule in schedules} == {due}
    credentials = sdk_ca.credentials(ends_in=timedelta(days=1.6))
    assert {Schedule(credentials, random.Random(seed)).is_due() for seed in range(20)} == {True, False}
    assert renewal.SHORTEST_WAIT <= Schedule(credentials).wait() <= renewal.LOOK_SECONDS
