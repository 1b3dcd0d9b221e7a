"""Duplicates at entry: somebody who is on the register already under another number."""

from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from nsor.registry.v1.offender_pb2 import SEX_MALE, Offender
from nsor.registry.v1.registry_service_pb2 import DuplicateOverride, ListOffenderRevisionsRequest
from nsor_client import AlreadyExists
from tests.support.contract import MAINTENANCE, Node, creation, row
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender, fresh_old_nic

pytest_plugins = ["tests.support.nodes"]

_years = count(1900, 3)

KNOWN = {
    "full_name": "Muhammad Shafiq Mengal",
    "full_name_ur": "محمد شفیق مینگل",
    "guardian_name": "Abdul Rehman",
    "guardian_name_ur": "عبدالرحمن",
    "sex": SEX_MALE,
}


@pytest.fixture
def born() -> str:
    """A date of birth of the test's own."""
    return f"{next(_years)}-03-12"


def somebody(born: str, **person: Any) -> Offender:
    return fresh_offender(**KNOWN | {"date_of_birth": born} | person)


@pytest.mark.parametrize(
    "spelt",
    [
        {},
        {"full_name": "Mohd. Shafique Mengal", "full_name_ur": "", "guardian_name": "Abdur Rahman"},
        {"full_name": "Shafeeq Mengal", "guardian_name": "Abdulrehman", "guardian_name_ur": ""},
    ],
)
def test_whoever_is_much_like_somebody_is_refused(punjab: Node, sindh: Node, born: str, spelt: dict[str, Any]) -> None:
    known = punjab.create(somebody(born)).offender
    refusal = sindh.refused(creation(somebody(born, **spelt)))
    assert refusal.reason == "LIKELY_DUPLICATE"
    [(name, score)] = [candidate.split("=") for candidate in refusal.metadata["candidates"].split(",")]
    assert name == known.name
    assert 0.9 <= float(score) <= 1


def test_a_name_that_is_alike_in_urdu_alone_is_noticed(punjab: Node, born: str) -> None:
    punjab.create(somebody(born, full_name="Shafiq Mengal", guardian_name="Abdul Rehman"))
    other = somebody(born, full_name="Xhafyq Menghalani", guardian_name="Abdul Rehman")
    assert punjab.refused(creation(other)).reason == "LIKELY_DUPLICATE"


@pytest.mark.parametrize("wrong", ["{}-12-03", "{}-03-21", "{}-08-12"])
def test_a_wrong_digit_in_the_date_of_birth_does_not_hide_anybody(punjab: Node, born: str, wrong: str) -> None:
    punjab.create(somebody(born))
    other = somebody(wrong.format(born[:4]))
    assert punjab.refused(creation(other)).reason == "LIKELY_DUPLICATE"


def test_namesakes_are_entered(punjab: Node, born: str) -> None:
    """Muhammad Ali, son of Muhammad Khan, is many people."""
    names = {"full_name": "Muhammad Ali", "guardian_name": "Muhammad Khan", "full_name_ur": "", "guardian_name_ur": ""}
    punjab.create(somebody(born, **names))
    for other in (
        somebody(f"{born[:4]}-05-13", **names),
        somebody(f"{int(born[:4]) + 1}-03-12", **names),
        somebody(born, **names | {"guardian_name": "Muhammad Akbar"}),
        somebody(born, **names | {"full_name": "Muhammad Aslam"}),
    ):
        assert punjab.create(other).offender.name


def test_a_reason_lets_somebody_in_and_stands_in_the_history(punjab: Node, sindh: Node, born: str) -> None:
    known = punjab.create(somebody(born)).offender
    request = creation(somebody(born))
    sindh.refused(request)
    override = DuplicateOverride(not_the_same_as=[known.name], reason="twins, by their birth certificates")
    request.duplicate_override.CopyFrom(override)
    written = sindh.call(request)
    assert sindh.call(request) == written, "a retry is one"
    history = ListOffenderRevisionsRequest(name=written.offender.name, officer=MAINTENANCE)
    [revision] = sindh.call(history).revisions
    assert revision.reason == f"not the same as {known.name}: twins, by their birth certificates"


def test_a_reason_counts_for_the_records_that_it_names(punjab: Node, born: str) -> None:
    known = punjab.create(somebody(born)).offender
    request = creation(somebody(born))
    request.duplicate_override.not_the_same_as.append(f"offenders/{uuid4()}")
    request.duplicate_override.reason = "somebody else"
    assert known.name in punjab.refused(request).metadata["candidates"]
    for field, wrong in (
        ("duplicate_override.reason", DuplicateOverride(not_the_same_as=[known.name], reason=" ")),
        ("duplicate_override.not_the_same_as", DuplicateOverride(reason="somebody else")),
    ):
        request.duplicate_override.CopyFrom(wrong)
        assert list(punjab.refused(request).fields) == [field]


def test_people_without_a_card_are_compared_as_well(punjab: Node, born: str) -> None:
    for refused in (False, True):
        other = somebody(born, old_nic=fresh_old_nic())
        other.person.ClearField("cnic")
        if refused:
            assert punjab.refused(creation(other)).reason == "LIKELY_DUPLICATE"
        else:
            punjab.create(other)


def test_the_same_number_is_that_of_the_record_which_exists(punjab: Node, sindh: Node, born: str) -> None:
    known = punjab.create(somebody(born)).offender
    refusal = sindh.refused(creation(somebody(born, cnic=known.person.cnic)))
    assert (refusal.reason, refusal.metadata["offender"]) == ("OFFENDER_ALREADY_EXISTS", known.name)


def test_each_row_of_an_import_is_compared_with_the_register_and_the_rows_before(punjab: Node, born: str) -> None:
    known = punjab.create(somebody(born)).offender
    other = {"guardian_name": "Bashir Mengal", "guardian_name_ur": ""}
    rows = [row(1, somebody(born)), row(2, somebody(born, **other)), row(3), row(4, somebody(born, **other))]
    first, second, third, fourth = punjab.import_rows(rows)
    assert known.name in first.error.metadata["candidates"]
    assert second.offender
    assert third.offender
    assert second.offender in fourth.error.metadata["candidates"]
    rows[3].duplicate_override.not_the_same_as.append(second.offender)
    rows[3].duplicate_override.reason = "cousins"
    again = punjab.import_rows(rows)
    assert [result.offender for result in again[:3]] == ["", second.offender, third.offender]
    assert again[3].offender


def test_the_sdk_lets_somebody_in(hub: RunningHub, born: str) -> None:
    with hub.client("punjab-police") as client:
        known = client.create_offender(somebody(born)).offender
        other = somebody(born)
        with pytest.raises(AlreadyExists) as refused:
            client.create_offender(other)
        assert known.name in refused.value.metadata["candidates"]
        override = DuplicateOverride(not_the_same_as=[known.name], reason="twins")
        assert client.create_offender(other, duplicate_override=override).offender.name
