"""`nsor offender search`: who may be meant."""

from typing import Annotated

import typer

from nsor.registry.v1.offender_pb2 import Finality
from nsor.registry.v1.registry_service_pb2 import SearchOffendersRequest, SearchOffendersResponse
from nsor_client.cli import render
from nsor_client.cli.session import AtLeastOption, FirOption, OfficerOption, PurposeName, Session, officer_context

_COLUMNS = ("score", "record", "name", "father or husband", "born", "district")


def search(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the person, or a part of it, in Latin or Urdu script.")] = "",
    guardian: Annotated[str, typer.Option(help="Name of the father or husband, in either script.")] = "",
    born: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Date of birth, as far as it is known.")] = "",
    district: Annotated[str, typer.Option(help="District of residence; others are left out.")] = "",
    offence: Annotated[str, typer.Option(metavar="CODE", help="Convicted of it, for example PPC-376.")] = "",
    finality: Annotated[str, typer.Option(help="Of that conviction: appeal-window, under-appeal or final.")] = "",
    of_fir: Annotated[str, typer.Option(metavar="NUMBER/YEAR", help="Convicted upon this FIR.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=50, help="Candidates at most, the best first.")] = 20,
    officer: OfficerOption = None,
    fir: FirOption = "",
    at_least_revision: AtLeastOption = "",
) -> None:
    """Search the register for an investigation, by what is known of a person.

    A candidate may be the one sought, and may not: read the record before
    anything follows from it. The audit log keeps who searched, for which
    FIR, and each record shown.

    Examples:

      nsor offender search "Mohd. Rehman" --guardian "عبد الستار" --fir 123/2026
      nsor offender search --of-fir 77/2024 --district Lahore --fir 123/2026
    """
    session = Session.of(context)
    try:
        value = Finality.Value(f"FINALITY_{(finality or 'unspecified').upper().replace('-', '_')}")
    except ValueError:
        raise typer.BadParameter("must be appeal-window, under-appeal or final", param_hint="--finality") from None
    request = SearchOffendersRequest(
        person_name=name,
        guardian=guardian,
        date_of_birth=born,
        district=district,
        offence_code=offence,
        finality=value,
        fir_number=of_fir,
        max_results=limit,
        at_least_revision=at_least_revision,
    )
    with session.client() as client:
        found = client.search_offenders(request, officer_context(officer, PurposeName.investigation, fir))
    session.show(found, _table)
    if found.truncated:
        session.note("More records fit than the hub compares: say more of the person.")


def _table(found: SearchOffendersResponse) -> str:
    rows = [
        (
            f"{c.score:.2f}",
            c.offender,
            _both(c.full_name, c.full_name_ur),
            _both(c.guardian_name, c.guardian_name_ur),
            str(c.birth_year),
            c.district,
        )
        for c in found.candidates
    ]
    return "\n".join(render.table([_COLUMNS, *rows])) if rows else "Nobody on the register is like that."


def _both(latin: str, urdu: str) -> str:
    return f"{latin} ({urdu})" if urdu else latin
