"""`nsor outbox`: writes that wait for the line to the hub."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from nsor.monitoring.v1.monitoring_service_pb2 import RecordNoticeRequest
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import CreateOffenderRequest, DuplicateOverride, UpdateOffenderRequest
from nsor_client.cli import failures, render
from nsor_client.cli.session import (
    FirOption,
    InputError,
    JsonFile,
    OfficerOption,
    PurposeName,
    RequestIdOption,
    Session,
    officer_context,
    parse,
)
from nsor_client.errors import NsorError
from nsor_client.outbox import Entry, EntryState, Outbox, Write, Written

ENTRY_FIELDS = ("id", "state", "kind", "request_id", "add_time", "refusal")


def listing(entries: Iterable[Entry], *, as_json: bool) -> None:
    """Prints entries without what is in their requests: it is personal."""
    rows = [
        (str(e.id), e.state.value, e.kind, e.request.request_id, f"{e.add_time:%Y-%m-%d %H:%M:%SZ}", e.refusal or "")
        for e in entries
    ]
    if as_json:
        lines = [json.dumps(dict(zip(ENTRY_FIELDS, row, strict=True)), ensure_ascii=False) for row in rows]
    else:
        lines = render.table([ENTRY_FIELDS, *rows]) if rows else ["The outbox is empty."]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def result(entry: Entry, answer: Written | NsorError) -> str:
    """A line about an entry that was sent."""
    if isinstance(answer, NsorError):
        return render.clean(f"{entry.id}  refused  {entry.kind}: {answer}")
    return f"{entry.id}  written  {entry.kind} (revision {answer.revision})"


app = typer.Typer(no_args_is_help=True, help="Writes that wait for the line to the hub.")

OutboxOption = Annotated[
    Path, typer.Option("--outbox", envvar="NSOR_OUTBOX", dir_okay=False, help="File of the outbox; made where missing.")
]


@app.command()
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
        listing([queue.add(write)], as_json=session.json)


@app.command()
def send(context: typer.Context, outbox: OutboxOption) -> None:
    """Send what waits, in order; may be cut and run again at any time.

    Ends with 0 when everything was written, 6 when the hub refused some
    (they stay, see nsor outbox list), 5 when the line broke: then the rest
    waits for the next run.

    At last the hub is told how far the outbox has come: checks say up to when
    the records of every province are known. So run it every minute or so,
    also while nothing waits.
    """
    session = Session.of(context)

    def show(entry: Entry, answer: Written | NsorError) -> None:
        session.note(result(entry, answer))

    with session.client() as client, Outbox(outbox) as queue:
        sent = queue.send(client, show)
        waiting = sum(entry.state is EntryState.queued for entry in queue.entries())
    session.note(f"{sent.written} written, {sent.refused} refused, {waiting} waiting")
    if sent.stopped_by is not None:
        session.note(render.clean(f"stopped: {sent.stopped_by.message}"))
        raise typer.Exit(failures.exit_code(sent.stopped_by))
    if sent.refused:
        raise typer.Exit(failures.ROWS_REFUSED)


@app.command("list")
def list_outbox(context: typer.Context, outbox: OutboxOption) -> None:
    """Show what waits and what was refused, with the reason; nothing personal."""
    with Outbox(outbox) as queue:
        listing(queue.entries(), as_json=Session.of(context).json)


@app.command()
def forget(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="OUTBOX", help="Its id, as nsor status shows it.")],
) -> None:
    """Tell the hub that an outbox of this node is lost, or not used any more.

    Until then nothing that was decided since its last report counts as known.
    """
    session = Session.of(context)
    with session.client() as client:
        client.report_outbox(id, closed=True)


@app.command()
def override(
    context: typer.Context,
    outbox: OutboxOption,
    entry_id: Annotated[int, typer.Argument(metavar="ID", help="As nsor outbox list shows it.")],
    not_the_same_as: Annotated[
        list[str],
        typer.Option(metavar="OFFENDER", help="A record of somebody much alike, who is another person; repeatable."),
    ],
    because: Annotated[str, typer.Option(help="Why it is another person. Nothing about a victim.")],
) -> None:
    """Send a record that was refused with LIKELY_DUPLICATE again: it is of another person.

    nsor outbox list names the records to compare it with first. The next
    nsor outbox send sends it.

    Example:

      nsor outbox override 7 --not-the-same-as offenders/... --because "brothers, born in two years"
    """
    with Outbox(outbox) as queue:
        entry = queue.override(entry_id, DuplicateOverride(not_the_same_as=not_the_same_as, reason=because))
        listing([entry], as_json=Session.of(context).json)


@app.command()
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
