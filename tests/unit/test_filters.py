"""Filters of lists, as AIP-160 writes them."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.errors import Refused
from hub.domain.filters import Comparison, Restriction
from hub.domain.offender import OffenderStatus
from hub.transport.filters import member_of, parse_filter, time

FIELDS = {"status": member_of(OffenderStatus, "OFFENDER_STATUS_"), "owner": str, "create_time": time}
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("  ", []),
        ("status=SEALED", [Restriction("status", Comparison.EQUAL, "SEALED")]),
        ("status != OFFENDER_STATUS_SEALED ", [Restriction("status", Comparison.NOT_EQUAL, "SEALED")]),
        ('create_time >= "2026-11-01T12:00:00Z"', [Restriction("create_time", Comparison.AT_LEAST, NOON)]),
        (
            'create_time<2026-11-01T17:00:00+05:00 AND owner = "a AND b"',
            [Restriction("create_time", Comparison.LESS, NOON), Restriction("owner", Comparison.EQUAL, "a AND b")],
        ),
    ],
)
def test_what_is_written_right_is_read(text: str, found: list[Restriction]) -> None:
    assert parse_filter(text, FIELDS) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("status", "MALFORMED"),
        ("status = SEALED AND", "MALFORMED"),
        ("status = SEALED OR status = REGISTERED", "MALFORMED"),
        ("NOT status = SEALED", "MALFORMED"),
        ("status = SEALED ANDowner = x", "MALFORMED"),
        ('owner = "x', "MALFORMED"),
        ("cnic = 91234", "UNKNOWN_FIELD"),
        ("status = GONE", "INVALID_VALUE"),
        ("create_time > yesterday", "INVALID_VALUE"),
        ("create_time > 2026-11-01T12:00:00", "INVALID_VALUE"),
        ("status > SEALED", "NOT_ORDERED"),
    ],
)
def test_what_cannot_be_read_is_named_and_not_quoted(text: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_filter(text, FIELDS)
    [violation] = refused.value.violations
    assert (violation.field, violation.reason) == ("filter", reason)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Refused):
        parse_filter(text, FIELDS)
