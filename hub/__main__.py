"""The command `nsor-hub`."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from hub.cli import keys, nodes, pki
from hub.cli.shared import ConfigFile, load_settings
from hub.config import HubSettings
from hub.dev.environment import DevEnvironment
from hub.domain.errors import Refused
from hub.pki import write_private
from hub.supervisor import Supervisor

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")
app.add_typer(pki.app, name="pki")
app.add_typer(keys.app, name="keyring")
app.add_typer(nodes.app, name="node")


@app.callback()
def _root() -> None:
    """The integration hub of Pakistan's National Sex Offenders Register.

    A hub on your own machine, with everything that it needs:

        nsor-hub dev --dir ./state

    In production, with settings from the environment or a file (see `nsor-hub settings`):

        nsor-hub migrate --config hub.toml && nsor-hub serve --config hub.toml

    Exit codes: 0 fine, 1 refused or a fault, 2 wrong usage, 78 wrong settings.
    """


@app.command()
def dev(
    dir: Annotated[Path, typer.Option(help="Folder of the whole state; made if missing, kept for the next start.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes any that is free.")] = "127.0.0.1:7443",
    enrol_listen: Annotated[str, typer.Option(help="HOST:PORT where nodes enrol by token.")] = "127.0.0.1:0",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Written when the hub serves: JSON with target, enrol_target, dsn and nodes_dir."),
    ] = None,
) -> None:
    """Runs a whole hub on this machine: database, CA, enrolled nodes and workers, until Ctrl-C.

    Credentials of each node are in DIR/nodes/NODE/{cert,key,ca}.pem.
    """
    if ready_file:
        ready_file.unlink(missing_ok=True)
    environment = DevEnvironment(dir)
    try:
        settings = environment.start(listen, enrol_listen, workers)

        def announce(target: str, enrol_target: str) -> None:
            ready = {"target": target, "enrol_target": enrol_target}
            ready |= {"dsn": environment.postgres.dsn(), "nodes_dir": str(environment.nodes_dir)}
            if ready_file:
                write_private(ready_file, json.dumps(ready).encode())
            Console(stderr=True).print(
                f"The hub serves at [bold]{target}[/], and for enrolment at {enrol_target}. "
                f"Nodes: {environment.nodes_dir}",
                highlight=False,
            )

        Supervisor(settings, announce, environment.keep_alive).run()
    finally:
        environment.postgres.stop()


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Runs the hub on an external PostgreSQL, until SIGTERM."""
    settings = load_settings(config)

    def announce(target: str, enrol_target: str) -> None:
        logging.info("the hub serves at %s, for enrolment at %s", target, enrol_target or "no port")

    Supervisor(settings, announce).run()


@app.command()
def migrate(config: ConfigFile = None) -> None:
    """Brings the database's schema to the newest version. Safe to run twice, and from several machines."""
    from hub.store.migrating import migrate  # half a second, which no other command shall wait

    settings = load_settings(config)
    migrate((settings.owner_dsn or settings.dsn).get_secret_value())


@app.command()
def settings(config: ConfigFile = None) -> None:
    """Lists every setting with its meaning and its default."""
    table = Table(Column("environment variable", no_wrap=True), "meaning", "default")
    for name, field in HubSettings.model_fields.items():
        default = "required" if field.is_required() else str(field.get_default())
        table.add_row(f"NSOR_{name.upper()}", field.description, default)
    Console().print(table)


def main() -> None:
    """Runs the command; errors come as one line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        app()
    except (Refused, OSError, RuntimeError, ValueError) as error:
        print(f"nsor-hub: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
