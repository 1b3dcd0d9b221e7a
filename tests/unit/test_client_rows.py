"""Files of convictions as the SDK reads and writes them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.registry.v1.offender_pb2 import (
    FINALITY_UNDER_APPEAL,
    GUARDIAN_RELATION_HUSBAND,
    SEX_FEMALE,
    VICTIM_CLASS_CHILD,
    Conviction,
    Offender,
    Passport,
    Person,
)
from nsor.registry.v1.registry_service_pb2 import DuplicateOverride, ImportOffendersRequest, ImportOffendersResponse
from nsor_client.protojson import from_json, to_json
from nsor_client.rows import COLUMNS, OPTIONAL, OVERRIDE, RowFile, RowFileError, write_csv

OFFENDER = Offender(
    person=Person(
        cnic="35202-0000000-1",
        full_name='Bibi "Jan", the elder',
        full_name_ur="بی بی جان",
        guardian_name="Gul Khan",
        guardian_name_ur="گل خان",
        guardian_relation=GUARDIAN_RELATION_HUSBAND,
        sex=SEX_FEMALE,
        date_of_birth="1980-02-29",
        old_nic="970-55-123456",
        passports=[Passport(country="AFG", number="P1234567")],
    ),
    district="Karachi South",
    convictions=[
        Conviction(
            court="Anti-Rape Special Court, Karachi",
            case_number="C-1",
            fir_number="12/2024",
            police_station="Clifton",
            offence_code="PPC-376",
            conviction_date="2025-01-31",
            finality=FINALITY_UNDER_APPEAL,
            finality_date="2025-02-10",
            victim_class=VICTIM_CLASS_CHILD,
        )
    ],
)


def csv_file(folder: Path, *lines: str, header: str = ",".join(COLUMNS)) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def cells(**changed: str) -> str:
    buffer = io.StringIO()
    write_csv([OFFENDER], buffer)
    row = next(csv.DictReader(io.StringIO(buffer.getvalue())))
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow((row | changed).values())
    return line.getvalue().removesuffix("\n")


def refusal(row: ImportOffendersRequest | ImportOffendersResponse) -> list[tuple[str, str]]:
    assert isinstance(row, ImportOffendersResponse)
    assert row.error.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    return [(v.field, v.reason) for v in row.error.field_violations]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv([OFFENDER, OFFENDER], file)
    first, second = RowFile(path)
    assert isinstance(first, ImportOffendersRequest)
    assert isinstance(second, ImportOffendersRequest)
    assert (first.row, second.row) == (1, 2)
    assert first.offender == second.offender == OFFENDER


def test_a_person_with_a_passport_alone_is_a_row(tmp_path: Path) -> None:
    (row,) = RowFile(csv_file(tmp_path, cells(cnic="", old_nic="")))
    assert isinstance(row, ImportOffendersRequest)
    assert (row.offender.person.cnic, row.offender.person.passports) == ("", OFFENDER.person.passports)


def test_a_row_has_one_passport() -> None:
    several = Offender()
    several.CopyFrom(OFFENDER)
    several.person.passports.add(country="PAK", number="AB1234567")
    with pytest.raises(ValueError, match="one passport"):
        write_csv([several], io.StringIO())


def test_json_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{to_json(OFFENDER)}\n\n{{"nam": 1}}\nnot json\n', encoding="utf-8")
    good, unknown, broken = RowFile(path)
    assert isinstance(good, ImportOffendersRequest)
    assert good.offender == OFFENDER
    assert (unknown.row, refusal(unknown)) == (3, [("offender", "NOT_AN_OFFENDER")])
    assert (broken.row, refusal(broken)) == (4, [("offender", "NOT_AN_OFFENDER")])


def test_a_row_says_that_the_person_is_another_one(tmp_path: Path) -> None:
    header, override = ",".join([*COLUMNS, *OVERRIDE]), {"not_the_same_as": ["offenders/1", "offenders/2"]}
    file = csv_file(tmp_path, f"{cells()},offenders/1  offenders/2,twins", f"{cells()},,", header=header)
    lines = tmp_path / "rows.jsonl"
    line = {"row": 9, "offender": json.loads(to_json(OFFENDER)), "duplicate_override": override | {"reason": "twins"}}
    lines.write_text(f"{json.dumps(line)}\n{to_json(OFFENDER)}\n")
    for path in (file, lines):
        first, second = RowFile(path)
        assert isinstance(first, ImportOffendersRequest)
        assert isinstance(second, ImportOffendersRequest)
        assert first.duplicate_override == DuplicateOverride(**override, reason="twins")
        assert (first.row, first.offender, second.offender) == (1, OFFENDER, OFFENDER)
        assert not second.HasField("duplicate_override")
    lines.write_text('{"duplicate_override": {"reason": 1}}\n')
    assert refusal(*RowFile(lines)) == [("offender", "NOT_AN_OFFENDER")]


def test_a_file_out_of_excel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = f"{','.join(COLUMNS).upper()}\r\n{cells(sex='f', finality='Under-Appeal', district=' Lahore ')}\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (row,) = RowFile(path)
    assert isinstance(row, ImportOffendersRequest)
    assert row.offender.person.sex == SEX_FEMALE
    assert row.offender.convictions[0].finality == FINALITY_UNDER_APPEAL
    assert row.offender.district == "Lahore"


def test_columns_in_another_order_and_without_the_optional_ones(tmp_path: Path) -> None:
    columns = [column for column in reversed(COLUMNS) if column not in OPTIONAL]
    values = dict(zip(COLUMNS, next(csv.reader(io.StringIO(cells()))), strict=True))
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values[column] for column in columns)
    (row,) = RowFile(csv_file(tmp_path, line.getvalue(), header=",".join(columns)))
    assert isinstance(row, ImportOffendersRequest)
    assert row.offender.person.full_name == OFFENDER.person.full_name
    assert row.offender.person.full_name_ur == ""


def test_empty_cells_are_fields_that_are_not_set(tmp_path: Path) -> None:
    (row,) = RowFile(csv_file(tmp_path, cells(sex="", cnic="", finality_date="")))
    assert isinstance(row, ImportOffendersRequest)
    assert (row.offender.person.cnic, row.offender.person.sex) == ("", 0)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (cells(sex="male"), ("offender.person.sex", "UNKNOWN_WORD")),
        (cells(victim_class="girl"), ("offender.convictions[0].victim_class", "UNKNOWN_WORD")),
        ("a,b", ("offender", "COLUMN_COUNT")),
        (cells() + ",more", ("offender", "COLUMN_COUNT")),
        ('"a"b,c', ("offender", "MALFORMED_ROW")),
        (f'"{cells()}', ("offender", "MALFORMED_ROW")),
        (f'{cells()},"never closed', ("offender", "MALFORMED_ROW")),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_and_the_next_one_read(
    tmp_path: Path, line: str, problem: tuple[str, str]
) -> None:
    bad, good = RowFile(csv_file(tmp_path, line, cells()))
    assert (bad.row, refusal(bad)) == (1, [problem])
    assert isinstance(good, ImportOffendersRequest)
    assert good.row == 2


def test_bytes_that_are_not_utf8_spoil_their_row_only(tmp_path: Path) -> None:
    path = csv_file(tmp_path, cells(district="BROKEN"), cells())
    path.write_bytes(path.read_bytes().replace(b"BROKEN", b"\xe1\xe2"))
    bad, good = RowFile(path)
    assert refusal(bad) == [("offender.district", "NOT_UTF8")]
    assert isinstance(good, ImportOffendersRequest)


def test_a_row_that_would_end_the_stream_is_refused_here(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"district": "%s"}\n{}\n' % ("ب" * 140_000), encoding="utf-8")
    large, small = RowFile(path)
    assert isinstance(large, ImportOffendersResponse)
    assert large.error.reason == ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE
    assert isinstance(small, ImportOffendersRequest)


def test_a_line_longer_than_any_record_ends_the_reading(tmp_path: Path) -> None:
    with pytest.raises(RowFileError, match="line 2 is longer"):
        list(RowFile(csv_file(tmp_path, "x" * 300_000)))


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("", "lacks the columns cnic, full_name, guardian_name"),
        ("35202-0000000-1,Somebody", "lacks the columns cnic"),
        (",".join(COLUMNS) + ",victim_name", "number 22"),
        (",".join(COLUMNS) + ",cnic", "number 22"),
        ('"a"b', "its quotes are broken"),
    ],
)
def test_a_file_with_another_header_is_refused_without_quoting_it(tmp_path: Path, header: str, problem: str) -> None:
    with pytest.raises(RowFileError, match=problem) as caught:
        list(RowFile(csv_file(tmp_path, header=header)))
    assert "35202" not in str(caught.value)
    assert "victim_name" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowFileError, match=r"\.csv, \.jsonl or \.ndjson"):
        RowFile(tmp_path / "rows.xlsx")


def test_request_ids_follow_from_the_content_and_the_row(tmp_path: Path) -> None:
    def ids(path: Path) -> list[str]:
        return [row.request_id for row in RowFile(path) if isinstance(row, ImportOffendersRequest)]

    path = csv_file(tmp_path, cells(), cells())
    first = ids(path)
    assert len(set(first)) == 2
    assert ids(path.rename(tmp_path / "moved.csv")) == first
    assert not set(ids(csv_file(tmp_path, cells(), cells(), cells()))) & set(first)


@pytest.mark.parametrize("end", ["", "\n"])
def test_how_many_rows_a_file_has_at_most(tmp_path: Path, end: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n\n{}" + end)
    assert (len(list(RowFile(path))), RowFile(path).at_most) == (2, 3)
    assert RowFile(csv_file(tmp_path, "a", "b")).at_most == 2


@pytest.mark.parametrize("convictions", [0, 1, 2])
def test_each_conviction_of_a_record_is_a_row(convictions: int) -> None:
    buffer = io.StringIO()
    write_csv([Offender(convictions=[Conviction(court=str(n)) for n in range(convictions)])], buffer)
    rows = csv.DictReader(io.StringIO(buffer.getvalue()))
    assert [row["court"] for row in rows] == [str(n) for n in range(convictions)]


def test_json_keeps_the_names_of_the_contract() -> None:
    text = to_json(OFFENDER)
    assert '"full_name_ur": "بی بی جان"' in text
    assert "\n" not in text
    assert from_json(text, Offender) == OFFENDER


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON, at line 1 column 1"),
        ('{"person": {"sex": "Secret"}}', "the value of person.sex is not allowed"),
        ('{"convictions": [{"finality": "Secret"}]}', "the value of convictions.finality is not allowed"),
        ('{"person": {"Secret": 1}}', "a field in person is not in the contract"),
        ('{"Secret": 1}', "a field in it is not in the contract"),
        ('{"person": {"cnic": 5}}', "the value of person.cnic is not allowed"),
    ],
)
def test_json_that_does_not_fit_is_explained_without_quoting_it(text: str, problem: Any) -> None:
    with pytest.raises(ValueError, match="^" + problem) as caught:
        from_json(text, Offender)
    assert "Secret" not in str(caught.value)
