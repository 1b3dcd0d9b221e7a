"""`nsor transfer`: records that move to another police force."""

from typing import Annotated

import typer

from nsor_client.cli import render
from nsor_client.cli.session import (
    EtagOption,
    FirOption,
    OffenderName,
    OfficerOption,
    PurposeName,
    PurposeOption,
    RequestIdOption,
    Session,
    as_read,
    officer_context,
)

app = typer.Typer(no_args_is_help=True, help="Hand records over to another police force.")

TransferReason = Annotated[str, typer.Option("--reason", help="Why. Nothing about a victim.")]


@app.command()
def propose(
    context: typer.Context,
    name: OffenderName,
    receiver: Annotated[str, typer.Argument(metavar="NODE", help="For example sindh-police.")],
    etag: EtagOption,
    reason: TransferReason,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Propose a record to another police force; this node stays responsible until that one accepts.

    Example:

      nsor transfer propose offenders/... sindh-police --etag 3 --reason "moved to Karachi"
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.propose_transfer(
            as_read(name, etag), f"nodes/{receiver}", reason, request_id=request_id, officer=who
        )
    session.show(response, lambda r: render.transfer(r.offender.transfer))


@app.command()
def accept(
    context: typer.Context,
    name: OffenderName,
    etag: EtagOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; required of NPB.")] = "",
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Take over a record that was proposed to this node. Read it before: nsor offender get."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.accept_transfer(as_read(name, etag), reason, request_id=request_id, officer=who)
    session.show(response, lambda r: f"owner: {r.offender.owner} (revision {r.revision})")


@app.command()
def decline(
    context: typer.Context,
    name: OffenderName,
    etag: EtagOption,
    reason: TransferReason,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Decline a record that was proposed to this node, or take a proposal of this node back."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.decline_transfer(as_read(name, etag), reason, request_id=request_id, officer=who)
    session.show(response, lambda r: f"owner: {r.offender.owner} (revision {r.revision})")


@app.command("list")
def list_transfers(
    context: typer.Context,
    node: Annotated[str, typer.Option(metavar="ID", help="Only those to or of this node.")] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that were to be answered before now.")] = False,
) -> None:
    """List what is proposed to or by this node and not answered yet; for NPB, all."""
    session = Session.of(context)
    with session.client() as client:
        for transfer in client.list_transfers(node=f"nodes/{node}" if node else "", overdue_only=overdue):
            session.show(transfer, render.transfer)
