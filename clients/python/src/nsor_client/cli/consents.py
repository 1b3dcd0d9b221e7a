"""`nsor consent`: people agree to be checked, by a passcode on their phone."""

import shlex
import subprocess
from collections.abc import Generator
from contextlib import closing, suppress
from itertools import islice
from typing import Annotated

import typer

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.lookup.v1.consent_pb2 import Consent, Passcode, PasscodeDelivery
from nsor_client import Client, LineState
from nsor_client.cli import render
from nsor_client.cli.session import (
    FirOption,
    InputError,
    OfficerOption,
    PurposeName,
    PurposeOption,
    RequestIdOption,
    Session,
    officer_context,
)
from nsor_client.following import OnState
from nsor_client.protojson import to_json

app = typer.Typer(no_args_is_help=True, help="Ask people for their consent to a check, where the policy wants it.")

_SENT, _NO_PHONE = 0, 1
_COMMAND_SECONDS = 60


@app.command("request")
def ask(
    context: typer.Context,
    cnic: Annotated[str, typer.Argument(help="The number in any digits, dashes and spaces.")],
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.vetting,
    fir: FirOption = "",
    request_id: RequestIdOption = None,
) -> None:
    """Have a passcode sent to the phone that NADRA has for the holder of a CNIC.

    Whoever agrees tells it to you, and you check with it within minutes:

      nsor consent request 35202-0000000-1
      nsor check 35202-0000000-1 --consent consents/...
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)
    with session.client() as client:
        session.show(client.request_consent(cnic, officer=who, request_id=request_id), _consent)


@app.command()
def deliver(
    context: typer.Context,
    command: Annotated[
        str, typer.Option(metavar="COMMAND", help="Gets each passcode as JSON, and brings it. Without: it is printed.")
    ] = "",
    count: Annotated[int | None, typer.Option(min=1, help="End after so many; by default, never.")] = None,
    officer: OfficerOption = None,
    purpose: PurposeOption = PurposeName.vetting,
    fir: FirOption = "",
) -> None:
    """Bring passcodes to people, until Ctrl-C. For NADRA.

    The command is run for each passcode, with a line of JSON on its
    standard input: consent, cnic, passcode, requester, expire_time. It
    ends with 0 when the passcode was sent, with 1 when there is no phone;
    with anything else this ends too, and the passcode comes again next
    time. Without a command this terminal plays all the phones.

    Examples:

      nsor consent deliver --command "/usr/local/bin/send-passcode --urgent"
      nsor consent deliver --count 1
    """
    session = Session.of(context)
    who = officer_context(officer, purpose, fir)

    def tell(state: LineState) -> None:
        session.note(render.line_state(state))

    with (
        session.client(renew=True) as client,
        closing(_passcodes(client, who, tell)) as passcodes,
        suppress(KeyboardInterrupt),
    ):
        for passcode in islice(passcodes, count):
            if command:
                delivery = _run(command, passcode)
            else:
                session.show(passcode, _passcode)
                delivery = PasscodeDelivery.PASSCODE_DELIVERY_SENT
            client.acknowledge_passcode(passcode.consent, delivery, officer=who)


def _passcodes(client: Client, who: OfficerContext, on_state: OnState) -> Generator[Passcode]:
    """The passcodes to be brought, one by one."""
    with closing(client.watch_passcodes(officer=who, on_state=on_state)) as responses:
        for response in responses:
            yield from response.passcodes


def _run(command: str, passcode: Passcode) -> PasscodeDelivery.ValueType:
    """What a command made of a passcode."""
    try:
        done = subprocess.run(shlex.split(command), input=to_json(passcode) + "\n", text=True, timeout=_COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        # Without its cause, which would quote what the command was given.
        raise InputError(f"the command did not end within {_COMMAND_SECONDS} s") from None
    if done.returncode == _SENT:
        return PasscodeDelivery.PASSCODE_DELIVERY_SENT
    if done.returncode == _NO_PHONE:
        return PasscodeDelivery.PASSCODE_DELIVERY_NO_PHONE
    raise InputError(f"the command ended with {done.returncode}; the passcode comes again")


def _consent(consent: Consent) -> str:
    return render.clean(f"{consent.name}  good until {render.moment(consent.expire_time)}")


def _passcode(passcode: Passcode) -> str:
    cells = (passcode.passcode, f"for {passcode.cnic}", passcode.consent, f"asked for by {passcode.requester}")
    return render.clean("  ".join((*cells, f"good until {render.moment(passcode.expire_time)}")))
