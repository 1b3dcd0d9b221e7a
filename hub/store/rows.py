"""Rows that come as one JSON parameter: in one statement as many as there are, of as many tables as belong together."""

import json
from typing import Any

from sqlalchemy import JSON, Table, TextClause, bindparam, text


def insert_rows(table: Table, parameter: str) -> str:
    """The INSERT of rows, as dictionaries by column; can be a part of a greater statement, see `taking_rows`."""
    # Named, so that a column which a newer version adds gets its default.
    columns = ", ".join(column.name for column in table.columns)
    return (
        f"INSERT INTO {table.name} ({columns}) "
        f"SELECT {columns} FROM json_populate_recordset(NULL::{table.name}, :{parameter})"
    )


def taking_rows(statement: str, *parameters: str) -> TextClause:
    """The statement, of which these parameters take rows."""
    return text(statement).bindparams(*(bindparam(name, type_=JSON) for name in parameters))


def to_json(rows: Any) -> str:
    """Rows as PostgreSQL reads them, octets and times included."""
    return json.dumps(rows, default=lambda value: rf"\x{value.hex()}" if isinstance(value, bytes) else str(value))
