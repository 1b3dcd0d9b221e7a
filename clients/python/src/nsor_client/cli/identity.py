"""`nsor identity`: what NADRA reports of persons on the register."""

import typer

from nsor.registry.v1.identity_pb2 import IdentityEvent
from nsor_client.cli.session import (
    FirOption,
    JsonFile,
    OfficerOption,
    PurposeName,
    PurposeOption,
    RequestIdOption,
    Session,
    officer_context,
    parse,
)

app = typer.Typer(no_args_is_help=True, help="Other names, other numbers, deaths: for NADRA.")


@app.command()
def report(
    context: typer.Context,
    file: JsonFile,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Report another name, guardian or number of a card's holder, or their death.

    The file holds the number of the card, the day, and one of new_name,
    new_guardian, new_cnic and death. Ends with 1 if no record has the number.

    Examples:

      echo '{"cnic": "91234-0000000-1", "event_date": "2026-05-01",
             "new_name": {"full_name": "Ahmed Khan"}}' | nsor identity report -
      nsor identity report death.json
    """
    session = Session.of(context)
    event = parse(file, IdentityEvent)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.report_identity_event(event, request_id=request_id, officer=who)
    session.show(response, lambda r: f"kept in {r.offender} (revision {r.revision})")
