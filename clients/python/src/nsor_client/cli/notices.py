"""`nsor notice`: what offenders must tell after release."""

import typer

from nsor.monitoring.v1.notice_pb2 import Notice
from nsor_client.cli import render
from nsor_client.cli.session import (
    FirOption,
    JsonFile,
    OffenderName,
    OfficerOption,
    PurposeName,
    PurposeOption,
    RequestIdOption,
    Session,
    officer_context,
    parse,
)

app = typer.Typer(no_args_is_help=True, help="What offenders notify after release.")


@app.command()
def record(
    context: typer.Context,
    parent: OffenderName,
    file: JsonFile,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.supervision,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Record that an offender notified a new name, an address or a journey.

    Example:

      nsor notice record offenders/... - <<END
      {"notified_date": "2026-03-01",
       "travel": {"scope": "TRAVEL_SCOPE_ABROAD", "destination": "AE",
                  "departure_date": "2026-04-01"}}
      END
    """
    session = Session.of(context)
    detail = parse(file, Notice)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.record_notice(parent, detail, request_id=request_id, officer=who)
    session.show(response, lambda r: f"written: {r.notice.name} (revision {r.revision})")


@app.command("list")
def list_notices(
    context: typer.Context,
    parent: OffenderName,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.supervision,
    fir: FirOption = "",
) -> None:
    """List what an offender notified, newest first."""
    session = Session.of(context)
    with session.client() as client:
        for notice in client.list_notices(parent, officer_context(officer, purpose, fir)):
            session.show(notice, render.notice)
