"""The command `nsor-hub`."""

import asyncio
import json
import logging
import sys
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table

from hub.audit.writer import AuditWriter
from hub.clock import utc_now
from hub.config import HubSettings
from hub.dev.environment import DevEnvironment
from hub.domain.errors import Refused
from hub.domain.node import Caller, NodeState, Role
from hub.domain.ports import RequestKey
from hub.pki import CertificateAuthority, write_credentials, write_private
from hub.service.membership import OPERATOR, Membership
from hub.signing import signer_of
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
    settings = _settings(config)

    def announce(target: str, enrol_target: str) -> None:
        logging.info("the hub serves at %s, for enrolment at %s", target, enrol_target or "no port")

    Supervisor(settings, announce).run()


@app.command()
def migrate(config: ConfigFile = None) -> None:
    """Brings the database's schema to the newest version. Safe to run twice, and from several machines."""
    from hub.store.migrating import migrate  # half a second, which no other command shall wait

    settings = _settings(config)
    migrate((settings.owner_dsn or settings.dsn).get_secret_value())


@app.command()
def settings(config: ConfigFile = None) -> None:
    """Lists every setting with its meaning and its default."""
    table = Table(Column("environment variable", no_wrap=True), "meaning", "default")
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


@node.command("create")
def create_node(
    id: Annotated[str, typer.Argument(help="For example punjab-police.")],
    role: Annotated[Role, typer.Option(case_sensitive=False)],
    display_name: Annotated[str, typer.Option(help="Name for people; the id, if it is not given.")] = "",
    jurisdiction: Annotated[str, typer.Option(help="Province or territory; empty for national bodies.")] = "",
    config: ConfigFile = None,
) -> None:
    """Creates a node and prints the token by which it enrols, once, with `nsor enrol`.

    It is for the first node, that of NPB, which then creates the others with `nsor node create`.
    """

    async def create(membership: Membership, caller: Caller, request: RequestKey) -> None:
        name = display_name or id
        print(
            (
                await membership.create(caller, request, id=id, display_name=name, role=role, jurisdiction=jurisdiction)
            ).text
        )

    _operate(config, "create", create)


NodeId = Annotated[str, typer.Argument(help="For example punjab-police.")]
StateReason = Annotated[str, typer.Option("--reason", help="Why; all who list nodes read it.")]


@node.command("token")
def create_token(id: NodeId, config: ConfigFile = None) -> None:
    """Prints a new token for a node that lost its own, or whose certificate ended."""

    async def create(membership: Membership, caller: Caller, request: RequestKey) -> None:
        print((await membership.create_token(caller, request, id)).text)

    _operate(config, "token", create)


@node.command("suspend")
def suspend_node(id: NodeId, reason: StateReason, config: ConfigFile = None) -> None:
    """Keeps a node out for the time being; its calls and streams end within a second."""
    _set_state(config, "suspend", id, NodeState.SUSPENDED, reason)


@node.command("resume")
def resume_node(id: NodeId, reason: StateReason, config: ConfigFile = None) -> None:
    """Lets a suspended node in again."""
    _set_state(config, "resume", id, NodeState.ACTIVE, reason)


@node.command("revoke")
def revoke_node(id: NodeId, reason: StateReason, config: ConfigFile = None) -> None:
    """Keeps a node out for ever; its calls and streams end within a second."""
    _set_state(config, "revoke", id, NodeState.REVOKED, reason)


@node.command("list")
def list_nodes(config: ConfigFile = None) -> None:
    """Lists the nodes, their states, and when their certificates end."""
    table = Table("node", "role", "jurisdiction", "state", "certificate ends", "why")

    async def read(register: PostgresDatabase) -> None:
        after = ""
        while True:
            async with register.transaction() as tx:
                found = await tx.list_nodes(after=after, limit=200)
            for each in found:
                ends = f"{each.certificate_expires_at:%Y-%m-%d %H:%M}Z" if each.certificate_expires_at else "none"
                table.add_row(each.id, each.role, each.jurisdiction, each.state, ends, each.state_reason)
                after = each.id
            if not found:
                return

    _on_database(_settings(config), read)
    Console().print(table)


def _set_state(config: Path | None, command: str, id: str, state: NodeState, reason: str) -> None:
    async def change(membership: Membership, caller: Caller, request: RequestKey) -> None:
        await membership.set_state(caller, request, id, state, reason)

    _operate(config, command, change)


def _operate(
    config: Path | None, command: str, work: Callable[[Membership, Caller, RequestKey], Awaitable[None]]
) -> None:
    """Does something to a node as the operator of the hub, directly on the database, whether or not the hub runs."""
    settings = _settings(config)
    caller = Caller(OPERATOR, f"nsor-hub node {command}")
    vault = Vault(Keyring.load(settings.keyring.read_text()))

    async def run(register: PostgresDatabase) -> None:
        audit = AuditWriter(register)
        membership = Membership(register, audit, signer_of(settings, utc_now), vault.token, utc_now)
        await work(membership, caller, RequestKey(uuid4(), b""))

    _on_database(settings, run)


def _on_database(settings: HubSettings, work: Callable[[PostgresDatabase], Awaitable[None]]) -> None:
    async def run() -> None:
        register = PostgresDatabase(settings.dsn.get_secret_value(), Vault(Keyring.load(settings.keyring.read_text())))
        try:
            await work(register)
        finally:
            await register.close()

    asyncio.run(run())


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
