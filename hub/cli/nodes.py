"""`nsor-hub node`: what the operator does to nodes, directly at the database, whether or not the hub runs."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Table

from hub.audit.writer import AuditWriter
from hub.cli.shared import ConfigFile, load_settings, on_database
from hub.clock import utc_now
from hub.domain.node import Caller, NodeState, Role
from hub.domain.ports import RequestKey
from hub.service.membership import OPERATOR, Membership
from hub.signing import signer_of
from hub.store.database import PostgresDatabase
from hub.store.keys import key_provider
from hub.store.vault import Vault

app = typer.Typer(no_args_is_help=True, help="Nodes of the federation.")


@app.command("create")
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


@app.command("token")
def create_token(id: NodeId, config: ConfigFile = None) -> None:
    """Prints a new token for a node that lost its own, or whose certificate ended."""

    async def create(membership: Membership, caller: Caller, request: RequestKey) -> None:
        print((await membership.create_token(caller, request, id)).text)

    _operate(config, "token", create)


@app.command("suspend")
def suspend_node(id: NodeId, reason: StateReason, config: ConfigFile = None) -> None:
    """Keeps a node out for the time being; its calls and streams end within a second."""
    _set_state(config, "suspend", id, NodeState.SUSPENDED, reason)


@app.command("resume")
def resume_node(id: NodeId, reason: StateReason, config: ConfigFile = None) -> None:
    """Lets a suspended node in again."""
    _set_state(config, "resume", id, NodeState.ACTIVE, reason)


@app.command("revoke")
def revoke_node(id: NodeId, reason: StateReason, config: ConfigFile = None) -> None:
    """Keeps a node out for ever; its calls and streams end within a second."""
    _set_state(config, "revoke", id, NodeState.REVOKED, reason)


@app.command("list")
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

    on_database(load_settings(config), read)
    Console().print(table)


def _set_state(config: Path | None, command: str, id: str, state: NodeState, reason: str) -> None:
    async def change(membership: Membership, caller: Caller, request: RequestKey) -> None:
        await membership.set_state(caller, request, id, state, reason)

    _operate(config, command, change)


def _operate(
    config: Path | None, command: str, work: Callable[[Membership, Caller, RequestKey], Awaitable[None]]
) -> None:
    """Does something to a node as the operator of the hub, directly on the database, whether or not the hub runs."""
    settings = load_settings(config)
    caller = Caller(OPERATOR, f"nsor-hub node {command}")
    vault = Vault(key_provider(settings))

    async def run(register: PostgresDatabase) -> None:
        audit = AuditWriter(register)
        membership = Membership(register, audit, signer_of(settings, utc_now), vault.token, utc_now)
        await work(membership, caller, RequestKey(uuid4(), b""))

    on_database(settings, run)
