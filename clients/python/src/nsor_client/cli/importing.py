"""`nsor import`: sends a file row by row, shows how far it got, and keeps what became of each row."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from threading import Lock
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest, ImportOffendersResponse
from nsor_client import Client, DeadlineExceeded, Unavailable
from nsor_client.cli import failures
from nsor_client.cli.results import ResultFile
from nsor_client.cli.session import Session
from nsor_client.protojson import to_json
from nsor_client.rows import RowFile

SHOWN = 10
"""Refused rows that are printed; all of them are in the result file."""


COLUMNS = ("row", "result", "offender", "reason", "fields", "file")
"""Of the result file, which holds nothing personal; `file` is the digest of the file that is entered.

Of a refused row `offender` names the record that is in the way; several, with spaces, after LIKELY_DUPLICATE.
"""


class Report:
    """What became of the rows so far, without personal data.

    Attributes:
        known: rows that have their result from an earlier run.

    Args:
        file: where to keep a line for each row, or None.
        out: where to print each result as JSON, or None.
    """

    def __init__(self, file: ResultFile | None, out: TextIO | None) -> None:
        self._file = file
        self._out = out
        self._lock = Lock()  # the rows are read in a thread of gRPC
        self.accepted = Counter[str]()
        self.refused = Counter[str]()
        self.first_refused = list[str]()
        self.known = set[int]()
        for row in file.earlier if file else ():
            self.known.add(int(row["row"]))
            self._count(int(row["row"]), row["result"], row["reason"], row["fields"])

    def add(self, result: ImportOffendersResponse) -> None:
        """Takes the result of one row; from any thread."""
        with self._lock:
            if self._out:
                self._out.write(to_json(result) + "\n")
            what, offender, reason, fields = _cells(result)
            self._count(result.row, what, reason, fields)
            if self._file:
                self._file.add(result.row, what, offender, reason, fields)

    def _count(self, row: int, what: str, reason: str, fields: str) -> None:
        if what != "refused":
            self.accepted[what] += 1
            return
        self.refused[reason] += 1
        if len(self.first_refused) < SHOWN:
            self.first_refused.append(f"row {row}: {reason} {fields.replace(';', ' ')}".rstrip())

    def summary(self) -> str:
        """The counts, and the first refused rows."""
        refused = self.refused.total()
        accepted = ", ".join(f"{count} {what}" for what, count in self.accepted.items()) or "0 written"
        lines = [f"{self.accepted.total() + refused} rows: {accepted}, {refused} refused", *self.first_refused]
        if refused > len(self.first_refused):
            lines.append(f"... and {refused - len(self.first_refused)} more; all are in the file of --result")
        return "\n".join(lines)


def _cells(result: ImportOffendersResponse) -> tuple[str, str, str, str]:
    """Result, offender, reason and fields of a row."""
    if result.HasField("error"):
        # The last part of a path is the column of the CSV file: offender.person.cnic -> cnic.
        fields = [f"{v.field.rpartition('.')[2]}:{v.reason}" for v in result.error.field_violations]
        metadata = result.error.metadata
        alike = (name.partition("=")[0] for name in metadata.get("candidates", "").split(","))
        others = metadata.get("offender") or " ".join(alike)
        return "refused", others, _reason(result), ";".join(fields)
    return ("valid" if result.valid else "written"), result.offender, "", ""


def _reason(result: ImportOffendersResponse) -> str:
    try:
        return ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_")
    except ValueError:  # newer than this SDK
        return str(result.error.reason)


def send(client: Client, rows: RowFile, report: Report, console: Console, *, dry_run: bool) -> None:
    """Imports the rows that have no result yet; what cannot be read locally goes to the report without being sent."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("rows", total=rows.at_most, completed=len(report.known))

        def done(result: ImportOffendersResponse) -> None:
            report.add(result)
            progress.advance(task)

        def readable() -> Iterator[ImportOffendersRequest]:
            for row in rows:
                if row.row in report.known:
                    continue
                if isinstance(row, ImportOffendersRequest):
                    row.validate_only = dry_run
                    yield row
                else:
                    done(row)

        with closing(client.import_offenders(readable())) as results:
            for result in results:
                done(result)


app = typer.Typer()


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A .csv, .jsonl or .ndjson file.")],
    result: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="CSV to write: row, result, offender, reason, fields, file. What is in it is not sent again.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of each row.")] = False,
) -> None:
    """Enter a file of convictions; a refused row stops nothing.

    The same file can be sent again at any time, for example after the line
    was cut: nobody is entered twice. With --result the same command goes on
    where it was; give another file there to send refused rows once more.
    Rows count from 1, without the header. The result file holds nothing
    personal. A dry run does not see numbers that stand in two rows.

    A CSV file is UTF-8, its dates are YYYY-MM-DD, and its header names:

      cnic, full_name, full_name_ur (optional)
      guardian_name, guardian_name_ur (optional)
      guardian_relation (father, husband)
      sex (M, F, X), date_of_birth, district
      court, case_number, fir_number (NUMBER/YEAR), police_station
      offence_code (PPC-376, ...), conviction_date
      finality (appeal-window, under-appeal, final, set-aside)
      finality_date (optional)
      victim_class (child, woman, other)
      not_the_same_as, because (optional, see below)

    A .jsonl or .ndjson file has a record as JSON in each line; see
    nsor offender template.

    LIKELY_DUPLICATE refuses a person who is much like others; the result
    file names their records. If you have compared them and it is another
    person, put the names into not_the_same_as and why into because (JSON:
    {"offender": {...}, "duplicate_override": {"not_the_same_as": [...],
    "reason": "..."}}), and send these rows again, in a file of their own.

    Example:

      nsor import convictions.csv --dry-run --result found.csv
      nsor import convictions.csv --result result.csv
    """
    session = Session.of(context)
    rows = RowFile(file)
    digest = f"{rows.digest}-dry-run" if dry_run else rows.digest
    with (
        session.client() as client,
        closing(ResultFile(result, COLUMNS, digest)) if result else nullcontext() as sink,
    ):
        report = Report(sink, sys.stdout if session.json else None)
        try:
            send(client, rows, report, session.err, dry_run=dry_run)
        except (Unavailable, DeadlineExceeded, KeyboardInterrupt):
            session.note("The import was cut. The same command again: nobody is entered twice.")
            raise
        finally:
            print(report.summary(), file=sys.stderr if session.json else sys.stdout)
    if report.refused:
        raise typer.Exit(failures.ROWS_REFUSED)
