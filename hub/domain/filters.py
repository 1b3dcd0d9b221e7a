"""What a list is narrowed to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Comparison(StrEnum):
    """How a field is compared with a value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Restriction:
    """One condition: field, comparison, value."""

    field: str
    comparison: Comparison
    value: str | datetime


Filter = Sequence[Restriction]
"""Conditions, all of which hold."""
