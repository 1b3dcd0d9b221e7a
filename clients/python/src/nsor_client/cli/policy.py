"""`nsor policy`: what the public is told of a hit."""

from enum import StrEnum
from typing import Annotated

import typer

from nsor.common.v1.access_pb2 import Role
from nsor.lookup.v1.disclosure_pb2 import Channel, DisclosureMode, DisclosureRule
from nsor_client.cli import render
from nsor_client.cli.session import OfficerOption, PurposeName, PurposeOption, Session, officer_context

app = typer.Typer(no_args_is_help=True, help="What the public is told of a hit.")


class ModeName(StrEnum):
    """What a hit tells."""

    off = "off"
    hit_only = "hit-only"
    hit_with_name = "hit-with-name"
    consented = "consented"


class PublicRoleName(StrEnum):
    """A role that is told what the disclosure policy says."""

    vetting_agency = "vetting-agency"
    public_gateway = "public-gateway"


class ChannelName(StrEnum):
    """How a check comes to the hub."""

    single = "single"
    batch = "batch"


@app.command("show")
def show_policy(context: typer.Context) -> None:
    """Show what the public is told of a hit. For NPB."""
    session = Session.of(context)
    with session.client() as client:
        session.show(client.get_disclosure_policy(), render.policy)


@app.command("set")
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

    With consented the person checked must agree by a passcode first, see
    nsor consent; it goes with --channel single only.

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
