"""`nsor offender`: records of convicts."""

import sys
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from nsor.registry.v1.offender_pb2 import CourtEvent, Offender, Passport
from nsor.registry.v1.registry_service_pb2 import DuplicateOverride
from nsor_client.cli import render
from nsor_client.cli.session import (
    AtLeastOption,
    EtagOption,
    FirOption,
    JsonFile,
    OffenderName,
    OfficerOption,
    PurposeName,
    PurposeOption,
    RequestIdOption,
    Session,
    as_read,
    officer_context,
    parse,
    typed,
)

app = typer.Typer(no_args_is_help=True, help="Read and enter records of convicts.")

TEMPLATE = """\
{
  "person": {
    "cnic": "",
    "full_name": "",
    "full_name_ur": "",
    "guardian_name": "",
    "guardian_name_ur": "",
    "guardian_relation": "GUARDIAN_RELATION_FATHER",
    "sex": "SEX_MALE",
    "date_of_birth": "YYYY-MM-DD"
  },
  "district": "",
  "convictions": [
    {
      "court": "",
      "case_number": "",
      "fir_number": "NUMBER/YEAR",
      "police_station": "",
      "offence_code": "PPC-376",
      "conviction_date": "YYYY-MM-DD",
      "finality": "FINALITY_APPEAL_WINDOW",
      "finality_date": "YYYY-MM-DD",
      "victim_class": "VICTIM_CLASS_CHILD"
    }
  ]
}"""


class DocumentKind(StrEnum):
    """A document of a person."""

    cnic = "cnic"
    old_nic = "old-nic"
    passport = "passport"


class CourtEventName(StrEnum):
    """What happened to a conviction at a court."""

    appeal_filed = "appeal-filed"
    appeal_dismissed = "appeal-dismissed"
    appeal_period_ended = "appeal-period-ended"
    set_aside = "set-aside"


@app.command()
def template() -> None:
    """Print a record to fill in, for `nsor offender create`.

    Example:

      nsor offender template > new.json
    """
    sys.stdout.write(TEMPLATE + "\n")


@app.command()
def create(
    context: typer.Context,
    file: JsonFile,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    not_the_same_as: Annotated[
        list[str] | None,
        typer.Option(metavar="OFFENDER", help="A record of somebody much alike, who is another person; repeatable."),
    ] = None,
    because: Annotated[str, typer.Option(help="Why it is another person. Nothing about a victim.")] = "",
    request_id: RequestIdOption = None,
) -> None:
    """Enter one convicted person; `nsor import` enters many.

    Examples:

      nsor offender create new.json
      nsor --json offender create - < new.json
      nsor offender create new.json --not-the-same-as offenders/... --because "brothers, born in two years"
    """
    session = Session.of(context)
    record = parse(file, Offender)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.create_offender(
            record,
            request_id=request_id,
            officer=who,
            duplicate_override=DuplicateOverride(not_the_same_as=not_the_same_as, reason=because)
            if not_the_same_as
            else None,
        )
    session.show(response, lambda r: f"written: {r.offender.name} (revision {r.revision})")


@app.command()
def get(
    context: typer.Context,
    name: OffenderName,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    version: Annotated[
        int, typer.Option(help="As it was at this version, see nsor offender history; 0: as it is.")
    ] = 0,
    at_least_revision: AtLeastOption = "",
) -> None:
    """Show one record. Another province's record needs a purpose that allows it.

    Example:

      nsor offender get offenders/... --purpose investigation --fir 123/2026
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        record = client.get_offender(name, who, version=version, at_least_revision=at_least_revision)
    session.show(record, render.offender)


@app.command()
def find(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="NUMBER|-", help="Of the document; - reads stdin.")],
    kind: Annotated[DocumentKind, typer.Option(help="What it is; a passport is COUNTRY NUMBER.")] = DocumentKind.cnic,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.investigation,
    fir: FirOption = "",
    at_least_revision: AtLeastOption = "",
) -> None:
    """Show the record that a document stands on; ends with 1 if there is none.

    Other users of a computer see commands, and histories keep them: with -
    the number comes from standard input instead.

    Examples:

      nsor offender find 35202-0000000-1 --fir 123/2026
      nsor offender find --kind passport "AFG P1234567" --fir 123/2026
      nsor offender find --kind old-nic - --fir 123/2026 < number.txt
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    text = typed(number).strip()
    with session.client() as client:
        match kind:
            case DocumentKind.cnic:
                record = client.find_offender(who, cnic=text, at_least_revision=at_least_revision)
            case DocumentKind.old_nic:
                record = client.find_offender(who, old_nic=text, at_least_revision=at_least_revision)
            case DocumentKind.passport:
                passport = Passport(country=text[:3].upper(), number=text[3:].strip())
                record = client.find_offender(who, passport=passport, at_least_revision=at_least_revision)
    session.show(record, render.offender)


@app.command()
def history(
    context: typer.Context,
    name: OffenderName,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
) -> None:
    """Show who changed a record, when, why, and which fields; newest first."""
    session = Session.of(context)
    with session.client() as client:
        for revision in client.list_offender_revisions(name, officer_context(officer, purpose, fir)):
            session.show(revision, render.revision)


@app.command("list")
def list_offenders(
    context: typer.Context,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    limit: Annotated[int, typer.Option(min=1, help="Records at most, newest first.")] = 50,
    filter: Annotated[
        str, typer.Option(metavar="TEXT", help="Conditions on status, owner, create_time and update_time, with AND.")
    ] = "",
) -> None:
    """List the records of this node, newest first.

    Examples:

      nsor offender list --filter 'status = SEALED AND update_time > "2026-11-01T00:00:00Z"'

      nsor --json offender list --limit 1000000 > records.jsonl
    """
    session = Session.of(context)
    with session.client() as client:
        records = client.list_offenders(officer_context(officer, purpose, fir), filter=filter)
        for found in islice(records, limit):
            session.show(found, render.offender_line)
        if next(records, None) is not None:
            session.note(f"There are more than these {limit}; see --limit.")


@app.command("court-event")
def record_court_event(
    context: typer.Context,
    name: OffenderName,
    number: Annotated[int, typer.Argument(metavar="CONVICTION", help="Its number in the record, from 1.")],
    event: Annotated[CourtEventName, typer.Argument()],
    date: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Day of the court's order.")],
    order: Annotated[str, typer.Option(help="Which order: court, number and date. Nothing about a victim.")],
    etag: EtagOption,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Record what a court decided about a conviction. For courts, and for NPB.

    Once the last conviction is set aside the record is sealed for ever: who
    it was about is erased.

    Example:

      nsor offender court-event offenders/... 1 set-aside --etag 2 \\
        --date 2026-06-01 --order "Crl. Appeal 120/2026, Lahore High Court"
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.record_court_event(
            as_read(name, etag),
            number,
            CourtEvent.Value(f"COURT_EVENT_{event.name.upper()}"),
            date,
            order,
            request_id=request_id,
            officer=who,
        )
    session.show(response, lambda r: f"{render.word(r.offender, 'status')}: {r.offender.name} (revision {r.revision})")


@app.command()
def merge(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="OFFENDER", help="The record that stays, offenders/...")],
    duplicate: Annotated[str, typer.Argument(metavar="DUPLICATE", help="The other one, offenders/...")],
    etag: EtagOption,
    duplicate_etag: Annotated[str, typer.Option(help="Of the other record as it was read.")],
    reason: Annotated[str, typer.Option(help="By what both are of one person. Nothing about a victim.")],
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Make two records of one person one. For NPB. It cannot be undone.

    The one that stays has the numbers, names, convictions and notices of
    both from then on; the other one keeps its history, and says where it went.

    Example:

      nsor offender merge offenders/... offenders/... --etag 2 --duplicate-etag 1 \\
        --reason "NADRA: one person, two cards"
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    kept, other = as_read(name, etag), as_read(duplicate, duplicate_etag)
    with session.client() as client:
        response = client.merge_offenders(kept, other, reason, who, request_id=request_id)
    session.show(response, lambda r: f"merged: {r.offender.name} (revision {r.revision})")


@app.command()
def propagation(context: typer.Context, name: OffenderName) -> None:
    """Show which nodes have applied the newest version of a record, and which have not."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.get_propagation(name), render.propagation)
