"""Searching the register: by names in either script and in any spelling, and by what else is known of a person."""

from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from hub.store.database import PostgresDatabase
from hub.store.reindex import Reindex
from hub.store.vault import Keyring, Vault
from nsor.registry.v1.identity_pb2 import NewName
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_APPEAL_FILED,
    COURT_EVENT_SET_ASIDE,
    FINALITY_FINAL,
    FINALITY_UNDER_APPEAL,
    Offender,
)
from nsor.registry.v1.registry_service_pb2 import SearchOffendersRequest, SearchOffendersResponse
from nsor_client.cli import app
from tests.support.contract import INVESTIGATION, MAINTENANCE, OVERSIGHT, Node, court_event, identity_event, node, row
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender
from tests.support.spellings import Somebody, found_by, people

pytest_plugins = ["tests.support.nodes"]

DISTRICT = "Attock"
"""Where nobody lives whom other tests enter."""


@pytest.fixture(scope="module")
def known(punjab: Node) -> dict[str, Offender]:
    """People of one district, by their names."""
    people = (
        ("Abdul Rehman Khattak", "عبدالرحمٰن خٹک", "Muhammad Yousaf", "محمد یوسف", "1985-03-02"),
        ("Muhammad Imran Bhatti", "محمد عمران بھٹی", "Ghulam Rasool", "غلام رسول", "1990-11-20"),
        ("Imran Bhatti", "", "Bashir Ahmed", "", "1971-01-01"),
        ("Mehmood Qureshi", "محمود قریشی", "Ahmed Qureshi", "احمد قریشی", "1980-06-15"),
        ("Muhammad Qureshi", "محمد قریشی", "Iqbal Qureshi", "اقبال قریشی", "1979-06-15"),
    )
    return {name: enter(punjab, name, urdu, father, father_ur, born) for name, urdu, father, father_ur, born in people}


def enter(node: Node, name: str, urdu: str, guardian: str, guardian_ur: str, born: str) -> Offender:
    convict = fresh_offender(
        full_name=name, full_name_ur=urdu, guardian_name=guardian, guardian_name_ur=guardian_ur, date_of_birth=born
    )
    convict.district = DISTRICT
    return node.create(convict).offender


def search(node: Node, name: str = "", guardian: str = "", **known: Any) -> SearchOffendersResponse:
    known = {"district": DISTRICT} | known
    return node.call(SearchOffendersRequest(person_name=name, guardian=guardian, officer=INVESTIGATION, **known))


def found(node: Node, name: str = "", guardian: str = "", **known: Any) -> list[str]:
    return [candidate.offender for candidate in search(node, name, guardian, **known).candidates]


@pytest.mark.parametrize(
    ("name", "guardian", "meant"),
    [
        ("Abdul Rehman Khattak", "", "Abdul Rehman Khattak"),
        ("Abdur Rahman Khatak", "", "Abdul Rehman Khattak"),
        ("Abdulrehman", "Mohd Yusuf", "Abdul Rehman Khattak"),
        ("عبد الرحمان خٹک", "", "Abdul Rehman Khattak"),
        ("عبدالرحمن", "Yousuf", "Abdul Rehman Khattak"),
        ("M. Imran Bhati", "Ghulam Rasul", "Muhammad Imran Bhatti"),
        ("عمران بھٹی", "غلام رسول", "Muhammad Imran Bhatti"),
        ("عمران بھٹی", "بشیر احمد", "Imran Bhatti"),
        ("Imarn Bhatti", "Bashir Ahmad", "Imran Bhatti"),
        ("Mahmud Qureshi", "", "Mehmood Qureshi"),
        ("Mohammed Quraishi", "", "Muhammad Qureshi"),
        ("", "Bashir Ahmed", "Imran Bhatti"),
    ],
)
def test_the_best_candidate_is_the_one_meant(
    sindh: Node, known: dict[str, Offender], name: str, guardian: str, meant: str
) -> None:
    assert found(sindh, name, guardian)[0] == known[meant].name


def test_a_candidate_shows_what_tells_people_apart(sindh: Node, known: dict[str, Offender]) -> None:
    best, *others = search(sindh, "محمود قریشی", "Ahmad Qureshi", date_of_birth="1980-06-15").candidates
    record = known["Mehmood Qureshi"]
    assert best.score == 1.0
    assert (best.offender, best.owner, best.birth_year) == (record.name, "nodes/punjab-police", 1980)
    assert (best.full_name, best.full_name_ur) == (record.person.full_name, record.person.full_name_ur)
    assert (best.guardian_name, best.guardian_name_ur) == (record.person.guardian_name, record.person.guardian_name_ur)
    assert best.district == DISTRICT
    assert all(0.6 <= other.score < 1 for other in others)


def test_a_birthday_tells_namesakes_apart(sindh: Node, known: dict[str, Offender]) -> None:
    assert found(sindh, "Imran Bhatti", date_of_birth="1990-11-02")[0] == known["Muhammad Imran Bhatti"].name
    assert found(sindh, "Imran Bhatti", date_of_birth="1971-02-01")[0] == known["Imran Bhatti"].name


def test_what_else_is_given_must_fit(sindh: Node, known: dict[str, Offender]) -> None:
    record = known["Imran Bhatti"]
    [conviction] = record.convictions
    right = {"offence_code": conviction.offence_code, "finality": conviction.finality}
    assert found(sindh, "Imran Bhatti", "Bashir Ahmed", fir_number=f"0{conviction.fir_number}", **right) == [
        record.name
    ]
    assert record.name in found(sindh, fir_number=conviction.fir_number, **right)
    wrong = {
        "district": "Lahore",
        "offence_code": "PPC-375" if conviction.offence_code != "PPC-375" else "PPC-376",
        "finality": FINALITY_UNDER_APPEAL,
        "fir_number": "999999/1999",
    }
    for field, value in wrong.items():
        assert record.name not in found(sindh, "Imran Bhatti", "Bashir Ahmed", **{field: value})


def test_what_a_record_was_is_not_found_any_more(punjab: Node, court: Node) -> None:
    record = enter(punjab, "Zafarullah Wattoo", "", "Shaukat Wattoo", "", "1966-05-04")
    assert found(punjab, "Zafarullah Wattoo") == [record.name]
    record.person.full_name, record.person.guardian_name = "Nasrullah Tiwana", "Liaqat Tiwana"
    record = punjab.update(record, "person").offender
    assert found(punjab, "Zafarullah Wattoo") == []
    assert found(punjab, "نصراللہ ٹوانہ") == [record.name]
    record = court.call(court_event(record, COURT_EVENT_APPEAL_FILED)).offender
    assert found(punjab, "Nasrullah Tiwana", finality=FINALITY_UNDER_APPEAL) == [record.name]
    assert found(punjab, "Nasrullah Tiwana", finality=FINALITY_FINAL) == []


def test_a_sealed_record_leaves_the_index(hub: RunningHub, punjab: Node, court: Node) -> None:
    record = enter(punjab, "Fazal Elahi Gondal", "", "Karam Elahi Gondal", "", "1966-05-04")
    assert hashes_of(hub, record)
    court.call(court_event(record, COURT_EVENT_SET_ASIDE))
    assert hashes_of(hub, record) is None
    assert found(punjab, "Fazal Elahi Gondal") == []


def hashes_of(hub: RunningHub, record: Offender) -> list[int] | None:
    rows = hub.sql("SELECT hashes FROM offender_search WHERE offender_id = %s", id_of(record))
    return rows[0][0] if rows else None


def id_of(record: Offender) -> UUID:
    return UUID(record.name.removeprefix("offenders/"))


def test_a_former_name_finds_a_person(hub: RunningHub, punjab: Node) -> None:
    record = enter(punjab, "Zulqarnain Tarar", "", "Safdar Tarar", "", "1966-05-04")
    new_name = NewName(full_name="Mansoor Khosa", full_name_ur="منصور کھوسہ")
    node(hub, "nadra").call(identity_event(record.person.cnic, new_name=new_name))
    assert found(punjab, "Zulqarnain Tarar") == found(punjab, "منصور کھوسہ") == [record.name]


async def test_records_that_the_index_lacks_get_into_it(hub: RunningHub, punjab: Node) -> None:
    """As those do that were entered before there was an index, or under older rules."""
    one, other = (enter(punjab, name, "", "Noor Wattoo", "", "1966-05-04") for name in ("Sarfraz", "Shahbaz"))
    hub.sql("DELETE FROM offender_search WHERE offender_id = %s", id_of(one))
    hub.sql("UPDATE offender_search SET rules = 0, hashes = '{}' WHERE offender_id = %s", id_of(other))
    vault = Vault(lambda: Keyring.load((hub.folder / "keyring.json").read_text()))
    database = PostgresDatabase(hub.dsn, vault)
    await Reindex(database, vault).run()
    assert await Reindex(database, vault).run() == 0
    await database.close()
    assert set(found(punjab, guardian="Noor Wattoo")) == {one.name, other.name}


def test_the_command_shows_who_may_be_meant(hub: RunningHub, known: dict[str, Offender]) -> None:
    options = ["--target", hub.target, "--node", str(hub.folder / "nodes/fia")]
    query = ["offender", "search", "عمران بھٹی", "--guardian", "Bashir Ahmad", "--district", "attock"]
    done = CliRunner().invoke(app, [*options, *query, "--fir", "1/2026"])
    assert done.exit_code == 0, done.stderr
    head, best, *_ = done.stdout.splitlines()
    assert head.split()[:3] == ["score", "record", "name"]
    assert known["Imran Bhatti"].name in best
    assert {"Bashir", "1971", "Attock"} <= set(best.split())


def test_more_than_are_asked_for_are_not_shown(sindh: Node, known: dict[str, Offender]) -> None:
    assert len(found(sindh, "Imran Bhatti", max_results=1)) == 1


@pytest.mark.parametrize("officer", [MAINTENANCE, OVERSIGHT])
def test_nobody_searches_but_for_an_investigation(punjab: Node, npb: Node, officer: Any) -> None:
    for caller in (punjab, npb):
        refusal = caller.refused(SearchOffendersRequest(person_name="Imran Bhatti", officer=officer))
        assert refusal.reason == "PURPOSE_NOT_ALLOWED"


def test_a_whole_district_is_nobody_sought(punjab: Node) -> None:
    request = SearchOffendersRequest(district=DISTRICT, offence_code="PPC-376", officer=INVESTIGATION)
    assert punjab.refused(request).fields == {"person_name": "REQUIRED"}


def test_the_search_and_all_it_showed_are_in_the_audit_log(
    hub: RunningHub, sindh: Node, known: dict[str, Offender]
) -> None:
    last = hub.sql("SELECT max(id) FROM audit_entry")[0][0]
    shown = found(sindh, "Imran Bhatti")
    assert shown
    entries = hub.sql(
        "SELECT subject, decision, officer_id, fir_number FROM audit_entry"
        " WHERE id > %s AND method LIKE '%%/SearchOffenders' ORDER BY id",
        last,
    )
    assert {entry[2:] for entry in entries} == {(INVESTIGATION.officer_id, INVESTIGATION.fir_number)}
    (subject, decision, *_), *records = entries
    assert (len(subject), decision) == (32, "FOUND"), "a keyed hash of what was asked"
    assert [(f"offenders/{UUID(bytes=subject)}", decision) for subject, decision, *_ in records] == [
        (name, "SHOWN") for name in shown
    ]


@pytest.fixture(scope="module")
def population(punjab: Node) -> list[Somebody]:
    """Many people of one district."""
    crowd = list(people(500, seed=1))
    rows = [row(number, somebody.fill(fresh_offender())) for number, somebody in enumerate(crowd, 1)]
    for each in rows:
        each.offender.district = "Gwadar"
    assert not [result.error for result in punjab.import_rows(rows) if result.HasField("error")]
    return crowd


@pytest.mark.parametrize(
    ("way", "recall", "precision"),
    [("otherwise", 0.97, 0.9), ("in_urdu", 0.97, 0.9), ("mistyped", 0.9, 0.9)],
)
def test_people_are_found_by_other_spellings_and_others_are_not(
    sindh: Node, population: list[Somebody], way: str, recall: float, precision: float
) -> None:
    """The floor of what docs/performance.md says. All is drawn by a seed, so it does not vary."""
    quality = found_by(sindh.call, way, population, 40, with_birth=False, district="Gwadar", officer=INVESTIGATION)
    assert quality.recall >= recall, quality
    assert quality.precision >= precision, quality


@pytest.mark.parametrize(("with_birth", "recall"), [(False, 0.75), (True, 0.95)])
def test_people_are_found_by_a_part_of_their_names(
    sindh: Node, population: list[Somebody], with_birth: bool, recall: float
) -> None:
    quality = found_by(
        sindh.call, "shortened", population, 40, with_birth=with_birth, district="Gwadar", officer=INVESTIGATION
    )
    assert quality.recall >= recall, quality
