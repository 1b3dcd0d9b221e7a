"""The command `nsor`: the register from a terminal or a script."""

import csv
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn, Self, TypeVar, cast

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from rich.console import Console

from nsor.common.v1.access_pb2 import Role
from nsor.common.v1.officer_pb2 import OfficerContext, Purpose
from nsor.federation.v1.node_pb2 import Node
from nsor.lookup.v1.disclosure_pb2 import Channel, DisclosureMode, DisclosureRule
from nsor.lookup.v1.lookup_service_pb2 import Outcome
from nsor.monitoring.v1.monitoring_service_pb2 import RecordNoticeRequest
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.offender_pb2 import CourtEvent, Offender
from nsor.registry.v1.registry_service_pb2 import CreateOffenderRequest, UpdateOffenderRequest
from nsor_client import (
    Client,
    Credentials,
    CredentialsError,
    DeadlineExceeded,
    LineState,
    NsorError,
    ResourceExhausted,
    Unavailable,
    enrol,
)
from nsor_client.channel import MAX_REQUEST_BYTES
from nsor_client.cli import checking, failures, importing, mirroring, queueing, reconciling, render
from nsor_client.mirror import MAX_AGE, Mirror, MirrorError, make_key, read_key
from nsor_client.outbox import Entry, EntryState, Outbox, OutboxError, Write, Written
from nsor_client.protojson import from_json, to_json
from nsor_client.roster import Roster, RosterFileError
from nsor_client.rows import RowFile, RowFileError

_Message = TypeVar("_Message", bound=Message)

CHECK_EXIT_CODES = {
    Outcome.OUTCOME_NO_RECORD: 0,
    Outcome.OUTCOME_HIT: 10,
    Outcome.OUTCOME_INVALID_CNIC: 11,
    Outcome.OUTCOME_CANNOT_ANSWER: 12,
}

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

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
offender_app = typer.Typer(no_args_is_help=True, help="Read and enter records of convicts.")
transfer_app = typer.Typer(no_args_is_help=True, help="Hand records over to another police force.")
notice_app = typer.Typer(no_args_is_help=True, help="What offenders notify after release.")
node_app = typer.Typer(no_args_is_help=True, help="The nodes of the federation.")
policy_app = typer.Typer(no_args_is_help=True, help="What the public is told of a hit.")
outbox_app = typer.Typer(no_args_is_help=True, help="Writes that wait for the line to the hub.")
mirror_app = typer.Typer(no_args_is_help=True, help="A local, encrypted copy of the register, which needs no line.")
app.add_typer(offender_app, name="offender")
app.add_typer(transfer_app, name="transfer")
app.add_typer(notice_app, name="notice")
app.add_typer(node_app, name="node")
app.add_typer(policy_app, name="policy")
app.add_typer(outbox_app, name="outbox")
mirror_app = typer.Typer(
    no_args_is_help=True, help="A local, encrypted copy of the register, for when there is no line."
)
app.add_typer(mirror_app, name="mirror")


class PurposeName(StrEnum):
    """Why an officer reads personal data."""

    record_maintenance = "record-maintenance"
    investigation = "investigation"
    supervision = "supervision"
    vetting = "vetting"
    oversight = "oversight"


class RoleName(StrEnum):
    """What a node is."""

    nadra = "nadra"
    npb = "npb"
    police = "police"
    fia = "fia"
    prisons = "prisons"
    courts = "courts"
    vetting_agency = "vetting-agency"
    public_gateway = "public-gateway"


class ModeName(StrEnum):
    """What a hit tells."""

    off = "off"
    hit_only = "hit-only"
    hit_with_name = "hit-with-name"


class PublicRoleName(StrEnum):
    """A role that is told what the disclosure policy says."""

    vetting_agency = "vetting-agency"
    public_gateway = "public-gateway"


class ChannelName(StrEnum):
    """How a check comes to the hub."""

    single = "single"
    batch = "batch"


class CourtEventName(StrEnum):
    """What happened to a conviction at a court."""

    appeal_filed = "appeal-filed"
    appeal_dismissed = "appeal-dismissed"
    appeal_period_ended = "appeal-period-ended"
    set_aside = "set-aside"


OfficerOption = Annotated[
    str | None,
    typer.Option("--officer", envvar="NSOR_OFFICER", help="Who asks: belt number or login; yours by default."),
]
PurposeOption = Annotated[PurposeName, typer.Option("--purpose", help="Why. The audit log keeps it.")]
FirOption = Annotated[
    str, typer.Option("--fir", metavar="NUMBER/YEAR", help="The FIR that it serves; an investigation needs one.")
]
AtLeastOption = Annotated[str, typer.Option(metavar="REVISION", help="The answer must be as new as this revision.")]
RequestIdOption = Annotated[
    str | None,
    typer.Option("--request-id", metavar="UUID", help="To do again what got no answer: the id printed then."),
]
OutboxOption = Annotated[
    Path, typer.Option("--outbox", envvar="NSOR_OUTBOX", dir_okay=False, help="File of the outbox; made where missing.")
]
MirrorOption = Annotated[
    Path, typer.Option("--mirror", envvar="NSOR_MIRROR", dir_okay=False, help="File of the mirror; made where missing.")
]
BuiltMirrorOption = Annotated[
    Path, typer.Option("--mirror", envvar="NSOR_MIRROR", dir_okay=False, exists=True, help="File of the mirror.")
]
MirrorKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="NSOR_MIRROR_KEY",
        dir_okay=False,
        help="File of its key; by default mirror.key in the folder of the node.",
    ),
]
MaxAgeOption = Annotated[
    float,
    typer.Option(envvar="NSOR_MIRROR_MAX_AGE", min=0, metavar="SECONDS", help="An older mirror does not answer."),
]
JsonFile = Annotated[Path, typer.Argument(metavar="FILE|-", help="JSON; - is standard input.")]
EtagOption = Annotated[str, typer.Option("--etag", help="Of the record as it was read: nsor offender get shows it.")]
OffenderName = Annotated[str, typer.Argument(metavar="OFFENDER", help="Name of the record, offenders/...")]


class InputError(Exception):
    """What was given cannot be read. The message quotes nothing of it."""


@dataclass(frozen=True)
class Session:
    """What the global options say, and where to print."""

    node: Path | None
    target: str | None
    server_name: str | None
    timeout: float
    json: bool
    err: Console

    def client(self, *, renew: bool = False) -> Client:
        """The client of the hub, as this node; one that runs long renews its certificate."""
        if self.node is None:
            raise typer.BadParameter("no node is given: use --node DIR, or set NSOR_NODE")
        if self.target is None:
            raise typer.BadParameter("no hub is given: use --target HOST:PORT, or set NSOR_TARGET")
        credentials = Credentials.from_dir(self.node)
        try:
            return Client(self.target, credentials, timeout=self.timeout, server_name=self.server_name, renew=renew)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    @classmethod
    def of(cls, context: typer.Context) -> Self:
        """The session of a command."""
        return cast(Self, context.obj)

    def show(self, message: _Message, for_people: Callable[[_Message], str]) -> None:
        """Prints a message: as JSON where that was asked for."""
        if text := to_json(message) if self.json else for_people(message):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Says something that is not the result."""
        self.err.out(text, highlight=False)


@app.callback()
def options(
    context: typer.Context,
    node: Annotated[
        Path | None,
        typer.Option(envvar="NSOR_NODE", metavar="DIR", help="Folder of the node: cert.pem, key.pem, ca.pem."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(envvar="NSOR_TARGET", metavar="HOST:PORT", help="Where the hub listens.")
    ] = None,
    server_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name in the hub's certificate, where it is not the HOST."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="For each call.")] = 10.0,
    json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object a line (protobuf mapping, field names of the contract)."),
    ] = False,
) -> None:
    """The National Sex Offenders Register, for the nodes of its federation.

    Examples:

      nsor --node nodes/fia --target 127.0.0.1:7443 check 35202-0000000-1

      export NSOR_NODE=nodes/punjab-police NSOR_TARGET=127.0.0.1:7443
      nsor import convictions.csv --result result.csv
      nsor offender get offenders/... --purpose investigation --fir 123/2026
      nsor --json watch --after 0

    Exit codes:

       0  done; check: no record, which does not mean that the person is clean
      10  check: hit
      11  check: the text is not a CNIC
      12  check: the hub, or the mirror, cannot answer now
       1  any other failure, for example no such record
       2  wrong use, or the files of the node cannot be used
       3  refused: the hub does not accept the node, or does not allow it this
       4  the request, or the file, breaks a rule
       5  no answer: a write may have taken place, and can be sent again
       6  import: some rows were refused; outbox send: some writes were
       7  reconcile: the registers differ
     130  interrupted
    """
    context.obj = Session(node, target, server_name, timeout, json, Console(stderr=True))


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
    as_of_time and roster (a digest of the file). After a cut, or when the
    hub could not answer, the same command goes on where it was. Ends with
    12, 5 or 3 if it did not get to the end; or else with 10 if there is a
    hit, 11 if a row holds no CNIC, 0 if neither.

    Examples:

      nsor check 35202-0000000-1
      nsor check - --purpose investigation --fir 123/2026 < number.txt
      nsor check --file roster.csv --out result.csv
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    if file is not None and out is not None and cnic is None:
        raise typer.Exit(CHECK_EXIT_CODES[check_file(session, Roster(file, column), out, who, at_least_revision)])
    if cnic is None or file is not None or out is not None:
        raise typer.BadParameter("give one number, or --file with --out")
    text = sys.stdin.read(2000) if cnic == "-" else cnic
    with session.client() as client:
        response = client.check_cnic(text, officer=who, at_least_revision=at_least_revision)
    session.show(response, render.check)
    raise typer.Exit(CHECK_EXIT_CODES.get(response.outcome, CHECK_EXIT_CODES[Outcome.OUTCOME_CANNOT_ANSWER]))


def check_file(
    session: Session, roster: Roster, out: Path, officer: OfficerContext, revision: str
) -> Outcome.ValueType:
    """Checks what has no result yet, and gives the gravest outcome of the whole roster."""
    with session.client() as client, closing(checking.Results(out, roster)) as results:
        printed = sys.stdout if session.json else None
        try:
            return checking.check(client, roster, results, officer, revision, session.err, printed)
        except (Unavailable, DeadlineExceeded, ResourceExhausted, KeyboardInterrupt):
            session.note("The check was cut. The same command goes on where it was.")
            raise
        finally:
            print(results.summary(), file=sys.stderr if session.json else sys.stdout)


@offender_app.command()
def template() -> None:
    """Print a record to fill in, for `nsor offender create`.

    Example:

      nsor offender template > new.json
    """
    sys.stdout.write(TEMPLATE + "\n")


@offender_app.command()
def create(
    context: typer.Context,
    file: JsonFile,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Enter one convicted person; `nsor import` enters many.

    Examples:

      nsor offender create new.json
      nsor --json offender create - < new.json
    """
    session = Session.of(context)
    record = parse(file, Offender)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.create_offender(record, request_id=request_id, officer=who)
    session.show(response, lambda r: f"written: {r.offender.name} (revision {r.revision})")


@offender_app.command()
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


@offender_app.command()
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


@offender_app.command("list")
def list_offenders(
    context: typer.Context,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    limit: Annotated[int, typer.Option(min=1, help="Records at most, newest first.")] = 50,
) -> None:
    """List the records of this node, newest first.

    Example:

      nsor --json offender list --limit 1000000 > records.jsonl
    """
    session = Session.of(context)
    with session.client() as client:
        records = client.list_offenders(officer_context(officer, purpose, fir))
        for found in islice(records, limit):
            session.show(found, render.offender_line)
        if next(records, None) is not None:
            session.note(f"There are more than these {limit}; see --limit.")


@offender_app.command("court-event")
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


@offender_app.command()
def propagation(context: typer.Context, name: OffenderName) -> None:
    """Show which nodes have applied the newest version of a record, and which have not."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.get_propagation(name), render.propagation)


TransferReason = Annotated[str, typer.Option("--reason", help="Why. Nothing about a victim.")]


@transfer_app.command()
def propose(
    context: typer.Context,
    name: OffenderName,
    receiver: Annotated[str, typer.Argument(metavar="NODE", help="For example sindh-police.")],
    etag: EtagOption,
    reason: TransferReason,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Propose a record to another police force; this node stays responsible until that one accepts.

    Example:

      nsor transfer propose offenders/... sindh-police --etag 3 --reason "moved to Karachi"
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.propose_transfer(
            as_read(name, etag), f"nodes/{receiver}", reason, request_id=request_id, officer=who
        )
    session.show(response, lambda r: render.transfer(r.offender.transfer))


@transfer_app.command()
def accept(
    context: typer.Context,
    name: OffenderName,
    etag: EtagOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; required of NPB.")] = "",
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Take over a record that was proposed to this node. Read it before: nsor offender get."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.accept_transfer(as_read(name, etag), reason, request_id=request_id, officer=who)
    session.show(response, lambda r: f"owner: {r.offender.owner} (revision {r.revision})")


@transfer_app.command()
def decline(
    context: typer.Context,
    name: OffenderName,
    etag: EtagOption,
    reason: TransferReason,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.record_maintenance,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Decline a record that was proposed to this node, or take a proposal of this node back."""
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.decline_transfer(as_read(name, etag), reason, request_id=request_id, officer=who)
    session.show(response, lambda r: f"owner: {r.offender.owner} (revision {r.revision})")


@transfer_app.command("list")
def list_transfers(
    context: typer.Context,
    node: Annotated[str, typer.Option(metavar="ID", help="Only those to or of this node.")] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that were to be answered before now.")] = False,
) -> None:
    """List what is proposed to or by this node and not answered yet; for NPB, all."""
    session = Session.of(context)
    with session.client() as client:
        for transfer in client.list_transfers(node=f"nodes/{node}" if node else "", overdue_only=overdue):
            session.show(transfer, render.transfer)


@notice_app.command()
def record(
    context: typer.Context,
    parent: OffenderName,
    file: JsonFile,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.supervision,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Record that an offender notified a new name, an address or a journey.

    Example:

      nsor notice record offenders/... - <<END
      {"notified_date": "2026-03-01",
       "travel": {"scope": "TRAVEL_SCOPE_ABROAD", "destination": "AE",
                  "departure_date": "2026-04-01"}}
      END
    """
    session = Session.of(context)
    detail = parse(file, Notice)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        response = client.record_notice(parent, detail, request_id=request_id, officer=who)
    session.show(response, lambda r: f"written: {r.notice.name} (revision {r.revision})")


@notice_app.command("list")
def list_notices(
    context: typer.Context,
    parent: OffenderName,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.supervision,
    fir: FirOption = "",
) -> None:
    """List what an offender notified, newest first."""
    session = Session.of(context)
    with session.client() as client:
        for notice in client.list_notices(parent, officer_context(officer, purpose, fir)):
            session.show(notice, render.notice)


@node_app.command("list")
def list_nodes(context: typer.Context) -> None:
    """List the nodes, what they are, and when their certificates end."""
    session = Session.of(context)
    with session.client() as client:
        for node in client.list_nodes():
            session.show(node, render.node)


NodeId = Annotated[str, typer.Argument(metavar="ID", help="For example punjab-police.")]
StateReason = Annotated[str, typer.Option("--reason", help="Why; all who list nodes read it.")]


@node_app.command("create")
def create_node(
    context: typer.Context,
    id: NodeId,
    role: Annotated[RoleName, typer.Option("--role")],
    display_name: Annotated[str, typer.Option(help="Name for people; the id, if it is not given.")] = "",
    jurisdiction: Annotated[str, typer.Option(help="Province or territory; empty for national bodies.")] = "",
    request_id: RequestIdOption = None,
) -> None:
    """Create a node, and print the token by which it enrols. For NPB.

    The token works once, within a day; whoever has it first becomes the
    node, so hand it over on a way that nobody else reads.

    Example:

      nsor node create kp-police --role police --jurisdiction "Khyber Pakhtunkhwa"
    """
    session = Session.of(context)
    node = Node(
        display_name=display_name or id, role=Role.Value(f"ROLE_{role.name.upper()}"), jurisdiction=jurisdiction
    )
    with session.client() as client:
        response = client.create_node(id, node, request_id=request_id)
    session.show(response, lambda r: r.enrolment_token)
    session.note(f"{response.node.name} can enrol with it until {render.moment(response.token_expire_time)}.")


@node_app.command("token")
def create_token(context: typer.Context, id: NodeId, request_id: RequestIdOption = None) -> None:
    """Print a new token for a node that lost its own, or whose certificate ended. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        response = client.create_enrolment_token(f"nodes/{id}", request_id=request_id)
    session.show(response, lambda r: r.enrolment_token)


@node_app.command()
def suspend(context: typer.Context, id: NodeId, reason: StateReason, request_id: RequestIdOption = None) -> None:
    """Keep a node out for the time being; its calls and streams end within a second. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.suspend_node(f"nodes/{id}", reason, request_id=request_id), render.node)


@node_app.command()
def resume(context: typer.Context, id: NodeId, reason: StateReason, request_id: RequestIdOption = None) -> None:
    """Let a suspended node in again. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.resume_node(f"nodes/{id}", reason, request_id=request_id), render.node)


@node_app.command()
def revoke(context: typer.Context, id: NodeId, reason: StateReason, request_id: RequestIdOption = None) -> None:
    """Keep a node out for ever; its calls and streams end within a second. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.revoke_node(f"nodes/{id}", reason, request_id=request_id), render.node)


@app.command()
def alarms(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Alarms at most, newest first.")] = 50,
) -> None:
    """List what was odd about checks: numbers tried out, one number asked by many. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        for found in islice(client.list_lookup_alarms(), limit):
            session.show(found, render.alarm)


@policy_app.command("show")
def show_policy(context: typer.Context) -> None:
    """Show what the public is told of a hit. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.get_disclosure_policy(), render.policy)


@policy_app.command("set")
def set_policy(
    context: typer.Context,
    mode: Annotated[ModeName | None, typer.Option(help="What a hit tells.")] = None,
    role: Annotated[PublicRoleName | None, typer.Option(help="Whom; all of the public by default.")] = None,
    channel: Annotated[
        ChannelName | None, typer.Option(help="Who asks so: for one person, or with a roster; both by default.")
    ] = None,
    under_appeal: Annotated[
        bool | None, typer.Option("--under-appeal/--no-under-appeal", help="Whether one under appeal alone is a hit.")
    ] = None,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.oversight,
) -> None:
    """Change what the public is told of a hit, everywhere within a second. For NPB.

    With off nothing is told, whoever is asked about, as when there is no
    hub; police and others who enforce the law are not affected.

    Examples:

      nsor policy set --mode off
      nsor policy set --mode hit-only --role public-gateway
    """
    session = Session.of(context)
    with session.client() as client:
        policy = client.get_disclosure_policy()
        rules = {(rule.role, rule.channel): rule.mode for rule in policy.rules}
        if mode is not None:
            for whom in [role] if role else PublicRoleName:
                for how in [channel] if channel else ChannelName:
                    key = (Role.Value(f"ROLE_{whom.name.upper()}"), Channel.Value(f"CHANNEL_{how.name.upper()}"))
                    rules[key] = DisclosureMode.Value(f"DISCLOSURE_MODE_{mode.name.upper()}")
        del policy.rules[:]
        policy.rules.extend(DisclosureRule(role=r, channel=c, mode=m) for (r, c), m in rules.items())
        if under_appeal is not None:
            policy.disclose_under_appeal = under_appeal
        session.show(client.update_disclosure_policy(policy, officer_context(officer, purpose, "")), render.policy)


@app.command("enrol")
def enrol_(
    context: typer.Context,
    target: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the hub listens for enrolment.")],
    token: Annotated[
        str, typer.Option(envvar="NSOR_ENROLMENT_TOKEN", help="The token from NPB; - reads standard input.")
    ],
    ca: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The hub's CA in PEM, from NPB.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for cert.pem, key.pem and ca.pem.")],
) -> None:
    """Make this node's key, and get its certificate for the token from NPB.

    The private key is made here and stays here. If the line breaks, do the
    same again.

    Example:

      nsor enrol --target hub.example:7444 --token - --ca ca.pem --out nodes/kp-police < token
    """
    session = Session.of(context)
    secret = sys.stdin.read(1000).strip() if token == "-" else token
    credentials = enrol(target, secret, ca.read_bytes(), out, server_name=session.server_name)
    session.note(f"{credentials.node} is enrolled; its certificate in {out} ends {credentials.expire_time:%Y-%m-%d}.")


@app.command()
def renew(context: typer.Context) -> None:
    """Get a further certificate for this node, and the CAs as they are now.

    To be run long before the certificate ends, for example weekly: the old
    one stays good. nsor watch and nsor mirror follow renew by themselves, and
    take what this command puts into the folder.
    """
    session = Session.of(context)
    with session.client() as client:
        credentials = client.renew()
    assert session.node is not None, "there was a client"
    credentials.write(session.node)
    session.note(f"The certificate in {session.node} ends {credentials.expire_time:%Y-%m-%d}.")


@app.command()
def watch(
    context: typer.Context,
    after: Annotated[
        str, typer.Option(metavar="REVISION", help='Continue after it; "0" is the beginning. From now on by default.')
    ] = "",
) -> None:
    """Follow the changes of the register, until Ctrl-C.

    Where the line breaks it waits, says why, and goes on where it was;
    nothing is left out and nothing shown twice. Says at the end how to
    continue. With --json every response is printed, also those without
    events, which say up to which revision everything is known.

    Examples:

      nsor watch
      nsor --json watch --after 0 > changes.jsonl
    """
    session = Session.of(context)
    revision = ""

    def tell(state: LineState) -> None:
        session.note(render.line_state(state))

    with (
        session.client(renew=True) as client,
        closing(client.watch_changes(after, on_state=tell)) as responses,
        suppress(KeyboardInterrupt),
    ):
        try:
            for response in responses:
                session.show(response, render.changes)
                revision = response.revision  # after it was shown: better shown twice than never
        finally:
            if revision:
                session.note(f"To continue: nsor watch --after {revision}")


@app.command()
def status(context: typer.Context) -> None:
    """Show how far the register is, and how far behind it each node is.

    Only nodes that follow the feed and acknowledge what they applied are
    shown.
    """
    session = Session.of(context)
    with session.client() as client:
        session.show(client.get_federation_status(), render.status)


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
        with nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8-sig", newline="") as source:
            rows = reconciling.read(file, source)
        with session.client() as client:
            found = client.reconcile(rows, everything=everything)
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{file}: {'not UTF-8' if isinstance(error, UnicodeDecodeError) else error}") from None
    differ = reconciling.differences(found, rows)
    if report:
        with report.open("w", encoding="utf-8", newline="") as sink:
            csv.writer(sink).writerows([("only_at", "record"), *differ])
    print(reconciling.summary(found, differ, as_json=session.json))
    if differ:
        raise typer.Exit(failures.DIFFERENT)


@outbox_app.command()
def add(
    context: typer.Context,
    file: JsonFile,
    outbox: OutboxOption,
    update: Annotated[
        str, typer.Option(metavar="PATHS", help="Change these fields (district,...) of the record, as it was read.")
    ] = "",
    notice_of: Annotated[
        str, typer.Option(metavar="OFFENDER", help="The file is a notice of this offender, offenders/...")
    ] = "",
    officer: OfficerOption = None,
    purpose: Annotated[PurposeName | None, typer.Option("--purpose", help="Why. The audit log keeps it.")] = None,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Queue a record to enter, a change with --update, or a notice with --notice-of.

    It needs no line. What was queued is on the disk when the command ends,
    in the clear: keep the file on an encrypted disk.

    Examples:

      nsor outbox add new.json
      nsor outbox add changed.json --update district,person.full_name
      nsor outbox add notice.json --notice-of offenders/...
    """
    session = Session.of(context)
    if update and notice_of:
        raise typer.BadParameter("--update and --notice-of exclude each other")
    default = PurposeName.supervision if notice_of else PurposeName.record_maintenance
    who = officer_context(officer, purpose or default, fir)
    write: Write
    if notice_of:
        write = RecordNoticeRequest(
            parent=notice_of, notice=parse(file, Notice), request_id=request_id or "", officer=who
        )
    elif update:
        write = UpdateOffenderRequest(
            offender=parse(file, Offender),
            update_mask=FieldMask(paths=[path.strip() for path in update.split(",")]),
            request_id=request_id or "",
            officer=who,
        )
    else:
        write = CreateOffenderRequest(offender=parse(file, Offender), request_id=request_id or "", officer=who)
    with Outbox(outbox) as queue:
        queueing.listing([queue.add(write)], as_json=session.json)


@outbox_app.command()
def send(context: typer.Context, outbox: OutboxOption) -> None:
    """Send what waits, in order; may be cut and run again at any time.

    Ends with 0 when everything was written, 6 when the hub refused some
    (they stay, see nsor outbox list), 5 when the line broke: then the rest
    waits for the next run.
    """
    session = Session.of(context)

    def show(entry: Entry, answer: Written | NsorError) -> None:
        session.note(queueing.result(entry, answer))

    with session.client() as client, Outbox(outbox) as queue:
        sent = queue.send(client, show)
        waiting = sum(entry.state is EntryState.queued for entry in queue.entries())
    session.note(f"{sent.written} written, {sent.refused} refused, {waiting} waiting")
    if sent.stopped_by is not None:
        session.note(render.clean(f"stopped: {sent.stopped_by.message}"))
        raise typer.Exit(failures.exit_code(sent.stopped_by))
    if sent.refused:
        raise typer.Exit(failures.ROWS_REFUSED)


@outbox_app.command("list")
def list_outbox(context: typer.Context, outbox: OutboxOption) -> None:
    """Show what waits and what was refused, with the reason; nothing personal."""
    with Outbox(outbox) as queue:
        queueing.listing(queue.entries(), as_json=Session.of(context).json)


@outbox_app.command()
def drop(
    context: typer.Context,
    outbox: OutboxOption,
    entry_id: Annotated[list[int], typer.Argument(metavar="ID...", help="As nsor outbox list shows them.")],
) -> None:
    """Take entries out without sending them.

    One that waits may have reached the hub already, if a run was cut.
    """
    with Outbox(outbox) as queue:
        missing = [str(number) for number in entry_id if not queue.drop(number)]
    if missing:
        raise InputError(f"not in the outbox: {', '.join(missing)}")


@mirror_app.command()
def build(context: typer.Context, mirror: MirrorOption, key: MirrorKeyOption = None) -> None:
    """Copy the whole register into the mirror, as it is now.

    Until the new copy is whole, the old one answers. If the line breaks,
    nothing has changed: do the same again.

    Where there is none yet, a key is made as well. Whoever has key and mirror
    can read every record. The key is as secret as key.pem beside it: keep both
    out of the backups that hold the mirror.

    Example:

      nsor mirror build --mirror mirror.db
    """
    session = Session.of(context)
    with session.client() as client, open_mirror(session, mirror, key) as copy, closing(copy.build(client)) as steps:
        mirroring.show(steps, session.err, as_json=session.json)


@mirror_app.command()
def follow(context: typer.Context, mirror: MirrorOption, key: MirrorKeyOption = None) -> None:
    """Keep the mirror as new as the register, until Ctrl-C; builds it where there is none.

    Where the line breaks it waits, says why, and goes on where it was. It may
    be killed at any moment and started again. With --json every step is
    printed, also those that only say up to when everything is known.

    Example:

      nsor mirror follow --mirror mirror.db
    """
    session = Session.of(context)

    def tell(state: LineState) -> None:
        session.note(render.line_state(state))

    with (
        session.client(renew=True) as client,
        open_mirror(session, mirror, key) as copy,
        closing(copy.follow(client, on_state=tell)) as steps,
        suppress(KeyboardInterrupt),
    ):
        mirroring.show(steps, session.err, as_json=session.json)


@mirror_app.command("check")
def check_mirror(
    context: typer.Context,
    cnic: Annotated[str, typer.Argument(help="The number in any digits, dashes and spaces; - reads stdin.")],
    mirror: BuiltMirrorOption,
    key: MirrorKeyOption = None,
    max_age: MaxAgeOption = MAX_AGE,
) -> None:
    """Tell whether the holder of a CNIC is on the register, by the mirror. Needs no line.

    Ends as nsor check does: 0 (no record), 10 (hit), 11 (not a CNIC) or 12
    (cannot answer: the mirror is older than --max-age). It always says how
    old the answer is. The hub does not learn of it, and its audit log has no
    entry: keep account of checks that must be accounted for.

    Examples:

      nsor mirror check 35202-0000000-1 --mirror mirror.db
      nsor --json mirror check - --mirror mirror.db --max-age 600 < number.txt
    """
    session = Session.of(context)
    text = sys.stdin.read(2000) if cnic == "-" else cnic
    with open_mirror(session, mirror, key, max_age) as copy:
        answer = copy.check(text)
    print(mirroring.check(answer, max_age, as_json=session.json))
    raise typer.Exit(CHECK_EXIT_CODES[answer.response.outcome])


@mirror_app.command("status")
def mirror_status(
    context: typer.Context, mirror: BuiltMirrorOption, key: MirrorKeyOption = None, max_age: MaxAgeOption = MAX_AGE
) -> None:
    """Show what the mirror holds, and how old it is. Needs no line.

    Ends with 0 when it answers checks, 12 when it is too old to.
    """
    session = Session.of(context)
    with open_mirror(session, mirror, key, max_age) as copy:
        found = copy.status()
    print(mirroring.status(found, max_age, as_json=session.json))
    if found is None or not found.answers:
        raise typer.Exit(CHECK_EXIT_CODES[Outcome.OUTCOME_CANNOT_ANSWER])


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A .csv, .jsonl or .ndjson file.")],
    result: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="CSV to write: row, result, offender, reason, fields. Not personal."),
    ] = None,
) -> None:
    """Enter a file of convictions; a refused row stops nothing.

    The same file can be sent again at any time, for example after the line
    was cut: nobody is entered twice. Rows count from 1, without the header.

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

    A .jsonl or .ndjson file has a record as JSON in each line; see
    nsor offender template.

    Example:

      nsor import convictions.csv --result result.csv
    """
    session = Session.of(context)
    rows = RowFile(file)
    with (
        session.client() as client,
        result.open("w", encoding="utf-8", newline="", buffering=1) if result else nullcontext() as sink,
    ):
        report = importing.Report(sink, sys.stdout if session.json else None)
        try:
            importing.send(client, rows, report, session.err)
        except (Unavailable, DeadlineExceeded, KeyboardInterrupt):
            session.note("The import was cut. Send the same file again: nobody is entered twice.")
            raise
        finally:
            print(report.summary(), file=sys.stderr if session.json else sys.stdout)
    if report.refused:
        raise typer.Exit(failures.ROWS_REFUSED)


def officer_context(officer: str | None, purpose: PurposeName, fir: str) -> OfficerContext:
    """Who asks, and why."""
    if officer is None:
        try:
            officer = getpass.getuser()
        except (OSError, KeyError) as error:
            raise typer.BadParameter("no officer is given: use --officer, or set NSOR_OFFICER") from error
    number = Purpose.Value(f"PURPOSE_{purpose.name.upper()}")
    return OfficerContext(officer_id=officer, purpose=number, fir_number=fir)


def open_mirror(session: Session, path: Path, key_file: Path | None, max_age: float = MAX_AGE) -> Mirror:
    """The mirror in a file; makes a key where there are neither."""
    if key_file is None:
        if session.node is None:
            raise typer.BadParameter("no key is given: use --key FILE, or --node DIR for the one in that folder")
        key_file = session.node / "mirror.key"
    makes_key = not path.exists() and not key_file.exists()
    return Mirror(path, make_key(key_file) if makes_key else read_key(key_file), max_age=max_age)


def as_read(name: str, etag: str) -> Offender:
    """A record by its name, with the etag that was read; its quotes get lost in shells."""
    return Offender(name=name, etag=f'"{etag.strip(chr(34))}"')


def parse(file: Path, kind: type[_Message]) -> _Message:
    """Reads a message from a JSON file, or from standard input for "-"."""
    try:
        with nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8") as source:
            text = source.read(MAX_REQUEST_BYTES + 1)
        if len(text) > MAX_REQUEST_BYTES:
            raise InputError(f"{file} is larger than a request may be")
        return from_json(text, kind)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text") from None
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and ends the process with its exit code; failures are said in words, not as tracebacks."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # or gRPC's own log lines stand between ours
    lines, code = list[str](), 0
    try:
        app(arguments)
    except NsorError as error:
        lines, code = list(failures.describe(error)), failures.exit_code(error)
    except CredentialsError as error:
        lines, code = [f"error: {error}"], failures.USAGE
    except (
        InputError,
        MirrorError,
        OutboxError,
        RosterFileError,
        RowFileError,
        reconciling.NumberFileError,
    ) as error:
        lines, code = [f"error: {error}"], failures.INVALID
    except OSError as error:
        lines, code = [f"error: {error.filename}: {error.strerror}"], failures.OTHER
    for line in lines:
        sys.stderr.write(render.clean(line) + "\n")
    sys.exit(code)
