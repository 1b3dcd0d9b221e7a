"""`nsor outbox`: writes that wait for the line to the hub."""

import json
import sys
from collections.abc import Iterable

from nsor_client.cli import render
from nsor_client.errors import NsorError
from nsor_client.outbox import Entry, Written

ENTRY_FIELDS = ("id", "state", "kind", "request_id", "add_time", "refusal")


def listing(entries: Iterable[Entry], *, as_json: bool) -> None:
    """Prints entries without what is in their requests: it is personal."""
    rows = [
        (str(e.id), e.state.value, e.kind, e.request.request_id, f"{e.add_time:%Y-%m-%d %H:%M:%SZ}", e.refusal or "")
        for e in entries
    ]
    if as_json:
        lines = [json.dumps(dict(zip(ENTRY_FIELDS, row, strict=True)), ensure_ascii=False) for row in rows]
    else:
        lines = render.table([ENTRY_FIELDS, *rows]) if rows else ["The outbox is empty."]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def result(entry: Entry, answer: Written | NsorError) -> str:
    """A line about an entry that was sent."""
    if isinstance(answer, NsorError):
        return render.clean(f"{entry.id}  refused  {entry.kind}: {answer}")
    return f"{entry.id}  written  {entry.kind} (revision {answer.revision})"
