"""The disclosure policy: what the public is told, set by NPB, in force everywhere; nothing where it is not known."""

from collections.abc import Iterator
from contextlib import closing
from itertools import dropwhile, islice
from typing import Any
from uuid import uuid4

import pytest

from nsor.common.v1.access_pb2 import ROLE_POLICE, ROLE_PUBLIC_GATEWAY, ROLE_VETTING_AGENCY
from nsor.lookup.v1.disclosure_pb2 import (
    CHANNEL_BATCH,
    CHANNEL_SINGLE,
    DISCLOSURE_MODE_CONSENTED,
    DISCLOSURE_MODE_HIT_ONLY,
    DISCLOSURE_MODE_HIT_WITH_NAME,
    DISCLOSURE_MODE_OFF,
    DisclosurePolicy,
    DisclosureRule,
)
from nsor.lookup.v1.lookup_service_pb2 import (
    CANNOT_ANSWER_REASON_DISCLOSURE_OFF,
    CANNOT_ANSWER_REASON_POLICY_UNKNOWN,
    OUTCOME_CANNOT_ANSWER,
    OUTCOME_HIT,
    OUTCOME_INVALID_CNIC,
    OUTCOME_NO_RECORD,
    CheckCnicResponse,
    GetDisclosurePolicyRequest,
    UpdateDisclosurePolicyRequest,
)
from nsor.registry.v1.offender_pb2 import FINALITY_UNDER_APPEAL
from nsor.registry.v1.registry_service_pb2 import CreateOffenderResponse
from tests.support.contract import OVERSIGHT, Node, at_once, node
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender
from tests.support.vetting import School
from tests.support.waiting import eventually

LINES = range(6)  # so many that both workers of the hub are asked


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub whose policy the tests change."""
    with RunningHub(tmp_path_factory.mktemp("disclosure") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def npb(hub: RunningHub) -> Node:
    return node(hub, "npb")


@pytest.fixture(scope="module")
def known(hub: RunningHub) -> CreateOffenderResponse:
    """A convict."""
    return node(hub, "punjab-police").create()


def policy(npb: Node) -> DisclosurePolicy:
    return npb.call(GetDisclosurePolicyRequest()).policy


def request(current: DisclosurePolicy, *rules: tuple[Any, Any, Any], under_appeal: bool = False) -> Any:
    """A request to replace a policy by one with these rules."""
    new = DisclosurePolicy(etag=current.etag, disclose_under_appeal=under_appeal)
    new.rules.extend(DisclosureRule(role=role, channel=channel, mode=mode) for role, channel, mode in rules)
    return UpdateDisclosurePolicyRequest(policy=new, officer=OVERSIGHT, request_id=str(uuid4()))


def everything(mode: Any) -> list[tuple[Any, Any, Any]]:
    """Rules that give all of the public the same."""
    roles, channels = (ROLE_VETTING_AGENCY, ROLE_PUBLIC_GATEWAY), (CHANNEL_SINGLE, CHANNEL_BATCH)
    return [(role, channel, mode) for role in roles for channel in channels]


def answers(hub: RunningHub, name: str, written: CreateOffenderResponse) -> list[CheckCnicResponse]:
    """What a node is told of a convict over several lines."""
    cnic, revision = written.offender.person.cnic, written.revision
    return [node(hub, name, line).check(cnic, revision) for line in LINES]


def told(hub: RunningHub, name: str, written: CreateOffenderResponse) -> set[tuple[int, int, bool]]:
    """Outcome, reason and whether the person is named, of these answers."""
    return {
        (answer.outcome, answer.cannot_answer_reason, answer.HasField("person"))
        for answer in answers(hub, name, written)
    }


NAMED = (OUTCOME_HIT, 0, True)
UNNAMED = (OUTCOME_HIT, 0, False)
OFF = (OUTCOME_CANNOT_ANSWER, CANNOT_ANSWER_REASON_DISCLOSURE_OFF, False)


@pytest.fixture
def reset(npb: Node) -> Iterator[None]:
    """Afterwards, the policy that a register begins with."""
    yield
    npb.call(request(policy(npb), *everything(DISCLOSURE_MODE_HIT_WITH_NAME)))


def test_a_register_begins_with_a_policy_that_names_the_person(
    hub: RunningHub, npb: Node, known: CreateOffenderResponse
) -> None:
    first = policy(npb)
    assert sorted((rule.role, rule.channel, rule.mode) for rule in first.rules) == sorted(
        everything(DISCLOSURE_MODE_HIT_WITH_NAME)
    )
    assert (first.disclose_under_appeal, first.updater) == (False, "")
    for name in ("sms-7000", "sed-punjab"):
        assert told(hub, name, known) == {NAMED}


@pytest.mark.usefixtures("reset")
def test_a_change_is_in_force_in_every_worker_for_the_role_that_it_names(
    hub: RunningHub, npb: Node, known: CreateOffenderResponse
) -> None:
    rules = {rule[:2]: rule[2] for rule in everything(DISCLOSURE_MODE_HIT_WITH_NAME)}
    for mode, expected in ((DISCLOSURE_MODE_OFF, OFF), (DISCLOSURE_MODE_HIT_ONLY, UNNAMED)):
        rules[ROLE_PUBLIC_GATEWAY, CHANNEL_SINGLE] = mode
        updated = npb.call(request(policy(npb), *((*key, value) for key, value in rules.items()))).policy
        assert updated == policy(npb)
        assert updated.updater == "nodes/npb"
        eventually(lambda expected=expected: told(hub, "sms-7000", known) == {expected})
        for name in ("sed-punjab", "punjab-police", "npb"):
            assert told(hub, name, known) == {NAMED}


@pytest.mark.usefixtures("reset")
def test_where_it_is_off_nobody_can_tell_a_convict_from_others(
    hub: RunningHub, npb: Node, known: CreateOffenderResponse
) -> None:
    npb.call(request(policy(npb), *everything(DISCLOSURE_MODE_OFF)))
    eventually(lambda: told(hub, "sms-7000", known) == {OFF})
    hit, miss = answers(hub, "sms-7000", known)[0], node(hub, "sms-7000").check(fresh_cnic())
    hit.masked_cnic = miss.masked_cnic = ""
    assert hit == miss
    assert node(hub, "sms-7000").check("no number").outcome == OUTCOME_INVALID_CNIC
    assert told(hub, "punjab-police", known) == {NAMED}, "those who enforce the law are told"


@pytest.mark.usefixtures("reset")
def test_what_has_no_rule_is_off(hub: RunningHub, npb: Node, known: CreateOffenderResponse) -> None:
    npb.call(request(policy(npb), (ROLE_VETTING_AGENCY, CHANNEL_SINGLE, DISCLOSURE_MODE_HIT_ONLY)))
    eventually(lambda: told(hub, "sms-7000", known) == {OFF})
    eventually(lambda: told(hub, "sed-punjab", known) == {UNNAMED})
    with hub.client("sed-punjab") as client:
        [by_roster] = client.check_many([known.offender.person.cnic], at_least_revision=known.revision)
    assert (by_roster.outcome, by_roster.cannot_answer_reason, by_roster.HasField("person")) == OFF


@pytest.mark.usefixtures("reset")
def test_convictions_under_appeal_are_disclosed_where_the_policy_says_so(hub: RunningHub, npb: Node) -> None:
    offender = fresh_offender()
    offender.convictions[0].finality = FINALITY_UNDER_APPEAL
    written = node(hub, "punjab-police").create(offender)
    named = everything(DISCLOSURE_MODE_HIT_WITH_NAME)
    for under_appeal, outcome in ((True, OUTCOME_HIT), (False, OUTCOME_NO_RECORD)):
        npb.call(request(policy(npb), *named, under_appeal=under_appeal))
        eventually(lambda outcome=outcome: {a.outcome for a in answers(hub, "sed-punjab", written)} == {outcome})


@pytest.mark.usefixtures("reset")
def test_a_policy_is_replaced_once_and_only_by_who_read_it(hub: RunningHub, npb: Node) -> None:
    first = request(policy(npb), *everything(DISCLOSURE_MODE_HIT_ONLY))
    [[before]] = hub.sql("SELECT max(id) FROM audit_entry")
    updated = npb.call(first)
    assert npb.call(first) == updated, "a retry gives the first answer again"
    entries = hub.sql("SELECT node_id, officer_id, subject, decision FROM audit_entry WHERE id > %s", before)
    name = f"disclosurePolicy/{updated.policy.etag}".encode()
    assert entries == [("npb", OVERSIGHT.officer_id, name, "ALLOWED")]
    again = request(first.policy, *everything(DISCLOSURE_MODE_OFF))
    assert npb.refused(again).reason == "ETAG_MISMATCH"
    again.request_id = first.request_id
    assert npb.refused(again).reason == "REQUEST_ID_REUSED"
    assert policy(npb) == updated.policy


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ([(ROLE_POLICE, CHANNEL_SINGLE, DISCLOSURE_MODE_OFF)], "policy.rules[0].role"),
        ([(ROLE_VETTING_AGENCY, 0, DISCLOSURE_MODE_OFF)], "policy.rules[0].channel"),
        ([(ROLE_VETTING_AGENCY, CHANNEL_SINGLE, 9)], "policy.rules[0].mode"),
        ([(ROLE_VETTING_AGENCY, CHANNEL_BATCH, DISCLOSURE_MODE_CONSENTED)], "policy.rules[0]"),
        ([(ROLE_VETTING_AGENCY, CHANNEL_SINGLE, DISCLOSURE_MODE_OFF)] * 2, "policy.rules[1]"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(npb: Node, rules: list[Any], field: str) -> None:
    assert list(npb.refused(request(policy(npb), *rules)).fields) == [field]


def test_an_officer_of_npb_stands_for_a_change(npb: Node) -> None:
    nameless = request(policy(npb), *everything(DISCLOSURE_MODE_OFF))
    nameless.ClearField("officer")
    assert list(npb.refused(nameless).fields) == ["officer"]


def test_while_the_policy_cannot_be_known_the_public_gets_no_answer(
    hub: RunningHub, known: CreateOffenderResponse
) -> None:
    unknown = (OUTCOME_CANNOT_ANSWER, CANNOT_ANSWER_REASON_POLICY_UNKNOWN, False)
    with hub.connect() as connection:
        connection.execute("LOCK TABLE disclosure_policy IN ACCESS EXCLUSIVE MODE")
        # Each answer waits until the hub gives up to read it, so all lines are asked at once.
        cnic, revision = known.offender.person.cnic, known.revision
        eventually(
            lambda: (
                {
                    (answer.outcome, answer.cannot_answer_reason, answer.HasField("person"))
                    for answer in at_once(6, lambda line: node(hub, "sms-7000", line).check(cnic, revision))
                }
                == {unknown}
            )
        )
        assert told(hub, "punjab-police", known) == {NAMED}
    eventually(lambda: told(hub, "sms-7000", known) == {NAMED})


@pytest.mark.usefixtures("reset")
def test_a_watch_list_is_told_what_the_policy_says(hub: RunningHub, npb: Node, known: CreateOffenderResponse) -> None:
    school = School(hub)
    with school.client:
        npb.call(request(policy(npb), (ROLE_VETTING_AGENCY, CHANNEL_SINGLE, DISCLOSURE_MODE_HIT_WITH_NAME)))
        eventually(lambda: told(hub, "sms-7000", known) == {OFF})
        [name] = school.watches(known.offender.person.cnic)
        with closing(school.client.watch_alerts()) as responses:
            # A worker hears of the policy within a second, and says so by bookmarks without a time.
            silent = list(islice(dropwhile(lambda response: response.HasField("as_of_time"), responses), 2))
            assert not any(response.alerts or response.HasField("as_of_time") for response in silent)
            npb.call(request(policy(npb), *everything(DISCLOSURE_MODE_HIT_ONLY)))
            [alert] = next(response.alerts for response in responses if response.alerts)
        assert alert.watched_person.name == name
        assert not alert.HasField("person")
        npb.call(request(policy(npb), *everything(DISCLOSURE_MODE_HIT_WITH_NAME)))
        eventually(lambda: school.alerts()[0].person.full_name == known.offender.person.full_name)
        assert school.alerts(alert.name) == [], "another policy is no news of a person"


@pytest.mark.usefixtures("reset")
def test_a_watch_list_is_told_of_an_appeal_when_the_policy_is_changed(hub: RunningHub, npb: Node) -> None:
    offender = fresh_offender()
    offender.convictions[0].finality = FINALITY_UNDER_APPEAL
    node(hub, "punjab-police").create(offender)
    school = School(hub)
    with school.client:
        [name] = school.watches(offender.person.cnic)
        assert school.alerts() == []
        npb.call(request(policy(npb), *everything(DISCLOSURE_MODE_HIT_WITH_NAME), under_appeal=True))
        [alert] = eventually(school.alerts)
        assert (alert.watched_person.name, alert.person.full_name) == (name, offender.person.full_name)
        npb.call(request(policy(npb), *everything(DISCLOSURE_MODE_HIT_WITH_NAME)))
        eventually(lambda: not school.alerts()[0].HasField("person"))
        assert [again.name for again in school.alerts()] == [alert.name], "what was told was told"
