"""`nsor watch`, `nsor status` and `nsor alarms`: what happens at the hub."""

from contextlib import closing, suppress
from itertools import islice
from typing import Annotated

import typer

from nsor_client import LineState
from nsor_client.cli import render
from nsor_client.cli.session import Session

app = typer.Typer()


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
def alarms(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Alarms at most, newest first.")] = 50,
) -> None:
    """List what was odd about checks: numbers tried out, one number asked by many. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        for found in islice(client.list_lookup_alarms(), limit):
            session.show(found, render.alarm)
