"""`nsor mirror`: the local copy of the register, for people and for scripts."""

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from nsor.lookup.v1.lookup_service_pb2 import Outcome
from nsor_client.cli import render
from nsor_client.mirror import MirrorAnswer, MirrorStatus, Step
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
