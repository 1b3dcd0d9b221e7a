"""Rosters: many numbers as the messages that a hub takes, and files of them."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import (
    OUTCOME_HIT,
    OUTCOME_NO_RECORD,
    CheckCnicResponse,
    CheckCnicsRequest,
    CheckCnicsResponse,
)
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


class Roster:
    """A CSV file with a column of numbers, read row by row.

    Iterating gives the number of each row, counted from 1 without the header, and the text of its number; it is empty
    where the row ends before that column. Empty lines are skipped, and counted.

    Args:
        column: its name in the header, in any case.

    Attributes:
        digest: stands for the content of the file, 16 hexadecimal digits.
        at_most: an upper bound of the number of rows.

    Raises:
        RosterFileError: the header has no such column; while iterating: a cell is longer than any of a roster.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, column: str) -> None:
        self._path = path
        content = path.read_bytes()
        self.digest = hashlib.sha256(content).hexdigest()[:16]
        self.at_most = content.count(b"\n") + 1
        with self._open() as file:
            header = [cell.strip().lower() for cell in next(csv.reader(file), list[str]())]
        if column.lower() not in header:
            raise RosterFileError(f"the header of {path} names no column {column!r}")
        self._column = header.index(column.lower())

    def __iter__(self) -> Iterator[tuple[int, str]]:
        with self._open() as file:
            rows = csv.reader(file)
            next(rows)
            try:
                for number, cells in enumerate(rows, 1):
                    if cells:
                        yield number, cells[self._column] if self._column < len(cells) else ""
            except csv.Error as error:
                raise RosterFileError(f"line {rows.line_num + 1} of {self._path} cannot be read") from error

    def _open(self) -> TextIO:
        # What is not UTF-8 spoils its own row only.
        return self._path.open(encoding="utf-8-sig", errors="replace", newline="")
