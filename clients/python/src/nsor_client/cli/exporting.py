"""`nsor export`: the records of this node as a file."""

import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from nsor.registry.v1.offender_pb2 import Offender
from nsor_client.cli.session import (
    FirOption,
    InputError,
    OfficerOption,
    PurposeName,
    PurposeOption,
    Session,
    officer_context,
)
from nsor_client.protojson import to_json
from nsor_client.rows import write_csv

app = typer.Typer()


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(dir_okay=False, help="A .csv, .jsonl or .ndjson file to write.")],
    filter: Annotated[
        str, typer.Option(metavar="TEXT", help="Only those; see nsor offender list. Sealed ones are left out anyway.")
    ] = "",
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
) -> None:
    """Write the records of this node to a file, newest first.

    JSON lines hold the whole of each record. A CSV file has a row for each
    conviction, with the columns that nsor import reads. The file is personal:
    only you can read it, and it replaces an older one when it is whole.

    Example:

      nsor export records.jsonl
    """
    if file.suffix not in (".csv", ".jsonl", ".ndjson"):
        raise typer.BadParameter("the name of the file must end in .csv, .jsonl or .ndjson")
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    standing = " AND ".join(filter for filter in ("status = REGISTERED", filter) if filter)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} records"))
    with (
        session.client() as client,
        Progress(*columns, console=session.err, transient=True, disable=not session.err.is_terminal) as progress,
        _replacing(file) as out,
    ):
        task = progress.add_task("records", total=None)

        def counted(records: Iterable[Offender]) -> Iterator[Offender]:
            for record in records:
                yield record
                progress.advance(task)

        records = counted(client.list_offenders(who, filter=standing, page_size=200))
        if file.suffix == ".csv":
            try:
                write_csv(records, out)
            except ValueError as error:
                raise InputError(f"{error}: write JSON lines instead") from None
        else:
            out.writelines(to_json(record) + "\n" for record in records)
        count = int(progress.tasks[task].completed)
    print(f"{count:,} records in {file}")


@contextmanager
def _replacing(path: Path) -> Generator[TextIO]:
    """A text file, for its owner only, that takes the place of another when it is whole."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
