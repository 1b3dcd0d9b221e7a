"""`nsor access`: the access desk, where officers ask to read records of other nodes."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from nsor.registry.v1.access_request_pb2 import AccessRequest, AccessRequestState, AccessScope
from nsor_client.cli import render
from nsor_client.cli.session import (
    FirOption,
    OffenderName,
    OfficerOption,
    PurposeName,
    PurposeOption,
    RequestIdOption,
    Session,
    officer_context,
)

app = typer.Typer(no_args_is_help=True, help="Ask to read records of other nodes; forward and decide such requests.")


class ScopeName(StrEnum):
    """A part of a record."""

    person = "person"
    convictions = "convictions"
    notices = "notices"
    history = "history"


class StateName(StrEnum):
    """How far a request has come."""

    requested = "requested"
    forwarded = "forwarded"
    granted = "granted"
    declined = "declined"
    expired = "expired"
    revoked = "revoked"


RequestName = Annotated[str, typer.Argument(metavar="REQUEST", help="Name of the request, accessRequests/...")]

ScopeOption = Annotated[list[ScopeName], typer.Option("--scope", help="A part of the record; may be given again.")]

EtagOption = Annotated[str, typer.Option("--etag", help="Of the request as it was read: nsor access get shows it.")]


@app.command()
def request(
    context: typer.Context,
    offender: OffenderName,
    scope: ScopeOption,
    station: Annotated[str, typer.Option("--station", help="The police station where the FIR was made.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it is needed. Nothing about a victim.")],
    fir: Annotated[str, typer.Option("--fir", metavar="NUMBER/YEAR", help="The FIR that it serves.")],
    officer: OfficerOption = None,
    request_id: RequestIdOption = None,
) -> None:
    """Ask to read a record of another node, for an investigation.

    Example:

      nsor access request offenders/... --fir 123/2026 --station "Civil Lines"
      --scope person --scope convictions --reason "named by an accused"
    """
    session = Session.of(context)
    who = officer_context(officer, PurposeName.investigation, fir)
    asked = AccessRequest(offender=offender, scopes=_scopes(scope), police_station=station, reason=reason)
    with session.client() as client:
        session.show(client.create_access_request(asked, who, request_id=request_id), render.access_request)


@app.command()
def forward(
    context: typer.Context,
    name: RequestName,
    etag: EtagOption,
    reason: Annotated[str, typer.Option("--reason", help="What the prosecutor says of it.")] = "",
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Forward a request to NPB. For prosecutors, within 48 hours."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        written = client.forward_access_request(_as_read(name, etag), who, reason=reason, request_id=request_id)
    session.show(written, render.access_request)


@app.command()
def grant(
    context: typer.Context,
    name: RequestName,
    etag: EtagOption,
    scope: ScopeOption,
    days: Annotated[float | None, typer.Option(help="For how long; as long as may be, if it is not given.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; required where nobody forwarded it.")] = "",
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.oversight,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Grant what was asked for, or some of it. For NPB."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    expire_time = None
    if days is not None:
        expire_time = Timestamp()
        expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    with session.client() as client:
        written = client.grant_access_request(
            _as_read(name, etag), _scopes(scope), who, expire_time=expire_time, reason=reason, request_id=request_id
        )
    session.show(written, render.access_request)


@app.command()
def decline(
    context: typer.Context,
    name: RequestName,
    etag: EtagOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever asked reads it. Nothing about a victim.")],
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.oversight,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Decline a request. For NPB; for prosecutors, instead of forwarding it."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        written = client.decline_access_request(_as_read(name, etag), reason, who, request_id=request_id)
    session.show(written, render.access_request)


@app.command()
def revoke(
    context: typer.Context,
    name: RequestName,
    etag: EtagOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever asked reads it. Nothing about a victim.")],
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.oversight,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Take back what was granted, from the next read on. For NPB."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        written = client.revoke_access_request(_as_read(name, etag), reason, who, request_id=request_id)
    session.show(written, render.access_request)


@app.command("get")
def get_request(
    context: typer.Context,
    name: RequestName,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
) -> None:
    """Show a request: of this node; to be forwarded by it; for NPB, any."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        session.show(client.get_access_request(name, who), render.access_request)


@app.command("list")
def list_requests(
    context: typer.Context,
    state: Annotated[StateName | None, typer.Option(help="Only those in this state.")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that are to be forwarded since.")] = False,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
) -> None:
    """List requests, first what is overdue, then the newest: of this node; to be forwarded by it; for NPB, all."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    wanted = AccessRequestState.Value(f"ACCESS_REQUEST_STATE_{(state or 'unspecified').upper()}")
    with session.client() as client:
        for found in client.list_access_requests(who, state=wanted, overdue_only=overdue):
            session.show(found, render.access_request_line)


def _scopes(names: list[ScopeName]) -> list[AccessScope.ValueType]:
    return [AccessScope.Value(f"ACCESS_SCOPE_{name.upper()}") for name in dict.fromkeys(names)]


def _as_read(name: str, etag: str) -> AccessRequest:
    """A request by its name, with the etag that was read; its quotes get lost in shells."""
    return AccessRequest(name=name, etag=f'"{etag.strip(chr(34))}"')
