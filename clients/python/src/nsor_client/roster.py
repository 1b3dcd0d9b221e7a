"""Rosters: many numbers as the messages that a hub takes, and files of them."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import (
    OUTCOME_HIT,
    OUTCOME_NO_RECORD,
    CheckCnicResponse,
    CheckCnicsRequest,
    CheckCnicsResponse,
)
from nsor_client import csv_line
from nsor_client.channel import MAX_REQUEST_BYTES

MAX_NUMBERS = 1000
"""Numbers in one message."""

_MAX_CHARACTERS = 2000
_MAX_BYTES = MAX_REQUEST_BYTES // 2  # leaves room for what goes with the numbers


class RosterFileError(Exception):
    """A file that cannot be used. The message holds nothing of its content."""


def questions(
    cnics: Iterable[str], officer: OfficerContext | None, at_least_revision: str
) -> Iterator[CheckCnicsRequest]:
    """The messages that ask for these numbers; each takes as many as it can hold."""
    batch: list[str] = []
    size = 0
    for text in cnics:
        # The hub ends the stream at a text that is longer than any around a number; what is empty is no number either.
        cnic = text if len(text) <= _MAX_CHARACTERS else ""
        length = len(cnic.encode())
        if len(batch) == MAX_NUMBERS or size + length > _MAX_BYTES:
            yield CheckCnicsRequest(cnics=batch, officer=officer, at_least_revision=at_least_revision)
            batch, size = [], 0
        batch.append(cnic)
        size += length
    if batch:
        yield CheckCnicsRequest(cnics=batch, officer=officer, at_least_revision=at_least_revision)


def answers(response: CheckCnicsResponse) -> Iterator[CheckCnicResponse]:
    """The results of a message as `CheckCnic` would give them: each with what the message tells once for all."""
    shared = CheckCnicResponse(revision=response.revision)
    if response.HasField("as_of_time"):
        shared.as_of_time.CopyFrom(response.as_of_time)
    if response.HasField("provinces_as_of_time"):
        shared.provinces_as_of_time.CopyFrom(response.provinces_as_of_time)
    for result in response.results:
        if result.outcome in (OUTCOME_HIT, OUTCOME_NO_RECORD):
            result.MergeFrom(shared)
        yield result


def csv_rows(source: Iterable[str], file: Path) -> Iterator[list[str]]:
    """The cells of the header of a CSV file and of each row after it, see `nsor_client.csv_line`.

    Args:
        source: its lines.
        file: for the message of an error.

    Raises:
        RosterFileError: the quotes of a row are broken, it goes on in the next line, or a cell is longer than any of a
            roster.
    """
    for number, line in enumerate(source):
        try:
            yield csv_line.cells(line)
        except csv.Error as error:
            where = f"row {number}" if number else "the header"
            problem = "its quotes are broken, it goes on in the next line, or a cell is too long"
            raise RosterFileError(f"{where} of {file} cannot be read: {problem}") from error


class Roster:
    """A CSV file with a column of numbers, read as a whole when this is made: what becomes of it later changes nothing.

    Iterating gives the number of each row, counted from 1 without the header, and the text of its number; it is empty
    where the row ends before that column. A row is one line, so a cell must not go over several. Empty lines are
    skipped, and counted.

    Args:
        column: its name in the header, in any case.

    Attributes:
        digest: stands for the content of the file, 16 hexadecimal digits.
        at_most: an upper bound of the number of rows.

    Raises:
        RosterFileError: the header has no such column, or a row cannot be read, see `csv_rows`.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, column: str) -> None:
        content = path.read_bytes()
        self.digest = hashlib.sha256(content).hexdigest()[:16]
        # What is not UTF-8 spoils its own row only.
        rows = csv_rows(TextIOWrapper(BytesIO(content), encoding="utf-8-sig", errors="replace", newline=""), path)
        header = [cell.strip().lower() for cell in next(rows, list[str]())]
        if column.lower() not in header:
            raise RosterFileError(f"the header of {path} names no column {column!r}")
        place = header.index(column.lower())
        self._texts = [(cells[place] if place < len(cells) else "") if cells else None for cells in rows]
        self.at_most = len(self._texts)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return ((number, text) for number, text in enumerate(self._texts, 1) if text is not None)
