"""Rows that come as one JSON parameter: in one statement as many as there are, of as many tables as belong together."""

from sqlalchemy import Table, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB


def insert_rows(table: Table, parameter: str) -> str:
    """The INSERT of rows, as dictionaries by column; can be a part of a greater statement, see `taking_rows`."""
    # Named, so that a column which a newer version adds gets its default.
    columns = ", ".join(column.name for column in table.columns)
    return (
        f"INSERT INTO {table.name} ({columns}) "
        f"SELECT {columns} FROM jsonb_populate_recordset(NULL::{table.name}, :{parameter})"
    )


def taking_rows(statement: str, *parameters: str) -> TextClause:
    """The statement, of which these parameters take rows."""
    return text(statement).bindparams(*(bindparam(name, type_=JSONB) for name in parameters))
