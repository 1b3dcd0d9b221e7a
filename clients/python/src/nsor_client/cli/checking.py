"""`nsor check`: one number, or a roster: keeps what became of each row, and goes on where a run was cut."""

import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.lookup.v1.consent_pb2 import GivenConsent
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicResponse, Outcome
from nsor_client import Client, DeadlineExceeded, ResourceExhausted, Unavailable
from nsor_client.cli import render
from nsor_client.cli.results import ResultFile
from nsor_client.cli.session import (
    CHECK_EXIT_CODES,
    AtLeastOption,
    FirOption,
    OfficerOption,
    PurposeName,
    PurposeOption,
    Session,
    officer_context,
    typed,
)
from nsor_client.protojson import to_json
from nsor_client.roster import Roster

COLUMNS = ("row", "outcome", "number", "person", "as_of_time", "roster")
"""Of the result file. The number is masked; `roster` is the roster's digest: no other goes on with it."""

# Outcomes that are results, the gravest first.
_FINAL = {
    Outcome.OUTCOME_HIT: "HIT",
    Outcome.OUTCOME_INVALID_CNIC: "INVALID_CNIC",
    Outcome.OUTCOME_NO_RECORD: "NO_RECORD",
}


class Results:
    """The results of a roster, continued where an earlier run was cut.

    Attributes:
        last_row: number of the last row that has its result; 0 before the first.
        counts: rows by outcome, such as "HIT".

    Raises:
        ResultFileError: the file is none of results, or that of another roster; it is damaged, or being written.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, roster: Roster) -> None:
        self._file = ResultFile(path, COLUMNS, roster.digest)
        self.last_row = 0
        self.counts: Counter[str] = Counter()
        try:
            for row in self._file.earlier:
                # Rows out of order are those of two runs at once: what is missing between them cannot be known.
                if int(row["row"]) <= self.last_row or row["outcome"] not in _FINAL.values():
                    raise self._file.damaged()
                self.last_row = int(row["row"])
                self.counts[row["outcome"]] += 1
        except BaseException:
            self._file.close()
            raise

    def add(self, row: int, result: CheckCnicResponse) -> None:
        """Writes the result of a row."""
        outcome = Outcome.Name(result.outcome).removeprefix("OUTCOME_")
        as_of = result.as_of_time.ToJsonString() if result.HasField("as_of_time") else ""
        self._file.add(row, outcome, result.masked_cnic, render.person(result.person), as_of)
        self.last_row = row
        self.counts[outcome] += 1

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def summary(self) -> str:
        """How many rows there are of each outcome."""
        parts = [f"{count} {outcome.lower().replace('_', ' ')}" for outcome, count in sorted(self.counts.items())]
        return f"{self.counts.total()} rows: {', '.join(parts) or 'none'}"


def check_rows(
    session: Session, client: Client, roster: Roster, results: Results, officer: OfficerContext, revision: str
) -> Outcome.ValueType:
    """Checks the rows that have no result yet. Stops where the hub cannot answer, and says why: that is no result.

    Returns the gravest outcome of the whole file: cannot answer, hit, not a CNIC, no record.
    """
    asked = deque[int]()
    first = results.last_row + 1

    def texts() -> Iterator[str]:
        for row, text in roster:
            if row >= first:
                asked.append(row)
                yield text

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=session.err, transient=True, disable=not session.err.is_terminal) as progress:
        task = progress.add_task("rows", total=roster.at_most, completed=results.last_row)
        with closing(client.check_many(texts(), officer=officer, at_least_revision=revision)) as answers:
            for answer in answers:
                row = asked.popleft()
                if session.json:
                    sys.stdout.write(to_json(answer) + "\n")
                if answer.outcome not in _FINAL:
                    session.note(f"Stopped at row {row}. {render.meaning(answer)}")
                    return Outcome.OUTCOME_CANNOT_ANSWER
                results.add(row, answer)
                progress.update(task, completed=results.last_row)
    return next(
        (outcome for outcome, name in _FINAL.items() if results.counts[name]),
        Outcome.OUTCOME_NO_RECORD,
    )


app = typer.Typer()


@app.command()
def check(
    context: typer.Context,
    cnic: Annotated[
        str | None, typer.Argument(help="The number in any digits, dashes and spaces; - reads stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Instead: a CSV file of many, with a header.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="With --file: CSV to write; what is in it is not asked again.")
    ] = None,
    column: Annotated[str, typer.Option(metavar="NAME", help="With --file: the column of the numbers.")] = "cnic",
    consent: Annotated[
        str, typer.Option(metavar="CONSENT", help="With a number: the person's consent, see nsor consent request.")
    ] = "",
    passcode: Annotated[
        str, typer.Option(metavar="DIGITS", help="With --consent: what the person told; asked for if not given.")
    ] = "",
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.vetting,
    fir: FirOption = "",
    at_least_revision: AtLeastOption = "",
) -> None:
    """Tell whether the holder of a CNIC is on the register.

    Ends with 0 (no record), 10 (hit), 11 (not a CNIC) or 12 (cannot answer
    now). "No record" does not mean that the person is clean. Other users of
    a computer see commands, and histories keep them: with - the number comes
    from standard input instead.

    With --file each row gets a line in --out: row (from 1, without the
    header), outcome, number (masked), person (as far as disclosed),
    as_of_time and roster (a digest of the file). Each row is one line. After
    a cut, or when the hub could not answer, the same command goes on where it
    was. Ends with 10 if there is a hit, 11 if a row holds no CNIC, 0 if
    neither; if it did not get to the end with 12 (cannot answer; why is said),
    3 (refused), 4 (a file that cannot be used, or a request that breaks a
    rule), 5 (no answer now), 1 (any other failure) or 130 (interrupted).

    Examples:

      nsor check 35202-0000000-1
      nsor check - --purpose investigation --fir 123/2026 < number.txt
      nsor check --file roster.csv --out result.csv
      nsor check 35202-0000000-1 --consent consents/...
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    if file is not None and out is not None and cnic is None and not consent:
        raise typer.Exit(CHECK_EXIT_CODES[_check_file(session, Roster(file, column), out, who, at_least_revision)])
    if cnic is None or file is not None or out is not None:
        raise typer.BadParameter("give one number, or --file with --out")
    text = typed(cnic)
    given: GivenConsent | None = None
    if consent:
        given = GivenConsent(name=consent, passcode=passcode or typer.prompt("Passcode", hide_input=True, err=True))
    with session.client() as client:
        response = client.check_cnic(text, officer=who, at_least_revision=at_least_revision, consent=given)
    session.show(response, render.check)
    raise typer.Exit(CHECK_EXIT_CODES.get(response.outcome, CHECK_EXIT_CODES[Outcome.OUTCOME_CANNOT_ANSWER]))


def _check_file(
    session: Session, roster: Roster, out: Path, officer: OfficerContext, revision: str
) -> Outcome.ValueType:
    """Checks what has no result yet, and gives the gravest outcome of the whole roster."""
    with session.client() as client, closing(Results(out, roster)) as results:
        try:
            while True:
                begun_at = results.last_row
                try:
                    return check_rows(session, client, roster, results, officer, revision)
                except Unavailable:
                    # The hub closes every line after a while, and a long roster outlives it.
                    if results.last_row == begun_at:
                        raise
                    session.note(f"The line was cut after row {results.last_row}; going on.")
        except (Unavailable, DeadlineExceeded, ResourceExhausted, KeyboardInterrupt):
            session.note("The check was cut. The same command goes on where it was.")
            raise
        finally:
            print(results.summary(), file=sys.stderr if session.json else sys.stdout)
