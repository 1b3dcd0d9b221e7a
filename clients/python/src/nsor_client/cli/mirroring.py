"""`nsor mirror`: the local copy of the register, for people and for scripts."""

import json
import sys
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from nsor.lookup.v1.lookup_service_pb2 import Outcome
from nsor_client import LineState
from nsor_client.cli import render
from nsor_client.cli.session import CHECK_EXIT_CODES, Session, typed
from nsor_client.mirror import MAX_AGE, Mirror, MirrorAnswer, MirrorStatus, Step, make_key, read_key
from nsor_client.protojson import to_json


def check(answer: MirrorAnswer, max_age: float, *, as_json: bool) -> str:
    """An answer, and how old it is."""
    response = answer.response
    if as_json:
        return _json(json.loads(to_json(response)) | _seconds("age", answer.age))
    text = render.check(response)
    if answer.age is None:
        return f"{text}\nThe mirror is empty: nsor mirror build"
    lines = [text, f"The mirror is {span(answer.age)} old; it answers up to {span(max_age)}."]
    if response.outcome == Outcome.OUTCOME_CANNOT_ANSWER and answer.age < 0:
        lines.append("The clock of this machine is behind that of the hub.")
    return "\n".join(lines)


def status(found: MirrorStatus | None, max_age: float, *, as_json: bool) -> str:
    """What the mirror holds, and whether it answers."""
    if found is None:
        return _json({"answers": False}) if as_json else "The mirror is empty: nsor mirror build"
    if as_json:
        facts = {"answers": found.answers, "node": found.node, "revision": found.revision}
        facts |= {"as_of_time": _utc(found), "offenders": found.offenders, "notices": found.notices}
        return _json(facts | _seconds("age", found.age) | _seconds("max_age", max_age))
    rows = {
        "node": found.node,
        "offenders": f"{found.offenders:,}",
        "notices": f"{found.notices:,}",
        "revision": found.revision,
        "as known at": f"{found.as_of.astimezone():%Y-%m-%d %H:%M:%S %Z}",
        "age": f"{span(found.age)}; it answers up to {span(max_age)}",
        "checks": "are answered" if found.answers else "CANNOT be answered: nsor mirror follow",
    }
    return "\n".join(render.table(list(rows.items())))


def show(steps: Iterable[Step], console: Console, *, as_json: bool) -> None:
    """Prints the steps of a mirror as they come: JSON for each, or what people want to know of them.

    Args:
        console: where people see a new copy grow.
    """
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} records and notices"), TextColumn("{task.fields[rate]}"))
    progress = Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal)
    task = progress.add_task("build", total=None, rate="")
    began, count = 0.0, 0
    with progress:
        for step in steps:
            line = ""
            if step.building:
                began = began or time.monotonic()
                count += step.changes
                progress.update(task, completed=count, rate=_rate(count, began))
            elif began:
                line = f"The copy is whole: {count:,} records and notices, {_rate(count, began)}"
                began, count = 0.0, 0
                progress.update(task, visible=False)
            elif step.changes:
                line = f"{step.changes:,} {'change' if step.changes == 1 else 'changes'}"
            if as_json:
                facts = {"building": step.building, "changes": step.changes, "revision": step.revision}
                _print(_json(facts | {"as_of_time": _utc(step)}))
            elif line:
                _print(f"{step.as_of.astimezone():%Y-%m-%d %H:%M:%S %Z}  {line}; revision {step.revision}")


def span(seconds: float) -> str:
    """A time in words, for example "12 s", "5 min" or "3.5 h"."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _rate(count: int, began: float) -> str:
    seconds = time.monotonic() - began
    return f"{count / max(seconds, 0.001):,.0f}/s in {span(seconds)}"


def _utc(known: Step | MirrorStatus) -> str:
    return f"{known.as_of:%Y-%m-%dT%H:%M:%S.%fZ}"


def _seconds(name: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {f"{name}_seconds": round(value, 3)}


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


app = typer.Typer(no_args_is_help=True, help="A local, encrypted copy of the register, for when there is no line.")

MirrorOption = Annotated[
    Path, typer.Option("--mirror", envvar="NSOR_MIRROR", dir_okay=False, help="File of the mirror; made where missing.")
]

BuiltMirrorOption = Annotated[
    Path, typer.Option("--mirror", envvar="NSOR_MIRROR", dir_okay=False, exists=True, help="File of the mirror.")
]

MirrorKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="NSOR_MIRROR_KEY",
        dir_okay=False,
        help="File of its key; by default mirror.key in the folder of the node.",
    ),
]

MaxAgeOption = Annotated[
    float,
    typer.Option(envvar="NSOR_MIRROR_MAX_AGE", min=0, metavar="SECONDS", help="An older mirror does not answer."),
]


@app.command()
def build(context: typer.Context, mirror: MirrorOption, key: MirrorKeyOption = None) -> None:
    """Copy the whole register into the mirror, as it is now.

    Until the new copy is whole, the old one answers. If the line breaks,
    nothing has changed: do the same again.

    Where there is none yet, a key is made as well. Whoever has key and mirror
    can read every record. The key is as secret as key.pem beside it: keep both
    out of the backups that hold the mirror.

    Example:

      nsor mirror build --mirror mirror.db
    """
    session = Session.of(context)
    with session.client() as client, _open(session, mirror, key) as copy, closing(copy.build(client)) as steps:
        show(steps, session.err, as_json=session.json)


@app.command()
def follow(context: typer.Context, mirror: MirrorOption, key: MirrorKeyOption = None) -> None:
    """Keep the mirror as new as the register, until Ctrl-C; builds it where there is none.

    Where the line breaks it waits, says why, and goes on where it was. It may
    be killed at any moment and started again. With --json every step is
    printed, also those that only say up to when everything is known.

    Example:

      nsor mirror follow --mirror mirror.db
    """
    session = Session.of(context)

    def tell(state: LineState) -> None:
        session.note(render.line_state(state))

    with (
        session.client(renew=True) as client,
        _open(session, mirror, key) as copy,
        closing(copy.follow(client, on_state=tell)) as steps,
        suppress(KeyboardInterrupt),
    ):
        show(steps, session.err, as_json=session.json)


@app.command("check")
def check_mirror(
    context: typer.Context,
    cnic: Annotated[str, typer.Argument(help="The number in any digits, dashes and spaces; - reads stdin.")],
    mirror: BuiltMirrorOption,
    key: MirrorKeyOption = None,
    max_age: MaxAgeOption = MAX_AGE,
) -> None:
    """Tell whether the holder of a CNIC is on the register, by the mirror. Needs no line.

    Ends as nsor check does: 0 (no record), 10 (hit), 11 (not a CNIC) or 12
    (cannot answer: the mirror is older than --max-age). It always says how
    old the answer is. The hub does not learn of it, and its audit log has no
    entry: keep account of checks that must be accounted for.

    Examples:

      nsor mirror check 35202-0000000-1 --mirror mirror.db
      nsor --json mirror check - --mirror mirror.db --max-age 600 < number.txt
    """
    session = Session.of(context)
    text = typed(cnic)
    with _open(session, mirror, key, max_age) as copy:
        answer = copy.check(text)
    print(check(answer, max_age, as_json=session.json))
    raise typer.Exit(CHECK_EXIT_CODES[answer.response.outcome])


@app.command("status")
def mirror_status(
    context: typer.Context, mirror: BuiltMirrorOption, key: MirrorKeyOption = None, max_age: MaxAgeOption = MAX_AGE
) -> None:
    """Show what the mirror holds, and how old it is. Needs no line.

    Ends with 0 when it answers checks, 12 when it is too old to.
    """
    session = Session.of(context)
    with _open(session, mirror, key, max_age) as copy:
        found = copy.status()
    print(status(found, max_age, as_json=session.json))
    if found is None or not found.answers:
        raise typer.Exit(CHECK_EXIT_CODES[Outcome.OUTCOME_CANNOT_ANSWER])


def _open(session: Session, path: Path, key_file: Path | None, max_age: float = MAX_AGE) -> Mirror:
    """The mirror in a file; makes a key where there are neither."""
    if key_file is None:
        if session.node is None:
            raise typer.BadParameter("no key is given: use --key FILE, or --node DIR for the one in that folder")
        key_file = session.node / "mirror.key"
    makes_key = not path.exists() and not key_file.exists()
    return Mirror(path, make_key(key_file) if makes_key else read_key(key_file), max_age=max_age)
