"""`nsor enrol` and `nsor renew`: the certificate of this node."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from nsor_client import enrol
from nsor_client.cli.session import Session

app = typer.Typer()


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
