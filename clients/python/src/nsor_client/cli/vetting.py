"""`nsor vetting`: who an institution watches, and what it is told of them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.lookup.v1.vetting_service_pb2 import AddWatchedPeopleResponse, NewWatchedPerson, WatchAlertsResponse
from nsor.lookup.v1.watch_list_pb2 import Alert, WatchedPerson
from nsor_client import Client, LineState, NsorError, ResourceExhausted
from nsor_client.cli import render
from nsor_client.cli.session import (
    FirOption,
    InputError,
    OfficerOption,
    PurposeName,
    PurposeOption,
    RequestIdOption,
    Session,
    officer_context,
)
from nsor_client.roster import csv_rows

app = typer.Typer(no_args_is_help=True, help="Watch the people you employ: alerts instead of checks again and again.")

_AT_ONCE = 1000


@app.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV of people, with a header.")],
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.vetting,
    fir: FirOption = "",
) -> None:
    """Put people on this node's watch list.

    Columns: cnic, consent_reference (what proves that the person agreed)
    and, if wanted, reference (by which you recognise the person). The last
    two go by letters, digits and ._/:#- and must not name anybody.

    The whole roster can be sent again at any time: who is on the list stays.
    Each row is one line. A long roster takes its time: where the hub asks to
    wait, this waits and goes on. Whether somebody is on the register, nsor
    vetting watch tells.

    Example:

      nsor vetting add teachers.csv
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    rows = list(_people(file))  # all of them: of a file that cannot be read nobody is sent
    with session.client() as client:
        while batch := rows[:_AT_ONCE]:
            del rows[:_AT_ONCE]
            try:
                added = _add(session, client, [person for _, person in batch], who)
            except (NsorError, KeyboardInterrupt) as error:
                first, _ = batch[0]
                session.note(f"Rows before {first} of the file are on the list; people[0] below is row {first}.")
                session.note("The same command can be given again: who is on the list stays.")
                if isinstance(error, NsorError):
                    error.request_id = ""  # or it would be advised to give it, which this command cannot take
                raise
            session.show(added, _added)


@app.command("list")
def list_people(context: typer.Context) -> None:
    """List the people on this node's watch list, by their references: the hub cannot show their numbers."""
    session = Session.of(context)
    with session.client() as client:
        for person in client.list_watched_people(page_size=200):
            session.show(person, _person)


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="PERSON", help="Name of the entry, watchedPeople/...")],
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.vetting,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Take somebody off this node's watch list: there are no alerts any more, not of an acquittal either."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        client.remove_watched_person(name, officer=who, request_id=request_id)


@app.command()
def watch(
    context: typer.Context,
    after: Annotated[
        str, typer.Option(metavar="ALERT", help="Continue after this alert, alerts/...; all by default.")
    ] = "",
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.vetting,
    fir: FirOption = "",
) -> None:
    """Show the alerts about the people on this node's watch list, until Ctrl-C.

    Where the line breaks it waits, says why, and goes on where it was;
    nothing is left out and nothing shown twice. Says at the end how to
    continue. Check the number before you act: what holds now, nsor check
    tells. With --json every response is printed, also those without alerts,
    which say up to which time everything is known.

    Examples:

      nsor vetting watch
      nsor --json vetting watch --after alerts/... >> alerts.jsonl
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    last = ""

    def tell(state: LineState) -> None:
        session.note(render.line_state(state))

    with (
        session.client(renew=True) as client,
        closing(client.watch_alerts(after, officer=who, on_state=tell)) as responses,
        suppress(KeyboardInterrupt),
    ):
        try:
            for response in responses:
                session.show(response, _alerts)
                if response.alerts:
                    last = response.alerts[-1].name  # after it was shown: better shown twice than never
        finally:
            if last:
                session.note(f"To continue: nsor vetting watch --after {last}")


def _add(
    session: Session, client: Client, people: Sequence[NewWatchedPerson], officer: OfficerContext
) -> AddWatchedPeopleResponse:
    """Puts people on the list; waits as long as the hub asks for where it is told too many at once."""
    while True:
        try:
            return client.add_watched_people(people, officer=officer)
        except ResourceExhausted as error:
            if error.reason != ErrorReason.ERROR_REASON_TOO_MANY_REQUESTS or not error.retry_after:
                raise
            session.note(f"The hub takes so many people a second and no more: going on in {error.retry_after:.0f} s.")
            time.sleep(error.retry_after)


def _people(file: Path) -> Iterator[tuple[int, NewWatchedPerson]]:
    """The people in the rows of a file, each with the number of the row."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            rows = csv_rows(source, file)
            header = [cell.strip().lower() for cell in next(rows, list[str]())]
            missing = {"cnic", "consent_reference"}.difference(header)
            if missing:
                raise InputError(f"the header of {file} names no column {' and no column '.join(sorted(missing))}")
            for number, cells in enumerate(rows, 1):
                row = dict(zip(header, cells, strict=False))
                fields = {name: row.get(name, "") for name in ("cnic", "consent_reference", "reference")}
                if cells:
                    yield number, NewWatchedPerson(**fields)
    except UnicodeDecodeError:
        raise InputError(f"{file} is not in UTF-8") from None


def _added(response: AddWatchedPeopleResponse) -> str:
    already = len(response.watched_people) - response.added_count
    return f"{response.added_count} put on the watch list, {already} were on it already"


def _person(person: WatchedPerson) -> str:
    cells = (person.name, person.reference, person.consent_reference, f"since {render.moment(person.create_time)}")
    return render.clean("  ".join(filter(None, cells)))


def _alerts(response: WatchAlertsResponse) -> str:
    """A line for each alert; nothing for a bookmark."""
    return "\n".join(map(_alert, response.alerts))


def _alert(alert: Alert) -> str:
    watched = alert.watched_person
    cells = (render.moment(alert.create_time), render.word(alert, "kind").upper(), watched.reference, watched.name)
    return render.clean("  ".join(filter(None, (*cells, render.person(alert.person)))))
