"""Import: a result for each row in the order of the rows, and a stream that can be sent again."""

from collections.abc import Iterator
from copy import deepcopy
from queue import SimpleQueue

import pytest

from nsor.common.v1 import error_reason_pb2 as reasons
from nsor.registry.v1.registry_service_pb2 import ImportOffendersRequest, ImportOffendersResponse
from tests.support.contract import METHODS, Node, Refusal, at_once, creation, node, refusal_of, row, rows_written
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

pytest_plugins = ["tests.support.nodes"]


def written_by(hub: RunningHub, results: list[ImportOffendersResponse]) -> int:
    """How many records of the database the results name."""
    names = [result.offender.removeprefix("offenders/") for result in results if result.offender]
    [[count]] = hub.sql("SELECT count(*) FROM offender WHERE id::text = ANY(%s)", names)
    return count


def test_every_row_gets_its_result_in_the_order_of_the_rows(hub: RunningHub, punjab: Node) -> None:
    rows = [row(number) for number in range(1, 301)]
    before = rows_written(hub.sql)["offender"]
    results = punjab.import_rows(rows)
    assert [result.row for result in results] == list(range(1, 301))
    assert all(result.offender for result in results)
    assert written_by(hub, results) == rows_written(hub.sql)["offender"] - before == 300
    for at in (0, 150, 299):
        assert punjab.get(results[at].offender).person == rows[at].offender.person


def test_rows_may_be_numbered_as_the_source_numbers_them(punjab: Node) -> None:
    assert [result.row for result in punjab.import_rows([row(907), row(3), row(2**62)])] == [907, 3, 2**62]


def test_an_import_of_nothing_has_no_results(punjab: Node) -> None:
    assert punjab.import_rows([]) == []


def test_a_bad_row_is_refused_and_stops_nothing(hub: RunningHub, punjab: Node) -> None:
    enrolled = punjab.create().offender
    rows = [row(number) for number in range(1, 10)]
    rows[1].offender.district = "Nowhere"
    rows[2].ClearField("offender")
    rows[3].request_id = "x"
    rows[4].offender.person.cnic = "91234-1234567"
    rows[5].offender.convictions[0].conviction_date = "2026-02-30"
    rows[6].offender.person.cnic = enrolled.person.cnic
    rows[7].row = 0
    wrong = {
        2: "offender.district",
        3: "offender",
        4: "request_id",
        5: "offender.person.cnic",
        6: "offender.convictions[0].conviction_date",
        0: "row",
    }
    before = rows_written(hub.sql)
    results = punjab.import_rows(rows)
    assert [result.row for result in results] == [each.row for each in rows]
    assert rows_written(hub.sql)["offender"] - before["offender"] == 2
    assert rows_written(hub.sql)["request"] - before["request"] == 2
    by_row = {result.row: result for result in results}
    assert by_row.pop(1).offender
    assert by_row.pop(9).offender
    exists = by_row.pop(7).error
    assert exists.reason == reasons.ERROR_REASON_OFFENDER_ALREADY_EXISTS
    assert exists.metadata == {"offender": enrolled.name, "owner": punjab.name}
    for number, result in by_row.items():
        assert result.error.reason == reasons.ERROR_REASON_INVALID_FIELD
        assert [violation.field for violation in result.error.field_violations] == [wrong[number]]


def test_a_row_is_refused_for_what_a_unary_call_is_refused_for(punjab: Node) -> None:
    offender = fresh_offender(full_name="", date_of_birth="2099-01-01")
    offender.convictions[0].finality = 99  # type: ignore[assignment]
    refusal = punjab.refused(creation(offender))
    [result] = punjab.import_rows([row(1, offender)])
    error = result.error
    assert reasons.ErrorReason.Name(error.reason) == f"ERROR_REASON_{refusal.reason}"
    assert {violation.field: violation.reason for violation in error.field_violations} == refusal.fields


def test_a_result_tells_nothing_personal(punjab: Node) -> None:
    enrolled = punjab.create().offender
    offender = fresh_offender(cnic=f"{enrolled.person.cnic} or 91234-1234567-1")
    for result in punjab.import_rows([row(1, offender), row(2, fresh_offender(cnic=enrolled.person.cnic))]):
        for text in (enrolled.person.cnic, "91234-1234567-1", offender.person.full_name):
            assert text not in str(result.error)


def test_a_cnic_that_stands_twice_in_a_file_is_entered_once(punjab: Node) -> None:
    first, again = fresh_offender(), fresh_offender()
    again.person.cnic = first.person.cnic.replace("-", "")
    one, two, three = punjab.import_rows([row(1, first), row(2, again), row(3)])
    assert one.offender
    assert two.error.reason == reasons.ERROR_REASON_OFFENDER_ALREADY_EXISTS
    assert two.error.metadata == {"offender": one.offender, "owner": punjab.name}
    assert three.offender


def test_a_row_that_stands_twice_in_a_file_is_entered_once(hub: RunningHub, punjab: Node) -> None:
    first = row(1)
    other = row(2, request_id=first.request_id)
    before = rows_written(hub.sql)["offender"]
    one, two, three = punjab.import_rows([first, other, first])
    assert one.offender
    assert two.error.reason == reasons.ERROR_REASON_REQUEST_ID_REUSED
    assert three == one
    assert rows_written(hub.sql)["offender"] - before == 1


def test_rows_sent_again_give_the_same_results_and_write_nothing(hub: RunningHub, punjab: Node) -> None:
    rows = [row(number) for number in range(1, 41)]
    rows[7].offender.district = "Nowhere"
    rows[21].offender.person.cnic = rows[3].offender.person.cnic
    first = punjab.import_rows(rows)
    before = rows_written(hub.sql)
    assert punjab.import_rows(rows) == first
    assert rows_written(hub.sql) == before


def test_an_import_that_was_cut_can_be_sent_again(hub: RunningHub, punjab: Node) -> None:
    rows = [row(number) for number in range(1, 301)]
    before = rows_written(hub.sql)["offender"]
    with punjab.importing(rows) as results:
        first = [next(results) for _ in range(100)]
    assert written_by(hub, first) == 100, "a row is written by the time its result is sent"
    again = punjab.import_rows(rows)
    assert again[:100] == first
    assert all(result.offender for result in again)
    assert rows_written(hub.sql)["offender"] - before == 300


def test_a_dry_run_says_what_would_become_of_each_row_and_writes_nothing(hub: RunningHub, punjab: Node) -> None:
    enrolled = punjab.create().offender
    rows = [row(number) for number in range(1, 41)]
    rows[7].offender.district = "Nowhere"
    rows[21].offender.person.cnic = enrolled.person.cnic
    trial = deepcopy(rows)
    for each in trial:
        each.validate_only = True
    before = rows_written(hub.sql)
    found = punjab.import_rows(trial)
    assert rows_written(hub.sql) == before
    written = punjab.import_rows(rows)
    for one, two in zip(found, written, strict=True):
        assert (one.row, one.error) == (two.row, two.error)
        assert one.valid == bool(two.offender)
        assert not one.offender
    assert [each.valid for each in punjab.import_rows(trial)] == [each.valid for each in found]


def test_one_stream_can_hold_rows_of_both_kinds(punjab: Node) -> None:
    rows = [row(1), row(2), row(3)]
    rows[1].validate_only = True
    assert [bool(result.offender) for result in punjab.import_rows(rows)] == [True, False, True]


def test_the_same_import_sent_twice_at_once_is_written_once(hub: RunningHub) -> None:
    rows = [row(number) for number in range(1, 101)]
    before = rows_written(hub.sql)["offender"]
    one, two = at_once(2, lambda line: node(hub, "punjab-police", line).import_rows(deepcopy(rows)))
    assert one == two
    assert written_by(hub, one) == rows_written(hub.sql)["offender"] - before == 100


def test_a_result_does_not_wait_for_the_next_row(punjab: Node) -> None:
    rows: SimpleQueue[ImportOffendersRequest | None] = SimpleQueue()
    with punjab.importing(iter(rows.get, None)) as results:
        for number in (1, 2, 3):
            rows.put(row(number))
            assert next(results).row == number
        rows.put(None)
        assert not list(results)


def large() -> ImportOffendersRequest:
    """A row larger than the hub reads."""
    return row(3, fresh_offender(full_name="x" * 300_000))


def test_a_row_that_is_too_large_to_be_read_ends_the_stream_after_the_rows_before(
    hub: RunningHub, punjab: Node
) -> None:
    rows = [row(1), row(2), large(), row(4)]
    results: list[ImportOffendersResponse] = []

    def send() -> None:
        with punjab.importing(rows) as stream:
            results.extend(iter(lambda: next(stream), None))

    refusal = refusal_of(send)
    assert (refusal.reason, refusal.metadata) == ("MESSAGE_TOO_LARGE", {"limit_bytes": "262144"})
    assert [result.row for result in results] == [1, 2]
    assert written_by(hub, results) == 2
    del rows[2]
    assert punjab.import_rows(rows)[:2] == results


def test_bytes_that_are_no_row_end_the_stream(punjab: Node) -> None:
    refusal = refusal_of(lambda: punjab.call_bytes(METHODS["ImportOffenders"], b"\xff\xff\xff"))
    assert refusal.reason == "INVALID_FIELD"


def test_rows_of_two_provinces_meet_in_one_register(hub: RunningHub, punjab: Node) -> None:
    shared = [fresh_offender() for _ in range(20)]

    def send(line: int) -> list[ImportOffendersResponse]:
        police = node(hub, ("punjab-police", "sindh-police")[line])
        return police.import_rows(row(number, offender) for number, offender in enumerate(shared, 1))

    answers = at_once(2, send)
    assert not [answer for answer in answers if isinstance(answer, Refusal)]
    for one, two in zip(*answers, strict=True):
        [winner] = [result.offender for result in (one, two) if result.offender]
        [loser] = [result.error for result in (one, two) if not result.offender]
        assert loser.reason == reasons.ERROR_REASON_OFFENDER_ALREADY_EXISTS
        assert loser.metadata["offender"] == winner


@pytest.mark.parametrize("cut_after", [0, 1])
def test_an_import_may_be_cut_at_once(punjab: Node, cut_after: int) -> None:
    rows = [row(number) for number in range(1, 31)]

    def endless() -> Iterator[ImportOffendersRequest]:
        yield from rows

    with punjab.importing(endless()) as results:
        for _ in range(cut_after):
            next(results)
    assert all(result.offender for result in punjab.import_rows(rows))
