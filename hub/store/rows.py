"""Rows of tables as one parameter of a statement: JSON, which `jsonb_populate_recordset` reads."""

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import BindParameter, TypeDecorator, bindparam
from sqlalchemy.dialects.postgresql import JSONB


class _Rows(TypeDecorator[Any]):
    """JSON of what tables hold, octets and times included."""

    impl = JSONB
    cache_ok = True

    def bind_processor(self, dialect: Any) -> Callable[[Any], str]:
        return _dump


def bind_rows(name: str) -> BindParameter[Any]:
    """The parameter of a statement that takes rows: a list of dictionaries by column."""
    return bindparam(name, type_=_Rows)


def _dump(rows: Any) -> str:
    return json.dumps(rows, default=_text)


def _text(value: Any) -> str:
    return rf"\x{value.hex()}" if isinstance(value, bytes) else str(value)
