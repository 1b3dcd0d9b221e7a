"""The command `nsor-hub`."""

import asyncio
import json
import logging
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from hub.bootstrap import utc_now
from hub.config import HubSettings
from hub.dev.environment import DevEnvironment
from hub.domain.errors import Refused
from hub.domain.node import Node, NodeState, Role
from hub.pki import CertificateAuthority, write_credentials, write_private
from hub.service import nodes
from hub.store import database
from hub.store.database import PostgresDatabase
from hub.store.vault import Keyring, Vault
from hub.supervisor import Supervisor

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")
pki = typer.Typer(no_args_is_help=True, help="Certificates: a CA, the hub's own, and those of nodes.")
node = typer.Typer(no_args_is_help=True, help="Nodes of the federation.")
app.add_typer(pki, name="pki")
app.add_typer(node, name="node")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings. NSOR_… in the environment goes before it.")
]


@app.callback()
def _root() -> None:
    """The integration hub of Pakistan's National Sex Offenders Register.

    A hub on your own machine, with everything that it needs:

        nsor-hub dev --dir ./state

    In production, with settings from the environment or a file (see `nsor-hub settings`):

        nsor-hub migrate --config hub.toml && nsor-hub serve --config hub.toml

    Exit codes: 0 fine, 1 a fault, 2 wrong usage, 78 wrong settings.
    """


@app.command()
def dev(
    dir: Annotated[Path, typer.Option(help="Folder of the whole state; made if missing, kept for the next start.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes any that is free.")] = "127.0.0.1:7443",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written when the hub serves: JSON with target, dsn and nodes_dir.")
    ] = None,
) -> None:
    """Runs a whole hub on this machine: database, CA, enrolled nodes and workers, until Ctrl-C.

    Credentials of each node are in DIR/nodes/NODE/{cert,key,ca}.pem.
    """
    if ready_file:
        ready_file.unlink(missing_ok=True)
    environment = DevEnvironment(dir)
    try:
        settings = environment.start(listen, workers)

        def announce(target: str) -> None:
            ready = {"target": target, "dsn": environment.postgres.dsn(), "nodes_dir": str(environment.nodes_dir)}
            if ready_file:
                write_private(ready_file, json.dumps(ready).encode())
            Console(stderr=True).print(
                f"The hub serves at [bold]{target}[/]. Nodes: {environment.nodes_dir}", highlight=False
            )

        Supervisor(settings, announce, environment.keep_alive).run()
    finally:
        environment.postgres.stop()


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Runs the hub on an external PostgreSQL, until SIGTERM."""
    settings = _settings(config)
    Supervisor(settings, lambda target: logging.info("the hub serves at %s", target)).run()


@app.command()
def migrate(config: ConfigFile = None) -> None:
    """Brings the database's schema to the newest version. Safe to run twice, and from several machines."""
    database.migrate(_settings(config).dsn.get_secret_value())


@app.command()
def settings(config: ConfigFile = None) -> None:
    """Lists every setting with its meaning and its default."""
    table = Table("environment variable", "meaning", "default")
    for name, field in HubSettings.model_fields.items():
        default = "required" if field.is_required() else str(field.get_default())
        table.add_row(f"NSOR_{name.upper()}", field.description, default)
    Console().print(table)


@app.command()
def keyring(file: Annotated[Path, typer.Argument(help="File to make; it must not exist yet.")]) -> None:
    """Makes the keys that seal personal data. Who loses the file loses the register: keep copies in two safes."""
    _must_not_exist(file)
    write_private(file, Keyring.generate().dump().encode())


@pki.command("init-ca")
def init_ca(
    dir: Annotated[Path, typer.Option(help="Folder for cert.pem and key.pem of the CA.")],
    name: Annotated[str, typer.Option(help="Common name of the CA.")] = "NSOR CA",
    password: Annotated[
        str, typer.Option(envvar="NSOR_CA_PASSWORD", prompt=True, confirmation_prompt=True, hide_input=True)
    ] = "",
) -> None:
    """Makes a CA. Its key is encrypted with the password."""
    _must_not_exist(dir / "key.pem")
    ca = CertificateAuthority.create(name, now=utc_now())
    write_private(dir / "key.pem", ca.key_pem(password.encode() or None))
    write_private(dir / "cert.pem", ca.cert_pem)


CaDir = Annotated[Path, typer.Option("--ca", help="Folder of the CA, as `pki init-ca` made it.")]
CaPassword = Annotated[str, typer.Option(envvar="NSOR_CA_PASSWORD", prompt="CA password", hide_input=True)]


@pki.command("issue-hub")
def issue_hub(
    ca: CaDir,
    out: Annotated[Path, typer.Option(help="Folder for cert.pem, key.pem and ca.pem.")],
    dns: Annotated[list[str], typer.Option(help="DNS name by which callers reach the hub; repeatable.")] = [],  # noqa: B006
    ip: Annotated[list[str], typer.Option(help="IP address by which callers reach the hub; repeatable.")] = [],  # noqa: B006
    trust_domain: str = "nsor.internal",
    password: CaPassword = "",
) -> None:
    """Issues the hub's own certificate."""
    authority = _load_ca(ca, password)
    write_credentials(out, authority.issue_server(trust_domain, dns, ip, now=utc_now()), authority.cert_pem)


@node.command("enrol")
def enrol(
    id: Annotated[str, typer.Argument(help="For example punjab-police.")],
    role: Annotated[Role, typer.Option(case_sensitive=False)],
    ca: CaDir,
    out: Annotated[Path, typer.Option(help="Folder for cert.pem, key.pem and ca.pem, to be handed to the node.")],
    display_name: Annotated[str, typer.Option(help="Name for people; the id, if it is not given.")] = "",
    jurisdiction: Annotated[str, typer.Option(help="Province or territory; empty for national bodies.")] = "",
    password: CaPassword = "",
    config: ConfigFile = None,
) -> None:
    """Enrols a node and issues its certificate, or a further certificate to a node that is enrolled."""
    hub = _settings(config)
    authority = _load_ca(ca, password)
    now = utc_now()
    issued = authority.issue_node(hub.trust_domain, id, now=now)
    new = Node(id, display_name or id, role, jurisdiction, NodeState.ACTIVE, now)
    vault = Vault(Keyring.load(hub.keyring.read_text()))

    async def write() -> None:
        register = PostgresDatabase(hub.dsn.get_secret_value(), vault)
        await nodes.enrol(register, new, issued.serial, issued.not_after)
        await register.close()

    asyncio.run(write())
    write_credentials(out, issued, authority.cert_pem)


def _load_ca(dir: Path, password: str) -> CertificateAuthority:
    try:
        return CertificateAuthority.load(
            (dir / "cert.pem").read_bytes(), (dir / "key.pem").read_bytes(), password.encode() or None
        )
    except (OSError, ValueError, TypeError) as error:
        raise typer.BadParameter(f"no CA in {dir}, or a wrong password ({type(error).__name__})") from None


def _settings(config: Path | None) -> HubSettings:
    try:
        return HubSettings.load(config)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "NSOR_" + "_".join(str(part) for part in problem["loc"]).upper()
            print(f"{name}: {problem['msg']}", file=sys.stderr)
    except (OSError, tomllib.TOMLDecodeError) as error:
        print(f"{config}: {error}", file=sys.stderr)
    raise typer.Exit(78)


def _must_not_exist(path: Path) -> None:
    if path.exists():
        raise typer.BadParameter(f"{path} exists already; nothing was changed")


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
