"""`nsor node`: who takes part in the federation."""

from enum import StrEnum
from typing import Annotated

import typer

from nsor.common.v1.access_pb2 import Role
from nsor.federation.v1.node_pb2 import Node
from nsor_client.cli import render
from nsor_client.cli.session import RequestIdOption, Session

app = typer.Typer(no_args_is_help=True, help="The nodes of the federation.")


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
    prosecution = "prosecution"


NodeId = Annotated[str, typer.Argument(metavar="ID", help="For example punjab-police.")]

StateReason = Annotated[str, typer.Option("--reason", help="Why; all who list nodes read it.")]


@app.command("list")
def list_nodes(context: typer.Context) -> None:
    """List the nodes, what they are, and when their certificates end."""
    session = Session.of(context)
    with session.client() as client:
        for node in client.list_nodes():
            session.show(node, render.node)


@app.command("create")
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


@app.command("token")
def create_token(context: typer.Context, id: NodeId, request_id: RequestIdOption = None) -> None:
    """Print a new token for a node that lost its own, or whose certificate ended. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        response = client.create_enrolment_token(f"nodes/{id}", request_id=request_id)
    session.show(response, lambda r: r.enrolment_token)


@app.command()
def suspend(context: typer.Context, id: NodeId, reason: StateReason, request_id: RequestIdOption = None) -> None:
    """Keep a node out for the time being; its calls and streams end within a second. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.suspend_node(f"nodes/{id}", reason, request_id=request_id), render.node)


@app.command()
def resume(context: typer.Context, id: NodeId, reason: StateReason, request_id: RequestIdOption = None) -> None:
    """Let a suspended node in again. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.resume_node(f"nodes/{id}", reason, request_id=request_id), render.node)


@app.command()
def revoke(context: typer.Context, id: NodeId, reason: StateReason, request_id: RequestIdOption = None) -> None:
    """Keep a node out for ever; its calls and streams end within a second. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.revoke_node(f"nodes/{id}", reason, request_id=request_id), render.node)
