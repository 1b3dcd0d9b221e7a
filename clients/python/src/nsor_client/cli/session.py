"""What all commands share: the session, who asks and why, and files of JSON."""

import getpass
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self, TypeVar, cast

import typer
from google.protobuf.message import Message
from rich.console import Console

from nsor.common.v1.officer_pb2 import OfficerContext, Purpose
from nsor.lookup.v1.lookup_service_pb2 import Outcome
from nsor.registry.v1.offender_pb2 import Offender
from nsor_client import Client, Credentials
from nsor_client.channel import MAX_REQUEST_BYTES
from nsor_client.protojson import from_json, to_json

_Message = TypeVar("_Message", bound=Message)


class PurposeName(StrEnum):
    """Why an officer reads personal data."""

    record_maintenance = "record-maintenance"
    investigation = "investigation"
    supervision = "supervision"
    vetting = "vetting"
    oversight = "oversight"


OfficerOption = Annotated[
    str | None,
    typer.Option("--officer", envvar="NSOR_OFFICER", help="Who asks: belt number or login; yours by default."),
]

PurposeOption = Annotated[PurposeName, typer.Option("--purpose", help="Why. The audit log keeps it.")]

FirOption = Annotated[
    str, typer.Option("--fir", metavar="NUMBER/YEAR", help="The FIR that it serves; an investigation needs one.")
]

AtLeastOption = Annotated[str, typer.Option(metavar="REVISION", help="The answer must be as new as this revision.")]

RequestIdOption = Annotated[
    str | None,
    typer.Option("--request-id", metavar="UUID", help="To do again what got no answer: the id printed then."),
]

JsonFile = Annotated[Path, typer.Argument(metavar="FILE|-", help="JSON; - is standard input.")]

EtagOption = Annotated[str, typer.Option("--etag", help="Of the record as it was read: nsor offender get shows it.")]

OffenderName = Annotated[str, typer.Argument(metavar="OFFENDER", help="Name of the record, offenders/...")]

CHECK_EXIT_CODES = {
    Outcome.OUTCOME_NO_RECORD: 0,
    Outcome.OUTCOME_HIT: 10,
    Outcome.OUTCOME_INVALID_CNIC: 11,
    Outcome.OUTCOME_CANNOT_ANSWER: 12,
}

_LONGEST = 2000  # characters around a number, by the contract


class InputError(Exception):
    """What was given cannot be read. The message quotes nothing of it."""


@dataclass(frozen=True)
class Session:
    """What the global options say, and where to print."""

    node: Path | None
    target: str | None
    server_name: str | None
    timeout: float
    json: bool
    err: Console

    def client(self, *, renew: bool = False) -> Client:
        """The client of the hub, as this node; one that runs long renews its certificate."""
        if self.node is None:
            raise typer.BadParameter("no node is given: use --node DIR, or set NSOR_NODE")
        if self.target is None:
            raise typer.BadParameter("no hub is given: use --target HOST:PORT, or set NSOR_TARGET")
        credentials = Credentials.from_dir(self.node)
        try:
            return Client(self.target, credentials, timeout=self.timeout, server_name=self.server_name, renew=renew)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    @classmethod
    def of(cls, context: typer.Context) -> Self:
        """The session of a command."""
        return cast(Self, context.obj)

    def show(self, message: _Message, for_people: Callable[[_Message], str]) -> None:
        """Prints a message: as JSON where that was asked for."""
        if text := to_json(message) if self.json else for_people(message):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Says something that is not the result."""
        self.err.out(text, highlight=False)


def typed(argument: str) -> str:
    """An argument, or for "-" what standard input holds, which so is in no list of processes.

    Raises:
        InputError: it is more than a hub takes: a number read out of a part could be another person's.
    """
    text = sys.stdin.read(_LONGEST + 1) if argument == "-" else argument
    if len(text) > _LONGEST:
        raise InputError(f"the text is longer than {_LONGEST} characters")
    return text


def officer_context(officer: str | None, purpose: PurposeName, fir: str) -> OfficerContext:
    """Who asks, and why."""
    if officer is None:
        try:
            officer = getpass.getuser()
        except (OSError, KeyError) as error:
            raise typer.BadParameter("no officer is given: use --officer, or set NSOR_OFFICER") from error
    number = Purpose.Value(f"PURPOSE_{purpose.name.upper()}")
    return OfficerContext(officer_id=officer, purpose=number, fir_number=fir)


def as_read(name: str, etag: str) -> Offender:
    """A record by its name, with the etag that was read; its quotes get lost in shells."""
    return Offender(name=name, etag=f'"{etag.strip(chr(34))}"')


def parse(file: Path, kind: type[_Message]) -> _Message:
    """Reads a message from a JSON file, or from standard input for "-"."""
    try:
        with nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8") as source:
            text = source.read(MAX_REQUEST_BYTES + 1)
        if len(text) > MAX_REQUEST_BYTES:
            raise InputError(f"{file} is larger than a request may be")
        return from_json(text, kind)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text") from None
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error
