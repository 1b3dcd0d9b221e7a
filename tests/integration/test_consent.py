"""Checks by the consent of the person: by a passcode that NADRA brings, once, and nothing is told without it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby, islice
from typing import Any
from uuid import uuid4

import pytest

from hub.store.database import PostgresDatabase
from hub.store.keys import keys_in_use
from hub.store.vault import Keyring, Vault
from nsor.common.v1.access_pb2 import ROLE_PUBLIC_GATEWAY, ROLE_VETTING_AGENCY
from nsor.lookup.v1.consent_pb2 import PASSCODE_DELIVERY_NO_PHONE, PASSCODE_DELIVERY_SENT, GivenConsent, Passcode
from nsor.lookup.v1.consent_service_pb2 import RequestConsentRequest
from nsor.lookup.v1.disclosure_pb2 import (
    CHANNEL_SINGLE,
    DISCLOSURE_MODE_CONSENTED,
    DISCLOSURE_MODE_HIT_WITH_NAME,
    DisclosureRule,
)
from nsor.lookup.v1.lookup_service_pb2 import (
    CANNOT_ANSWER_REASON_CONSENT_NEEDED,
    OUTCOME_CANNOT_ANSWER,
    OUTCOME_HIT,
    OUTCOME_INVALID_CNIC,
    OUTCOME_NO_RECORD,
    CheckCnicRequest,
    CheckCnicResponse,
)
from nsor.registry.v1.registry_service_pb2 import CreateOffenderResponse
from nsor_client import AlreadyExists, Client, FailedPrecondition, InvalidRequest, ResourceExhausted
from tests.support.consents import given, mistyped, passcodes
from tests.support.contract import METHODS, OVERSIGHT, Refusal, at_once, node, path, refusal_of
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic
from tests.support.vetting import School
from tests.support.waiting import eventually

LINES = range(8)  # so many that both workers of the hub are asked
AGENCY = "sed-punjab"
OF_NODE = 100


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that answers agencies by consent only, and gateways without."""
    environment = {"NSOR_NODE_CONSENTS_PER_HOUR": str(OF_NODE)}
    with RunningHub(tmp_path_factory.mktemp("consent") / "state", environment=environment) as running:
        with running.client("npb") as npb:
            policy = npb.get_disclosure_policy()
            del policy.rules[:]
            for role, mode in (
                (ROLE_VETTING_AGENCY, DISCLOSURE_MODE_CONSENTED),
                (ROLE_PUBLIC_GATEWAY, DISCLOSURE_MODE_HIT_WITH_NAME),
            ):
                policy.rules.append(DisclosureRule(role=role, channel=CHANNEL_SINGLE, mode=mode))
            npb.update_disclosure_policy(policy, OVERSIGHT)
        # In force everywhere within a second, says the contract.
        eventually(lambda: running.sql("SELECT max(updated_at) < now() - interval '1 s' FROM disclosure_policy")[0][0])
        yield running


@pytest.fixture(scope="module")
def convict(hub: RunningHub) -> CreateOffenderResponse:
    return node(hub, "punjab-police").create()


@pytest.fixture
def agency(hub: RunningHub) -> Iterator[Client]:
    with hub.client(AGENCY) as agency:
        yield agency


@pytest.fixture
def nadra(hub: RunningHub) -> Iterator[Client]:
    with hub.client("nadra") as nadra:
        yield nadra


def told(answer: CheckCnicResponse) -> tuple[int, int]:
    return answer.outcome, answer.cannot_answer_reason


def asked(agency: Client, nadra: Client, cnic: str) -> Passcode:
    """The passcode that a person gets when an agency asks for their consent."""
    name = agency.request_consent(cnic).name
    return passcodes(nadra)[name]


def check(hub: RunningHub, cnic: str, consent: GivenConsent, *, line: int = 0, name: str = AGENCY) -> CheckCnicResponse:
    """The answer to a check with a consent; asked once, whatever comes."""
    return node(hub, name, line).call(CheckCnicRequest(cnic=cnic, consent=consent))


def refused(hub: RunningHub, cnic: str, consent: GivenConsent, *, line: int = 0, name: str = AGENCY) -> Refusal:
    return node(hub, name, line).refused(CheckCnicRequest(cnic=cnic, consent=consent))


def test_without_consent_nobody_can_tell_a_convict_from_others(
    hub: RunningHub, agency: Client, convict: CreateOffenderResponse
) -> None:
    hit = agency.check_cnic(convict.offender.person.cnic, at_least_revision=convict.revision)
    miss = agency.check_cnic(fresh_cnic())
    assert told(hit) == (OUTCOME_CANNOT_ANSWER, CANNOT_ANSWER_REASON_CONSENT_NEEDED)
    hit.masked_cnic = miss.masked_cnic = ""
    assert hit == miss
    assert agency.check_cnic("no number").outcome == OUTCOME_INVALID_CNIC
    for name in ("punjab-police", "sms-7000"):
        answer = node(hub, name).check(convict.offender.person.cnic, convict.revision)
        assert answer.outcome == OUTCOME_HIT, "others are told as before"


def test_who_agrees_is_checked_once(agency: Client, nadra: Client, convict: CreateOffenderResponse) -> None:
    person = convict.offender.person
    for cnic, outcome, name in ((person.cnic, OUTCOME_HIT, person.full_name), (fresh_cnic(), OUTCOME_NO_RECORD, "")):
        passcode = asked(agency, nadra, cnic)
        assert (passcode.cnic, passcode.requester) == (cnic, f"nodes/{AGENCY}")
        answer = agency.check_cnic(cnic, consent=given(passcode), at_least_revision=convict.revision)
        assert (answer.outcome, answer.person.full_name) == (outcome, name)


def test_a_consent_that_is_no_good_does_not_say_why(hub: RunningHub, agency: Client, nadra: Client) -> None:
    other = School(hub)
    cnic, spent, expired, ended = (fresh_cnic() for _ in range(4))
    passcode = asked(agency, nadra, cnic)
    check(hub, spent, used := given(asked(agency, nadra, spent)))
    late, tried = asked(agency, nadra, expired), asked(agency, nadra, ended)
    hub.sql("UPDATE consent SET expires_at = now() WHERE id = %s", late.consent.partition("/")[2])
    for _ in range(3):
        refused(hub, ended, mistyped(tried))
    unknown = GivenConsent(name=f"consents/{uuid4()}", passcode=passcode.passcode)
    refusals = [
        refused(hub, spent, used, line=1),
        refused(hub, expired, given(late)),
        refused(hub, ended, given(tried), line=2),
        refused(hub, cnic, unknown),
        refused(hub, fresh_cnic(), given(passcode)),
        refused(hub, fresh_cnic(), mistyped(passcode)),
    ]
    with other.channel(hub) as channel:
        of_other = CheckCnicRequest(cnic=cnic, consent=given(passcode)).SerializeToString()
        refusals.append(refusal_of(lambda: channel.unary_unary(path(METHODS["CheckCnic"]))(of_other)))
    other.client.close()
    assert {refusal.text for refusal in refusals} == {refusals[0].text}
    assert refusals[0].reason == "CONSENT_NOT_VALID"
    assert refusals[0].metadata == {}
    assert check(hub, cnic, given(passcode)).outcome == OUTCOME_NO_RECORD, "none of that cost a try"


def test_a_wrong_passcode_tells_the_tries_that_are_left(hub: RunningHub, agency: Client, nadra: Client) -> None:
    cnic = fresh_cnic()
    passcode = asked(agency, nadra, cnic)
    refusals = [refused(hub, cnic, mistyped(passcode), line=line) for line in range(2)]
    assert {refusal.reason for refusal in refusals} == {"CONSENT_PASSCODE_WRONG"}
    assert [refusal.metadata for refusal in refusals] == [{"tries_left": "2"}, {"tries_left": "1"}]
    assert check(hub, "no number", given(passcode)).outcome == OUTCOME_INVALID_CNIC
    assert check(hub, cnic, given(passcode)).outcome == OUTCOME_NO_RECORD, "what told nothing left it as it was"


def test_of_checks_at_once_with_one_passcode_one_is_answered(hub: RunningHub, agency: Client, nadra: Client) -> None:
    for _ in range(3):
        cnic = fresh_cnic()
        consent = given(asked(agency, nadra, cnic))
        assert outcomes(hub, cnic, consent) == {"answered": 1, "CONSENT_NOT_VALID": len(LINES) - 1}


def test_tries_at_once_are_no_more_than_one_after_another(hub: RunningHub, agency: Client, nadra: Client) -> None:
    for _ in range(3):
        cnic = fresh_cnic()
        consent = mistyped(asked(agency, nadra, cnic))
        tries = {f"CONSENT_PASSCODE_WRONG {left}": 1 for left in range(3)}
        assert outcomes(hub, cnic, consent) == {**tries, "CONSENT_NOT_VALID": len(LINES) - 3}


def outcomes(hub: RunningHub, cnic: str, consent: GivenConsent) -> Counter[str]:
    """What becomes of checks over all lines at once."""

    def outcome(result: Any) -> str:
        if isinstance(result, Refusal):
            return " ".join((result.reason, *result.metadata.values()))
        return "answered"

    return Counter(outcome(each) for each in at_once(len(LINES), lambda line: check(hub, cnic, consent, line=line)))


def test_everything_is_accounted_for(hub: RunningHub, agency: Client, nadra: Client) -> None:
    [[before]] = hub.sql("SELECT max(id) FROM audit_entry")
    cnic = fresh_cnic()
    name = agency.request_consent(cnic).name
    passcode = passcodes(nadra)[name]
    nadra.acknowledge_passcode(name, PASSCODE_DELIVERY_NO_PHONE)
    agency.check_cnic(cnic)
    refused(hub, cnic, mistyped(passcode))
    check(hub, cnic, given(passcode))
    refused(hub, cnic, given(passcode))
    entries = hub.sql(
        """SELECT node_id, split_part(method, '/', 2), decision FROM audit_entry
        WHERE id > %s AND subject = (SELECT cnic_index FROM consent WHERE id = %s) ORDER BY id""",
        *(before, name.partition("/")[2]),
    )
    # A watch of another test may not have ended yet, and be given the passcode as well.
    assert [entry for entry, _ in groupby(entries)] == [
        (AGENCY, "RequestConsent", "ALLOWED"),
        ("nadra", "WatchPasscodes", "ALLOWED"),
        ("nadra", "AcknowledgePasscode", "NO_PHONE"),
        (AGENCY, "CheckCnic", "CANNOT_ANSWER"),
        (AGENCY, "CheckCnic", "CONSENT_PASSCODE_WRONG"),
        (AGENCY, "CheckCnic", "NO_RECORD"),
        (AGENCY, "CheckCnic", "CONSENT_NOT_VALID"),
    ]


def test_a_consent_is_spent_with_the_trace_of_the_answer_or_not_at_all(
    hub: RunningHub, agency: Client, nadra: Client
) -> None:
    cnic = fresh_cnic()
    passcode = asked(agency, nadra, cnic)
    hub.sql("ALTER TABLE audit_entry ADD CONSTRAINT broken CHECK (false) NOT VALID")
    try:
        for consent in (given(passcode), mistyped(passcode)):
            assert refused(hub, cnic, consent).reason == "INTERNAL"
    finally:
        hub.sql("ALTER TABLE audit_entry DROP CONSTRAINT broken")
    assert check(hub, cnic, given(passcode)).outcome == OUTCOME_NO_RECORD


def test_passcodes_come_to_nadra_until_it_says_what_became_of_them(
    hub: RunningHub, agency: Client, nadra: Client
) -> None:
    with closing(nadra.watch_passcodes()) as responses:
        next(responses)
        names = [agency.request_consent(fresh_cnic()).name for _ in range(3)]
        came = (passcode.consent for response in responses for passcode in response.passcodes)
        assert list(islice(came, 3)) == names, "as they are asked for"
    assert passcodes(nadra).keys() >= set(names), "again, since nobody said that they were sent"
    for _ in range(2):
        nadra.acknowledge_passcode(names[0], PASSCODE_DELIVERY_SENT)
    hub.sql("UPDATE consent SET expires_at = now() WHERE id = %s", names[1].partition("/")[2])
    assert passcodes(nadra).keys() & set(names) == {names[2]}
    nadra.acknowledge_passcode(f"consents/{uuid4()}", PASSCODE_DELIVERY_SENT)


def test_what_is_no_more_needed_is_erased(hub: RunningHub, agency: Client, nadra: Client) -> None:
    names = [agency.request_consent(fresh_cnic()).name for _ in range(3)]
    brought, expired, old = (name.partition("/")[2] for name in names)

    def kept(*ids: str) -> list[tuple[Any, ...]]:
        return hub.sql("SELECT id::text FROM consent WHERE id::text = ANY(%s) AND delivery IS NOT NULL", list(ids))

    nadra.acknowledge_passcode(names[0], PASSCODE_DELIVERY_SENT)
    assert kept(brought) == []
    assert kept(expired) == [(expired,)]
    hub.sql("UPDATE consent SET expires_at = now() WHERE id = %s", expired)
    hub.sql("UPDATE consent SET created_at = created_at - interval '1 hour' WHERE id = %s", old)
    eventually(lambda: not kept(expired))
    eventually(lambda: not hub.sql("SELECT FROM consent WHERE id = %s", old))


def test_passcodes_that_cannot_be_opened_keep_nobody_elses_back(hub: RunningHub, agency: Client, nadra: Client) -> None:
    moved = agency.request_consent(fresh_cnic()).name.partition("/")[2]
    # More than a page of them: what is sealed for one row is opened in no other.
    hub.sql(
        """INSERT INTO consent OVERRIDING USER VALUE SELECT (json_populate_record(consent, json_build_object(
            'id', gen_random_uuid(), 'node_id', 'nadra', 'request_id', gen_random_uuid()))).*
        FROM consent, generate_series(1, 250) WHERE id = %s""",
        moved,
    )
    other = agency.request_consent(fresh_cnic()).name
    with closing(nadra.watch_passcodes()) as responses:
        assert other in {each.consent for response in islice(responses, 3) for each in response.passcodes}
    told = [line.partition("sealed data at consent|")[2] for line in hub.log().splitlines() if "be opened" in line]
    assert len(set(told)) >= 250
    assert len(told) <= 2 * len(set(told)), "once by each worker"
    hub.sql("DELETE FROM consent WHERE node_id = 'nadra'")


async def test_the_key_under_which_a_passcode_waits_is_in_use(hub: RunningHub, agency: Client, nadra: Client) -> None:
    """Or the operator would be let remove it."""
    name, ring = agency.request_consent(fresh_cnic()).name, Keyring.generate()
    hub.sql(r"UPDATE consent SET delivery = '\x00ff' || delivery WHERE id = %s", name.partition("/")[2])
    database = PostgresDatabase(hub.dsn, Vault(lambda: ring))
    assert (await keys_in_use(database))[255] == 1
    nadra.acknowledge_passcode(name, PASSCODE_DELIVERY_SENT)
    assert 255 not in await keys_in_use(database)
    await database.close()


def test_a_retry_asks_nobody_twice(agency: Client, nadra: Client) -> None:
    cnic, request_id = fresh_cnic(), str(uuid4())
    first = agency.request_consent(cnic, request_id=request_id)
    assert agency.request_consent(cnic, request_id=request_id) == first
    assert [passcode.cnic for passcode in passcodes(nadra).values()].count(cnic) == 1
    with pytest.raises(AlreadyExists):
        agency.request_consent(fresh_cnic(), request_id=request_id)


def test_a_person_is_asked_three_times_an_hour_by_whomever(hub: RunningHub, agency: Client) -> None:
    cnic, other = fresh_cnic(), School(hub)
    with other.client:
        for client in (agency, other.client, agency):
            client.request_consent(cnic)
        with pytest.raises(ResourceExhausted) as refusal:
            other.client.request_consent(cnic)
        assert refusal.value.metadata == {"limit": "person_consents"}
        assert 3500 < (refusal.value.retry_after or 0) <= 3600
        hub.sql("UPDATE consent SET created_at = created_at - interval '1 hour'")
        other.client.request_consent(cnic)


def test_requests_at_once_do_not_exceed_the_limit(hub: RunningHub) -> None:
    cnic = fresh_cnic()
    requests = at_once(
        len(LINES),
        lambda line: node(hub, AGENCY, line).call(RequestConsentRequest(cnic=cnic, request_id=str(uuid4()))),
    )
    assert sum(isinstance(each, Refusal) for each in requests) == len(LINES) - 3


def test_a_node_asks_so_many_people_an_hour(hub: RunningHub) -> None:
    school = School(hub)
    with school.client:
        for _ in range(2):
            school.client.request_consent(fresh_cnic())
        # As if it had asked all but one of so many.
        hub.sql(
            """INSERT INTO consent (id, node_id, request_id, digest, cnic_index, passcode_hash, tries_left, created_at,
                   expires_at)
            SELECT gen_random_uuid(), node_id, gen_random_uuid(), '', '', '', 0, created_at, expires_at
            FROM (SELECT * FROM consent WHERE node_id = %s LIMIT 1) AS one, generate_series(1, %s)""",
            *(school.id, OF_NODE - 3),
        )
        school.client.request_consent(fresh_cnic())
        with pytest.raises(ResourceExhausted) as refusal:
            school.client.request_consent(fresh_cnic())
    assert refusal.value.metadata == {"limit": "node_consents"}


def test_nobody_is_bothered_where_no_consent_is_needed(hub: RunningHub) -> None:
    with hub.client("sms-7000") as gateway, pytest.raises(FailedPrecondition) as refusal:
        gateway.request_consent(fresh_cnic())
    assert refusal.value.reason_name == "ERROR_REASON_CONSENT_NOT_NEEDED"


def test_a_request_without_a_number_is_refused(agency: Client) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        agency.request_consent("91234")
    assert [violation.field for violation in refusal.value.field_violations] == ["cnic"]


@pytest.mark.slow
def test_a_consent_survives_a_restart_of_the_hub(hub: RunningHub, agency: Client, nadra: Client) -> None:
    cnic = fresh_cnic()
    name = agency.request_consent(cnic).name
    hub.stop()
    hub.start()
    passcode = eventually(lambda: passcodes(nadra).get(name))
    # A worker that has just begun may not have heard of the register yet; then the consent stays as it was.
    eventually(lambda: agency.check_cnic(cnic, consent=given(passcode)).outcome == OUTCOME_NO_RECORD)
