"""`nsor import`: sends a file row by row, shows how far it got, and keeps what became of each row."""

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from threading import Lock
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest, ImportOffendersResponse
from nsor_client import Client
from nsor_client.protojson import to_json
from nsor_client.rows import RowFile

SHOWN = 10
"""Refused rows that are printed; all of them are in the result file."""


class Report:
    """What became of the rows so far, without personal data.

    Args:
        file: a CSV file to write a line for each row to, or None.
        out: where to print each result as JSON, or None.
    """

    def __init__(self, file: TextIO | None, out: TextIO | None) -> None:
        self._writer = csv.writer(file) if file else None
        self._out = out
        self._lock = Lock()  # the rows are read in a thread of gRPC
        self.written = 0
        self.refused: Counter[str] = Counter()
        self.first_refused: list[str] = []
        if self._writer:
            self._writer.writerow(("row", "result", "offender", "reason", "fields"))

    def add(self, result: ImportOffendersResponse) -> None:
        """Takes the result of one row; from any thread."""
        with self._lock:
            if self._out:
                self._out.write(to_json(result) + "\n")
            if result.HasField("error"):
                cells = self._refused(result)
            else:
                self.written += 1
                cells = (result.row, "written", result.offender, "", "")
            if self._writer:
                self._writer.writerow(cells)

    def _refused(self, result: ImportOffendersResponse) -> tuple[object, ...]:
        reason = _reason(result)
        # The last part of a path is the column of the CSV file: offender.person.cnic -> cnic.
        fields = [f"{v.field.rpartition('.')[2]}:{v.reason}" for v in result.error.field_violations]
        self.refused[reason] += 1
        if len(self.first_refused) < SHOWN:
            self.first_refused.append(f"row {result.row}: {reason} {' '.join(fields)}".rstrip())
        return result.row, "refused", result.error.metadata.get("offender", ""), reason, ";".join(fields)

    def summary(self) -> str:
        """The counts, and the first refused rows."""
        refused = self.refused.total()
        lines = [f"{self.written + refused} rows: {self.written} written, {refused} refused", *self.first_refused]
        if refused > len(self.first_refused):
            lines.append(f"... and {refused - len(self.first_refused)} more; all are in the file of --result")
        return "\n".join(lines)


def _reason(result: ImportOffendersResponse) -> str:
    try:
        return ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_")
    except ValueError:  # newer than this SDK
        return str(result.error.reason)


def send(client: Client, rows: RowFile, report: Report, console: Console) -> None:
    """Imports the file; what cannot be read locally goes to the report without being sent."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("rows", total=rows.at_most)

        def done(result: ImportOffendersResponse) -> None:
            report.add(result)
            progress.advance(task)

        def readable() -> Iterator[ImportOffendersRequest]:
            for row in rows:
                if isinstance(row, ImportOffendersRequest):
                    yield row
                else:
                    done(row)

        with closing(client.import_offenders(readable())) as results:
            for result in results:
                done(result)
