"""Continuous vetting: whoever watches somebody is told in time, once, and nobody else learns anything."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from uuid import uuid4

import pytest

from nsor.common.v1.error_reason_pb2 import ErrorReason
from nsor.common.v1.officer_pb2 import PURPOSE_VETTING, OfficerContext
from nsor.lookup.v1.vetting_service_pb2 import NewWatchedPerson, WatchAlertsRequest
from nsor.lookup.v1.vetting_service_pb2_grpc import VettingServiceStub
from nsor.lookup.v1.watch_list_pb2 import ALERT_KIND_ON_REGISTER, ALERT_KIND_SET_ASIDE
from nsor.registry.v1.identity_pb2 import NewCnic
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_APPEAL_DISMISSED,
    COURT_EVENT_APPEAL_FILED,
    COURT_EVENT_SET_ASIDE,
    FINALITY_UNDER_APPEAL,
)
from nsor_client import InvalidRequest, NotFound, NsorError, OutOfRange
from tests.support.contract import Node, court_event, identity_event, node, refusal_of, row
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender
from tests.support.vetting import School, teacher, told

pytest_plugins = ["tests.support.nodes"]

ON_REGISTER, SET_ASIDE = ALERT_KIND_ON_REGISTER, ALERT_KIND_SET_ASIDE


@pytest.fixture
def school(hub: RunningHub) -> Iterator[School]:
    """A school with an empty watch list."""
    with closing_school(hub) as school:
        yield school


@contextmanager
def closing_school(hub: RunningHub) -> Iterator[School]:
    school = School(hub)
    with school.client:
        yield school


@contextmanager
def refused(reason: str, kind: type[NsorError] = NsorError) -> Iterator[pytest.ExceptionInfo[NsorError]]:
    """The hub refuses what happens in the block, for this reason."""
    with pytest.raises(kind) as info:
        yield info
    assert info.value.reason_name == f"ERROR_REASON_{reason}"
    assert info.value.reason in ErrorReason.values()


def test_an_alert_comes_when_somebody_on_the_list_is_entered(school: School, punjab: Node) -> None:
    offender = fresh_offender()
    watched = teacher(offender.person.cnic, "employee/1044")
    [name] = school.client.add_watched_people([watched]).watched_people
    with closing(school.client.watch_alerts()) as responses:
        assert not next(responses).alerts, "a bookmark, and nothing is known of the person"
        punjab.create(offender)
        [alert] = next(response.alerts for response in responses if response.alerts)
    assert alert.kind == ON_REGISTER
    assert alert.watched_person.name == name
    assert alert.watched_person.reference == "employee/1044"
    assert alert.watched_person.consent_reference == watched.consent_reference
    assert alert.person.full_name == offender.person.full_name, "as the disclosure policy says"
    assert offender.person.cnic not in str(alert)


def test_an_alert_comes_for_who_is_on_the_register_already(school: School, punjab: Node) -> None:
    entered = [punjab.create().offender for _ in range(2)]
    names = school.watches(entered[0].person.cnic, fresh_cnic(), entered[1].person.cnic)
    assert sorted(told(school.alerts())) == sorted([(names[0], ON_REGISTER), (names[2], ON_REGISTER)])


def test_an_alert_comes_by_every_number_of_a_person(hub: RunningHub, school: School, punjab: Node) -> None:
    entered, new = punjab.create().offender, fresh_cnic()
    names = school.watches(entered.person.cnic, new)
    assert told(school.alerts()) == [(names[0], ON_REGISTER)]
    node(hub, "nadra").call(identity_event(entered.person.cnic, new_cnic=NewCnic(cnic=new)))
    assert told(school.alerts()) == [(names[0], ON_REGISTER), (names[1], ON_REGISTER)]


def test_an_alert_comes_once_whatever_else_changes(school: School, punjab: Node) -> None:
    entered = punjab.create().offender
    [name] = school.watches(entered.person.cnic)
    school.alerts()
    entered.district = "Multan"
    punjab.update(entered, "district")
    assert school.watches(entered.person.cnic) == [name], "who is on the list stays"
    assert told(school.alerts()) == [(name, ON_REGISTER)]


def test_who_was_told_of_a_record_is_told_when_it_is_set_aside(school: School, punjab: Node, court: Node) -> None:
    entered = punjab.create().offender
    [name] = school.watches(entered.person.cnic)
    [first] = school.alerts()
    court.call(court_event(entered, COURT_EVENT_SET_ASIDE))
    [second] = school.alerts(first.name)
    assert (second.watched_person.name, second.kind) == (name, SET_ASIDE)
    assert not second.HasField("person")
    assert told(school.alerts()) == [(name, SET_ASIDE)], "what was set aside is not told again, even to who asks anew"


def test_who_was_not_told_of_a_record_never_learns_of_it(school: School, punjab: Node, court: Node) -> None:
    entered = punjab.create().offender
    [name] = school.watches(entered.person.cnic)
    # Nobody watches, so nothing was sent when it is set aside.
    court.call(court_event(entered, COURT_EVENT_SET_ASIDE))
    assert told(school.alerts()) == []
    again = fresh_offender()
    again.person.cnic = entered.person.cnic
    again.convictions[0].fir_number = "77/2024"
    punjab.create(again)
    assert told(school.alerts()) == [(name, ON_REGISTER)], "a record of another case is another record"


def test_a_retrial_is_told_of_after_the_first_conviction_was_set_aside(
    school: School, punjab: Node, court: Node
) -> None:
    entered = punjab.create().offender
    [name] = school.watches(entered.person.cnic)
    [first] = school.alerts()
    court.call(court_event(entered, COURT_EVENT_SET_ASIDE))
    again = fresh_offender()
    again.person.cnic = entered.person.cnic
    again.convictions[0].fir_number = "77/2024"
    punjab.create(again)
    assert told(school.alerts(first.name)) == [(name, SET_ASIDE), (name, ON_REGISTER)]


def test_an_appeal_holds_back_what_was_not_told_yet(school: School, punjab: Node, court: Node) -> None:
    offender = fresh_offender()
    offender.convictions[0].finality = FINALITY_UNDER_APPEAL
    [name] = school.watches(offender.person.cnic)
    entered = punjab.create(offender).offender
    assert told(school.alerts()) == []
    court.call(court_event(entered, COURT_EVENT_APPEAL_DISMISSED))
    assert told(school.alerts()) == [(name, ON_REGISTER)]


def test_an_appeal_changes_nothing_for_who_was_told(school: School, punjab: Node, court: Node) -> None:
    entered = punjab.create().offender
    [name] = school.watches(entered.person.cnic)
    [first] = school.alerts()
    appealed = court.call(court_event(entered, COURT_EVENT_APPEAL_FILED)).offender
    [again] = school.alerts()
    assert again.name == first.name
    assert not again.HasField("person"), "who it is, a check would not tell now either"
    court.call(court_event(appealed, COURT_EVENT_SET_ASIDE))
    assert told(school.alerts(first.name)) == [(name, SET_ASIDE)]


def test_an_appeal_takes_back_what_was_not_sent(school: School, punjab: Node, court: Node) -> None:
    entered = punjab.create().offender
    [name] = school.watches(entered.person.cnic)
    appealed = court.call(court_event(entered, COURT_EVENT_APPEAL_FILED)).offender
    assert told(school.alerts()) == []
    court.call(court_event(appealed, COURT_EVENT_APPEAL_DISMISSED))
    assert told(school.alerts()) == [(name, ON_REGISTER)]


def test_everybody_learns_of_the_own_list_only(hub: RunningHub, punjab: Node) -> None:
    with closing_school(hub) as one, closing_school(hub) as other:
        both, first, second = fresh_offender(), fresh_offender(), fresh_offender()
        of_one = one.watches(both.person.cnic, first.person.cnic)
        of_other = other.watches(second.person.cnic, both.person.cnic)
        for offender in (first, both, second):
            punjab.create(offender)
        assert sorted(told(one.alerts())) == sorted((name, ON_REGISTER) for name in of_one)
        assert sorted(told(other.alerts())) == sorted((name, ON_REGISTER) for name in of_other)
        assert not set(of_one) & set(of_other)
        assert {person.name for person in one.client.list_watched_people()} == set(of_one)
        with refused("WATCHED_PERSON_NOT_FOUND", NotFound):
            one.client.remove_watched_person(of_other[0])
        foreign = other.alerts()[0].name
        with refused("ALERT_NOT_FOUND", OutOfRange):
            one.alerts(foreign)


def test_a_watch_resumes_after_every_alert(school: School, punjab: Node) -> None:
    offenders = [fresh_offender() for _ in range(4)]
    school.watches(*(offender.person.cnic for offender in offenders))
    for offender in offenders:
        punjab.create(offender)
    alerts = school.alerts()
    assert len(alerts) == 4
    for number, alert in enumerate(alerts, 1):
        assert school.alerts(alert.name) == alerts[number:]


def test_more_alerts_than_a_response_holds_come_in_order(school: School, punjab: Node) -> None:
    entered = [fresh_offender() for _ in range(210)]
    punjab.import_rows(row(number, offender) for number, offender in enumerate(entered, 1))
    school.watches(*(offender.person.cnic for offender in entered))
    school.alerts()
    with closing(school.client.watch_alerts()) as responses:
        sizes = [len(response.alerts) for response in islice((r for r in responses if r.alerts), 2)]
    assert sizes == [200, 10]


def test_watchers_on_all_lines_are_told_the_same(hub: RunningHub, school: School, punjab: Node) -> None:
    offender = fresh_offender()
    [name] = school.watches(offender.person.cnic)
    with ExitStack() as stack:
        streams = []
        for _ in range(4):
            client = stack.enter_context(school.another_client(hub))
            streams.append(stack.enter_context(closing(client.watch_alerts())))
            next(streams[-1])
        punjab.create(offender)
        seen = [next(response.alerts for response in stream if response.alerts) for stream in streams]
    assert [told(alerts) for alerts in seen] == [[(name, ON_REGISTER)]] * 4
    assert len({alerts[0].name for alerts in seen}) == 1


def test_old_alerts_go_but_for_what_holds(hub: RunningHub, school: School, punjab: Node, court: Node) -> None:
    entered = [punjab.create().offender for _ in range(4)]
    names = school.watches(*(offender.person.cnic for offender in entered[:3]))
    first = school.alerts()
    gone, ended, _ = names
    school.client.remove_watched_person(gone)
    court.call(court_event(entered[1], COURT_EVENT_SET_ASIDE))
    school.alerts()
    hub.sql("UPDATE alert SET created_at = created_at - interval '401 days' WHERE node_id = %s", school.id)
    [late] = school.watches(entered[3].person.cnic)
    assert told(school.alerts()) == [(names[2], ON_REGISTER), (ended, SET_ASIDE), (late, ON_REGISTER)]
    left = hub.sql("SELECT kind FROM alert WHERE node_id = %s ORDER BY seq", school.id)
    assert left == [("ON_REGISTER",), ("SET_ASIDE",), ("ON_REGISTER",)], (
        "in force; the newest that was sent; the new one"
    )
    [dropped] = [alert for alert in first if alert.watched_person.name == gone]
    with refused("ALERT_NOT_FOUND", OutOfRange):
        school.alerts(dropped.name)


def test_who_is_removed_is_not_told_of_any_more(school: School, punjab: Node, court: Node) -> None:
    offenders = [fresh_offender() for _ in range(3)]
    names = school.watches(*(offender.person.cnic for offender in offenders))
    school.client.remove_watched_person(names[0])
    entered = [punjab.create(offender).offender for offender in offenders]
    alerts = school.alerts()
    assert sorted(told(alerts)) == sorted((name, ON_REGISTER) for name in names[1:])
    for alert in alerts:
        school.client.remove_watched_person(alert.watched_person.name)
    for offender in entered:
        court.call(court_event(offender, COURT_EVENT_SET_ASIDE))
    assert told(school.alerts(alerts[0].name)) == [], "and the alert is still a place to go on after"
    assert not list(school.client.list_watched_people())


def test_a_list_shows_entries_and_no_numbers(school: School) -> None:
    people = [teacher(fresh_cnic(), f"e-{number}") for number in range(7)]
    names = list(school.client.add_watched_people(people).watched_people)
    listed = list(school.client.list_watched_people(page_size=3))
    assert [(entry.name, entry.consent_reference, entry.reference) for entry in listed] == [
        (name, person.consent_reference, person.reference) for name, person in zip(names, people, strict=True)
    ]


def test_a_retry_gives_the_first_answer_again(school: School) -> None:
    people, request_id = [teacher(fresh_cnic()), teacher(fresh_cnic())], str(uuid4())
    first = school.client.add_watched_people(people, request_id=request_id)
    assert first.added_count == 2
    gone, removal = first.watched_people[0], str(uuid4())
    school.client.remove_watched_person(gone, request_id=removal)
    school.client.remove_watched_person(gone, request_id=removal)
    assert school.client.add_watched_people(people, request_id=request_id) == first
    assert [person.name for person in school.client.list_watched_people()] == [first.watched_people[1]]
    for another in (people[:1], []):
        with refused("REQUEST_ID_REUSED" if another else "INVALID_FIELD"):
            school.client.add_watched_people(another, request_id=request_id)
    with refused("REQUEST_ID_REUSED"):
        school.client.remove_watched_person(first.watched_people[1], request_id=removal)


def test_a_roster_can_be_sent_again(school: School) -> None:
    cnics = [fresh_cnic() for _ in range(3)]
    names = school.watches(*cnics[:2])
    renewed = [teacher(cnic, "new") for cnic in cnics]
    again = school.client.add_watched_people(renewed)
    assert list(again.watched_people[:2]) == names
    assert again.added_count == 1
    assert {person.reference for person in school.client.list_watched_people()} == {"new"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cnic", ""),
        ("cnic", "91234-1234567"),
        ("cnic", "twice"),
        ("consent_reference", ""),
        ("consent_reference", "Ahmed Khan"),
        ("consent_reference", "91234-1234567-1"),
        ("consent_reference", "x" * 65),
        ("reference", "احمد"),
        ("reference", "9123412345671"),
    ],
)
def test_of_people_who_cannot_be_watched_all_are_refused(school: School, field: str, value: str) -> None:
    people = [teacher(fresh_cnic()), teacher(fresh_cnic())]
    setattr(people[1], field, people[0].cnic if value == "twice" else value)
    with refused("INVALID_FIELD", InvalidRequest) as info:
        school.client.add_watched_people(people)
    assert [violation.field for violation in info.value.field_violations] == [f"people[1].{field}"]
    assert not value or value not in str(info.value)
    assert not list(school.client.list_watched_people())


SOME_ID = "019a9e4f-0000-7000-8000-000000000001"


@pytest.mark.parametrize("after", ["garbage", f"alerts/{SOME_ID}x", f"watchedPeople/{SOME_ID}"])
def test_what_is_no_alert_is_refused(school: School, after: str) -> None:
    with refused("INVALID_FIELD", InvalidRequest):
        school.alerts(after)


def test_an_alert_that_the_hub_does_not_have_is_refused(school: School) -> None:
    with refused("ALERT_NOT_FOUND", OutOfRange):
        school.alerts(f"alerts/{uuid4()}")


def test_a_list_holds_so_many(hub: RunningHub, school: School) -> None:
    [name] = school.watches(fresh_cnic())
    hub.sql(
        """INSERT INTO watched_person (id, node_id, cnic_index, consent_reference, reference, due, created_at)
           SELECT gen_random_uuid(), %s, sha256(n::text::bytea), 'form', '', false, now()
           FROM generate_series(2, 100000) AS n""",
        school.id,
    )
    with refused("WATCH_LIST_FULL") as info:
        school.watches(fresh_cnic())
    assert info.value.metadata == {"limit": "100000"}
    school.client.remove_watched_person(name)
    school.watches(fresh_cnic())


def test_every_access_is_accounted_for(hub: RunningHub, school: School, punjab: Node) -> None:
    clerk = OfficerContext(officer_id="clerk-7", purpose=PURPOSE_VETTING)
    entered = punjab.create().offender
    people = [teacher(entered.person.cnic), teacher(fresh_cnic())]
    [name, _] = school.client.add_watched_people(people, officer=clerk).watched_people
    [alert] = school.alerts()
    school.client.remove_watched_person(name, officer=clerk)
    [[subject]] = hub.sql(
        "SELECT number_index FROM offender_number WHERE offender_id = %s", entered.name.removeprefix("offenders/")
    )
    entries = hub.sql(
        "SELECT method, officer_id, decision FROM audit_entry WHERE node_id = %s AND subject = %s ORDER BY id",
        *(school.id, subject),
    )
    service = "nsor.lookup.v1.VettingService"
    assert entries == [
        (f"{service}/AddWatchedPeople", "clerk-7", "ALLOWED"),
        (f"{service}/WatchAlerts", None, "ON_REGISTER"),
        (f"{service}/RemoveWatchedPerson", "clerk-7", "ALLOWED"),
    ]
    [[others]] = hub.sql(
        "SELECT count(*) FROM audit_entry WHERE node_id = %s AND method LIKE %s AND subject <> %s",
        *(school.id, "%/AddWatchedPeople", subject),
    )
    assert others == 1, "one for each person"
    assert alert.kind == ON_REGISTER


def test_without_a_trace_no_alert_leaves(hub: RunningHub, school: School, punjab: Node) -> None:
    school.watches(punjab.create().offender.person.cnic)
    [first] = school.alerts()
    # As if the person had not been told of, so that there is an alert without a write that is audited itself.
    hub.sql("UPDATE watched_person SET alert_id = NULL WHERE node_id = %s", school.id)
    with school.channel(hub) as channel, hub.connect() as connection:
        responses = VettingServiceStub(channel).WatchAlerts(WatchAlertsRequest(after=first.name), timeout=60)
        next(responses)
        connection.execute("LOCK TABLE audit_entry IN EXCLUSIVE MODE")
        hub.sql("UPDATE watched_person SET due = true WHERE node_id = %s", school.id)
        assert refusal_of(lambda: [list(response.alerts) for response in responses]).reason == "DATABASE_UNAVAILABLE"
    assert len(school.alerts(first.name)) == 1


def test_numbers_that_are_tried_out_by_watching_them_are_noticed(hub: RunningHub, school: School) -> None:
    base = fresh_cnic().replace("-", "")
    near = [NewWatchedPerson(cnic=f"{base[:10]}{last:03}", consent_reference="f") for last in range(30)]
    school.client.add_watched_people(near)
    assert hub.sql("SELECT kind FROM lookup_alarm WHERE node_id = %s", school.id) == [("NEAR_NUMBERS",)]
