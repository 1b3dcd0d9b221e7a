"""Filters of lists (AIP-160): comparisons of a field with a value, joined by AND.

OR, NOT, brackets and functions are not taken: no field of a record in the clear needs them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

from hub.domain.errors import Violation, invalid
from hub.domain.filters import Comparison, Filter, Restriction

_RESTRICTION = re.compile(
    r"""\s*(?P<field>[a-z_]+)\s*(?P<comparison><=|>=|!=|=|<|>)\s*(?P<value>"[^"]*"|[^\s"]+)\s*(?P<more>AND\s|$)"""
)
_EQUALITY = {Comparison.EQUAL, Comparison.NOT_EQUAL}


def parse_filter(text: str, fields: Mapping[str, Callable[[str], str | datetime]]) -> Filter:
    """Reads a filter.

    Args:
        fields: by their names in the contract, each with what reads its values; it raises ValueError for what is none.
            Times can be compared by order, all else only for equality.

    Raises:
        Refused: INVALID_FIELD, of `filter`; the text is not quoted.
    """
    found: list[Restriction] = []
    at, more = 0, bool(text.strip())
    while more:
        match = _RESTRICTION.match(text, at)
        if not match:
            raise invalid(Violation("filter", "MALFORMED", f"cannot be read from character {at + 1} on"))
        field, comparison = match["field"], Comparison(match["comparison"])
        if field not in fields:
            raise invalid(Violation("filter", "UNKNOWN_FIELD", f"may compare {', '.join(sorted(fields))}"))
        try:
            value = fields[field](match["value"].strip('"'))
        except ValueError:
            raise invalid(Violation("filter", "INVALID_VALUE", f"has a value that {field} cannot have")) from None
        if comparison not in _EQUALITY and not isinstance(value, datetime):
            raise invalid(Violation("filter", "NOT_ORDERED", f"can compare {field} by = and != only"))
        found.append(Restriction(field, comparison, value))
        at, more = match.end(), bool(match["more"])
    return found


def time(text: str) -> datetime:
    """A time of RFC 3339."""
    read = datetime.fromisoformat(text)
    if read.tzinfo is None:
        raise ValueError("a time zone is missing")
    return read.astimezone(UTC)


def member_of(values: type[StrEnum], prefix: str) -> Callable[[str], str]:
    """Reads names of an enum, with the prefix of the contract."""
    return lambda text: values(text.removeprefix(prefix)).value
