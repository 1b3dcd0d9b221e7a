"""The rows of the audit log."""

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

from hub.domain.audit import AuditEntry


def append_statement(parameter: str) -> str:
    """The statement that writes what `accesses` gives, all or none; can be a part of a greater one.

    Args:
        parameter: as it stands in the statement, such as ":accesses".
    """
    return f"""
        INSERT INTO audit_entry (at, node_id, method, officer_id, purpose, fir_number, subject, decision)
        SELECT at, node_id, method, officer_id, purpose, fir_number, (access ->> 0)::bytea, access ->> 1
        FROM json_to_recordset({parameter}) AS caller (
            at timestamptz, node_id text, method text, officer_id text, purpose text, fir_number text, accesses json
        ), json_array_elements(accesses) AS access
    """


def accesses(entries: Iterable[AuditEntry]) -> list[dict[str, Any]]:
    """What was done to whom, by caller and moment, for `hub.store.rows.to_json`: a roster has a thousand of one."""
    return [
        {
            "at": at,
            "node_id": caller.node.id,
            "method": caller.method,
            "officer_id": caller.officer and caller.officer.id,
            "purpose": caller.officer and caller.officer.purpose,
            "fir_number": caller.officer and caller.officer.fir_number,
            "accesses": [(subject, decision) for _, _, subject, decision in group],
        }
        for (at, caller), group in groupby(entries, attrgetter("at", "caller"))
    ]
