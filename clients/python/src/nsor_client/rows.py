"""Files of convictions: CSV with a header, or JSON lines; one row is one record.

A CSV file is UTF-8, and a row of it has one conviction. Its columns are COLUMNS; those of OPTIONAL may be
left out, and the cell of cnic be empty where another document is given. Some columns hold one word of a
choice: guardian_relation father, husband; sex M, F, X; finality appeal-window, under-appeal, final,
set-aside; victim_class child, woman, other. A line of a JSON file is an `Offender` of the contract. Empty
lines are skipped, and counted.

After LIKELY_DUPLICATE a row can say that the person is another one: in CSV by the names of the records that
were compared, with spaces between them, in the column not_the_same_as, and why in the column because; in
JSON by a line {"offender": {...}, "duplicate_override": {...}}.
"""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID, uuid5

from google.protobuf.json_format import MessageToDict, ParseDict

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.registry.v1.offender_pb2 import Finality, GuardianRelation, Offender, VictimClass
from nsor.registry.v1.registry_service_pb2 import (
    FieldViolation,
    ImportOffendersRequest,
    ImportOffendersResponse,
    RowError,
)
from nsor_client import csv_line
from nsor_client.channel import MAX_REQUEST_BYTES
from nsor_client.protojson import from_json

_PERSON = (
    "cnic",
    "full_name",
    "full_name_ur",
    "guardian_name",
    "guardian_name_ur",
    "guardian_relation",
    "sex",
    "date_of_birth",
    "old_nic",
)
_PASSPORT = {"passport_country": "country", "passport_number": "number"}
_CONVICTION = (
    "court",
    "case_number",
    "fir_number",
    "police_station",
    "offence_code",
    "conviction_date",
    "finality",
    "finality_date",
    "victim_class",
)
COLUMNS = (*_PERSON, *_PASSPORT, "district", *_CONVICTION)
"""Columns of a CSV file; they are named as the fields of the contract."""

OPTIONAL = frozenset({"full_name_ur", "guardian_name_ur", "finality_date", "old_nic", *_PASSPORT})
"""Columns that a CSV file may do without."""

OVERRIDE = ("not_the_same_as", "because")
"""Columns of a CSV file in which some rows say that the person is none of those much alike."""


def _words(names: Iterable[str], prefix: str) -> dict[str, str]:
    """How the values of an enum are written: FINALITY_UNDER_APPEAL as "under-appeal"."""
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): name for name in names if not name.endswith("_UNSPECIFIED")
    }


_CHOICES: Mapping[str, Mapping[str, str]] = {
    "guardian_relation": _words(GuardianRelation.keys(), "GUARDIAN_RELATION_"),
    "sex": {"m": "SEX_MALE", "f": "SEX_FEMALE", "x": "SEX_X"},
    "finality": _words(Finality.keys(), "FINALITY_"),
    "victim_class": _words(VictimClass.keys(), "VICTIM_CLASS_"),
}


class RowFileError(Exception):
    """A file that cannot be read as rows at all. The message holds nothing of its content."""


class RowFile:
    """A file of convictions, read row by row; CSV or JSON lines by the end of its name.

    Iterating gives, for each row, the request to send, or, where the row cannot be read, the result that it
    has already: refused. A row is one line. Rows count from 1, the header not included. The request_id of a
    row follows from the content of the file and the number of the row, so that a file can be sent again without
    entering anybody twice.

    Attributes:
        at_most: an upper bound of the number of rows: the lines of the file, without the header.
        digest: stands for the content of the file, 16 hexadecimal digits.

    Raises:
        RowFileError: the name ends in neither .csv, .jsonl nor .ndjson; while iterating: the header lacks a
            column, or a line is longer than any record.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in (".csv", ".jsonl", ".ndjson"):
            raise RowFileError("the name of the file must end in .csv, .jsonl or .ndjson")
        self._path = path
        digest = hashlib.sha256()
        lines, end = 0, b"\n"
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                lines, end = lines + chunk.count(b"\n"), chunk[-1:]
        self.at_most = lines + (end != b"\n") - (path.suffix == ".csv")
        self.digest = digest.hexdigest()[:16]
        self._namespace = UUID(bytes=digest.digest()[:16])

    def __iter__(self) -> Iterator[ImportOffendersRequest | ImportOffendersResponse]:
        # Bytes that are not UTF-8 must spoil their own row only: surrogateescape lets them through to it.
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = (_csv_rows if self._path.suffix == ".csv" else _json_rows)(_lines(file))
            for number, row in enumerate(rows, 1):
                if isinstance(row, ImportOffendersRequest):
                    yield self._request(number, row)
                elif row is not None:
                    yield ImportOffendersResponse(row=number, error=row)

    def _request(self, row: int, stated: ImportOffendersRequest) -> ImportOffendersRequest | ImportOffendersResponse:
        request = ImportOffendersRequest(row=row, request_id=str(uuid5(self._namespace, str(row))))
        request.offender.CopyFrom(stated.offender)
        if stated.HasField("duplicate_override"):
            request.duplicate_override.CopyFrom(stated.duplicate_override)
        if request.ByteSize() <= MAX_REQUEST_BYTES:
            return request
        reason = ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE  # sent, it would end the whole stream
        error = RowError(reason=reason, message=f"is larger than {MAX_REQUEST_BYTES} bytes")
        return ImportOffendersResponse(row=row, error=error)


def write_csv(offenders: Iterable[Offender], file: TextIO) -> None:
    """Writes records as rows that `RowFile` reads, one for each conviction.

    Args:
        file: text file in UTF-8, opened with `newline=""`.

    Raises:
        ValueError: a person has several passports.
    """
    written = {name: word for words in _CHOICES.values() for word, name in words.items()}
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    for offender in offenders:
        if len(offender.person.passports) > 1:
            raise ValueError("a row of a CSV file holds one passport at most")
        record = MessageToDict(offender, preserving_proto_field_name=True)
        person = record.get("person", {}) | {"district": offender.district}
        for passport in offender.person.passports:
            person |= {column: getattr(passport, field) for column, field in _PASSPORT.items()}
        for conviction in record.get("convictions", ()):
            cells = person | conviction
            for column in _CHOICES:
                cells[column] = written.get(cells.get(column, ""), "")
            writer.writerow({column: cells.get(column, "") for column in COLUMNS})


def _lines(file: TextIO) -> Iterator[str]:
    for number in count(1):
        line = file.readline(MAX_REQUEST_BYTES + 1)
        if len(line) > MAX_REQUEST_BYTES:
            raise RowFileError(f"line {number} is longer than {MAX_REQUEST_BYTES} characters")
        if not line:
            return
        yield line


def _json_rows(lines: Iterator[str]) -> Iterator[ImportOffendersRequest | RowError | None]:
    for line in lines:
        if not line.strip():
            yield None
        elif not _is_utf8(line):
            yield _refusal(("offender", "NOT_UTF8", "holds bytes that are not UTF-8"))
        else:
            try:
                if '"duplicate_override"' in line:  # no field of a record is called so
                    yield from_json(line, ImportOffendersRequest)
                else:
                    yield ImportOffendersRequest(offender=from_json(line, Offender))
            except ValueError as error:
                yield _refusal(("offender", "NOT_AN_OFFENDER", str(error)))


def _csv_rows(lines: Iterator[str]) -> Iterator[ImportOffendersRequest | RowError | None]:
    columns = _header(next(lines, ""))
    for line in lines:
        try:
            cells = csv_line.cells(line)
        except csv.Error:
            problem = "quotes are open or in the wrong place, or a cell goes on in the next line"
            yield _refusal(("offender", "MALFORMED_ROW", problem))
        else:
            yield _row(columns, cells) if cells else None


def _header(line: str) -> list[str]:
    try:
        columns = [cell.strip().lower() for cell in csv_line.cells(line)]
    except csv.Error as error:
        raise RowFileError("the header cannot be read: its quotes are broken") from error
    # A header that is missing puts a person's data in its place: what stands there is never quoted.
    if missing := [c for c in COLUMNS if c not in columns and c not in OPTIONAL]:
        raise RowFileError(f"the header lacks the columns {', '.join(missing)}")
    known = {*COLUMNS, *OVERRIDE}
    if wrong := [str(n) for n, c in enumerate(columns, 1) if c not in known or c in columns[: n - 1]]:
        raise RowFileError(f"columns of the header are not known, or there twice: number {', '.join(wrong)}")
    return columns


def _row(columns: list[str], cells: list[str]) -> ImportOffendersRequest | RowError:
    if len(cells) != len(columns):
        return _refusal(("offender", "COLUMN_COUNT", f"has {len(cells)} cells, the header {len(columns)}"))
    row = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if cell.strip()}
    problems = [
        (_path(column), "NOT_UTF8", "holds bytes that are not UTF-8")
        for column, cell in row.items()
        if not _is_utf8(cell)
    ]
    for column, words in _CHOICES.items():
        if column in row and row[column].lower() not in words:
            problems.append((_path(column), "UNKNOWN_WORD", f"is none of {', '.join(words)}"))
        elif column in row:
            row[column] = words[row[column].lower()]
    if problems:
        return _refusal(*problems)
    passport = {field: row[column] for column, field in _PASSPORT.items() if column in row}
    record: dict[str, Any] = {
        "person": {column: row[column] for column in _PERSON if column in row}
        | ({"passports": [passport]} if passport else {}),
        "district": row.get("district", ""),
        "convictions": [{column: row[column] for column in _CONVICTION if column in row}],
    }
    request = ImportOffendersRequest(offender=ParseDict(record, Offender()))
    others, because = (row.get(column, "") for column in OVERRIDE)
    if others or because:
        request.duplicate_override.not_the_same_as.extend(others.split())
        request.duplicate_override.reason = because
    return request


def _path(column: str) -> str:
    if column in OVERRIDE:
        return f"duplicate_override.{column}"
    if column in _PERSON:
        return f"offender.person.{column}"
    if column in _PASSPORT:
        return f"offender.person.passports[0].{_PASSPORT[column]}"
    return f"offender.convictions[0].{column}" if column in _CONVICTION else f"offender.{column}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(*problems: tuple[str, str, str]) -> RowError:
    return RowError(
        reason=ErrorReason.ERROR_REASON_INVALID_FIELD,
        message="the row cannot be read",
        field_violations=[FieldViolation(field=f, reason=r, description=d) for f, r, d in problems],
    )
