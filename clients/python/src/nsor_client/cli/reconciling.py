"""`nsor reconcile`: what the node's register has and the hub's has not, and the other way round."""

import csv
import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from nsor_client.cli import failures
from nsor_client.cli.session import InputError, Session
from nsor_client.reconciling import Reconciliation
from nsor_client.roster import Roster

_SHOWN = 10


def read(path: Path) -> dict[str, int]:
    """The numbers of a file, each with its row: column `cnic` of a CSV file, or else one in each line; - is stdin.

    Raises:
        RosterFileError: it is a CSV file without such a column, or with a row that cannot be read.
    """
    if path.suffix == ".csv":
        rows = list(Roster(path, "cnic"))
    else:
        with nullcontext(sys.stdin) if str(path) == "-" else path.open(encoding="utf-8-sig") as source:
            rows = list(enumerate(source, 1))
    return {cnic.strip(): row for row, cnic in rows if cnic.strip()}


def differences(found: Reconciliation, rows: Mapping[str, int]) -> list[tuple[str, str]]:
    """A pair for each difference: who has the record, and its name or the row of the file. Not personal."""
    at_hub = [("hub", name) for name in sorted(found.only_at_hub)]
    return at_hub + [("node", f"row {row}") for row in sorted(rows[cnic] for cnic in found.only_at_node)]


def summary(found: Reconciliation, differ: list[tuple[str, str]], *, as_json: bool) -> str:
    """What was found, for a person or a script."""
    if as_json:
        counts = {"only_at_hub": len(found.only_at_hub), "only_at_node": len(found.only_at_node)}
        where = {"revision": found.revision, "as_of_time": found.as_of.isoformat(), "records": found.records}
        return json.dumps(where | counts)
    lines = [f"{found.records} records compared with the register as of {found.as_of:%Y-%m-%d %H:%M:%SZ}"]
    lines += [f"{len(found.only_at_hub)} only at the hub, {len(found.only_at_node)} only at this node"]
    lines += [f"only at the {side}: {what}" for side, what in differ[:_SHOWN]]
    if len(differ) > _SHOWN:
        lines.append(f"... and {len(differ) - _SHOWN} more; all are in the file of --report")
    return "\n".join(lines)


app = typer.Typer()


@app.command()
def reconcile(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE|-", help="Numbers on your register: a .csv with a column cnic, or one a line."),
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="Compare with all records of the hub, not only with those of this node.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="CSV to write: only_at, record. Not personal.")
    ] = None,
) -> None:
    """Compare your own register with the hub's: what one has and the other has not.

    Both lists must be empty. Ends with 0 if they are, and with 7 if not. Only
    numbers of records that are in force belong in the file. Keyed hashes
    travel, no numbers, and few of them where little differs. Run it each
    night; the hub keeps the counts, and `nsor status` shows them.

    Example:

      nsor reconcile our-register.csv --report differences.csv
    """
    session = Session.of(context)
    try:
        rows = read(file)
        with session.client() as client:
            found = client.reconcile(rows, everything=everything)
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{file}: {'not UTF-8' if isinstance(error, UnicodeDecodeError) else error}") from None
    differ = differences(found, rows)
    if report:
        with report.open("w", encoding="utf-8", newline="") as sink:
            csv.writer(sink).writerows([("only_at", "record"), *differ])
    print(summary(found, differ, as_json=session.json))
    if differ:
        raise typer.Exit(failures.DIFFERENT)
