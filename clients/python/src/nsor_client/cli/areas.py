"""`nsor area`: how many supervised offenders there are where."""

from typing import Annotated

import typer

from nsor.lookup.v1.lookup_service_pb2 import GetAreaStatusResponse
from nsor_client.cli import render
from nsor_client.cli.session import Session

_HIDDEN = "-"


def table(response: GetAreaStatusResponse) -> str:
    """A line for each district of which something is told, a column for each month, the newest first."""
    if not response.months:
        return "No month has been counted yet."
    counts: dict[str, list[str]] = {}
    for month in response.months:
        for each in month.districts:
            count = str(each.offender_count) if each.HasField("offender_count") else _HIDDEN
            counts.setdefault(each.district, []).append(count)
    told = [(district, *row) for district, row in counts.items() if set(row) != {_HIDDEN}]
    lines = render.table([("district", *(month.month for month in response.months)), *told])
    if hidden := len(counts) - len(told):
        lines.append(f"{hidden} {'district is' if hidden == 1 else 'districts are'} hidden: few or no offenders.")
    lines.append(f"Rounded at random to multiples of 5; {_HIDDEN} is fewer than 10. It tells nothing about a person.")
    return "\n".join(lines)


app = typer.Typer()


@app.command()
def area(
    context: typer.Context,
    district: Annotated[str, typer.Argument(help="In any case; all districts by default.")] = "",
    months: Annotated[int, typer.Option(min=1, max=24, help="Months at most, the newest that were counted.")] = 3,
) -> None:
    """Tell how many supervised offenders there are in a district, month by month; never who.

    Only months that have ended are told. Small counts are hidden and the
    others rounded, so that nobody can be found out by comparing.

    Examples:

      nsor area
      nsor area Lahore --months 12
    """
    session = Session.of(context)
    with session.client() as client:
        session.show(client.get_area_status(district, months=months), table)
