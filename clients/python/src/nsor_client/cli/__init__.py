"""The command `nsor`: the register from a terminal or a script."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from nsor_client import CredentialsError, NsorError
from nsor_client.cli import (
    access,
    areas,
    certificates,
    checking,
    consents,
    exporting,
    failures,
    identity,
    importing,
    mirroring,
    nodes,
    notices,
    offenders,
    policy,
    queueing,
    reconciling,
    render,
    searching,
    transfers,
    vetting,
    watching,
)
from nsor_client.cli.results import ResultFileError
from nsor_client.cli.session import InputError, Session
from nsor_client.mirror import MirrorError
from nsor_client.outbox import OutboxError
from nsor_client.roster import RosterFileError
from nsor_client.rows import RowFileError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (checking, areas, importing, exporting, watching, reconciling, certificates):
    app.add_typer(commands.app)
for name, group in {
    "offender": offenders,
    "identity": identity,
    "transfer": transfers,
    "access": access,
    "notice": notices,
    "node": nodes,
    "policy": policy,
    "consent": consents,
    "vetting": vetting,
    "outbox": queueing,
    "mirror": mirroring,
}.items():
    app.add_typer(group.app, name=name)
offenders.app.command()(searching.search)


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
       5  no answer now, or too many requests: try again later; a write may
          have taken place, and can be sent again
       6  import: some rows were refused; outbox send: some writes were
       7  reconcile: the registers differ
     130  interrupted
    """
    context.obj = Session(node, target, server_name, timeout, json, Console(stderr=True))


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
    except (InputError, MirrorError, OutboxError, ResultFileError, RosterFileError, RowFileError) as error:
        lines, code = [f"error: {error}"], failures.INVALID
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""  # a disk that is full names no file
        lines, code = [f"error: {where}{error.strerror or error}"], failures.OTHER
    for line in lines:
        sys.stderr.write(render.clean(line) + "\n")
    sys.exit(code)
