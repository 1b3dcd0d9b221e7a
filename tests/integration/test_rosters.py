"""CheckCnics: what CheckCnic answers, for many at once, each accounted for."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from queue import SimpleQueue

import pytest

from nsor.common.v1.officer_pb2 import OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import (
    OUTCOME_HIT,
    OUTCOME_INVALID_CNIC,
    OUTCOME_NO_RECORD,
    CheckCnicsRequest,
    CheckCnicsResponse,
)
from nsor.registry.v1.registry_service_pb2 import CreateOffenderResponse
from nsor_client import Client
from tests.support.contract import INVESTIGATION, METHODS, Node, path, refusal_of
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic

pytest_plugins = ["tests.support.nodes"]


@pytest.fixture(scope="module")
def agency_client(hub: RunningHub) -> Iterator[Client]:
    """An agency that vets the people it employs."""
    with hub.client("sed-punjab") as client:
        yield client


@pytest.fixture(scope="module")
def known(punjab: Node) -> CreateOffenderResponse:
    """A convict."""
    return punjab.create()


def responses(hub: RunningHub, name: str, requests: Iterable[CheckCnicsRequest]) -> Iterator[CheckCnicsResponse]:
    """The responses of a stream, as a node of the hub gets them."""
    with hub.channel(name) as channel:
        yield from channel.stream_stream(
            path(METHODS["CheckCnics"]), CheckCnicsRequest.SerializeToString, CheckCnicsResponse.FromString
        )(iter(requests), timeout=60)


def last_entry(hub: RunningHub) -> int:
    """Id of the newest audit entry."""
    [[last]] = hub.sql("SELECT coalesce(max(id), 0) FROM audit_entry")
    return last


def test_each_number_gets_what_a_single_check_gives_in_order_and_one_audit_entry(
    hub: RunningHub, agency_client: Client, known: CreateOffenderResponse
) -> None:
    cnic, revision = known.offender.person.cnic, known.revision
    texts = [fresh_cnic() for _ in range(2500)]
    texts[7], texts[1003], texts[1500], texts[2499] = cnic, "no number", f"CNIC {cnic.replace('-', '')} please", cnic
    before = last_entry(hub)
    results = list(agency_client.check_many(texts, at_least_revision=revision))
    entries = hub.sql("SELECT subject, decision, method FROM audit_entry WHERE id > %s ORDER BY id", before)
    outcomes = {7: OUTCOME_HIT, 1003: OUTCOME_INVALID_CNIC, 1500: OUTCOME_HIT, 2499: OUTCOME_HIT}
    assert [result.outcome for result in results] == [outcomes.get(n, OUTCOME_NO_RECORD) for n in range(2500)]
    single = agency_client.check_cnic(cnic, at_least_revision=revision)
    for at in (7, 1500, 2499):
        assert (results[at].person, results[at].masked_cnic) == (single.person, single.masked_cnic)
        assert results[at].as_of_time.ToNanoseconds() >= known.offender.update_time.ToNanoseconds()
    assert [decision for _, decision, _ in entries] == [
        {OUTCOME_HIT: "HIT", OUTCOME_NO_RECORD: "NO_RECORD", OUTCOME_INVALID_CNIC: "INVALID_CNIC"}[result.outcome]
        for result in results
    ]
    assert {method for *_, method in entries} == {"nsor.lookup.v1.LookupService/CheckCnics"}
    assert entries[7][0] == entries[1500][0] != entries[8][0]


def test_the_length_of_a_response_hardly_tells_how_many_hits(hub: RunningHub, known: CreateOffenderResponse) -> None:
    hits, misses = [known.offender.person.cnic] * 20, [fresh_cnic() for _ in range(20)]
    requests = [CheckCnicsRequest(cnics=cnics, at_least_revision=known.revision) for cnics in (hits, misses)]
    one, two = responses(hub, "sed-punjab", requests)
    assert (one.summary.hit_count, two.summary.hit_count) == (20, 0)
    assert one.ByteSize() == two.ByteSize() == 16_384


def test_a_message_tells_once_what_its_results_share(hub: RunningHub, known: CreateOffenderResponse) -> None:
    cnics = [known.offender.person.cnic, "no number", fresh_cnic()]
    requests = [CheckCnicsRequest(cnics=cnics, at_least_revision=known.revision), CheckCnicsRequest(cnics=[""])]
    looked_up, not_looked_up = responses(hub, "sed-punjab", requests)
    assert looked_up.as_of_time.ToNanoseconds() >= known.offender.update_time.ToNanoseconds()
    assert looked_up.revision
    assert not any(result.revision or result.HasField("as_of_time") for result in looked_up.results)
    assert not not_looked_up.revision
    assert not not_looked_up.HasField("as_of_time")


def test_a_message_is_summed_up_and_says_who_asked(hub: RunningHub, known: CreateOffenderResponse) -> None:
    requests = [
        CheckCnicsRequest(
            cnics=[known.offender.person.cnic, "", fresh_cnic(), fresh_cnic()],
            officer=INVESTIGATION,
            at_least_revision=known.revision,
        ),
        CheckCnicsRequest(cnics=[known.offender.person.cnic]),
    ]
    before = last_entry(hub)
    first, second = (response.summary for response in responses(hub, "punjab-police", requests))
    assert (first.hit_count, first.no_record_count, first.invalid_cnic_count, first.cannot_answer_count) == (1, 2, 1, 0)
    assert (second.hit_count, second.no_record_count) == (1, 0)
    entries = hub.sql("SELECT officer_id, fir_number FROM audit_entry WHERE id > %s ORDER BY id", before)
    assert entries == [("P-40961", "123/2026")] * 4 + [(None, None)], "each message names its own officer"


def test_the_entries_of_a_message_are_durable_before_its_answer_comes(hub: RunningHub) -> None:
    before = last_entry(hub)
    requests: SimpleQueue[CheckCnicsRequest | None] = SimpleQueue()
    with closing(responses(hub, "sed-punjab", iter(requests.get, None))) as answers:
        for count in (1000, 1, 3):
            requests.put(CheckCnicsRequest(cnics=[fresh_cnic() for _ in range(count)]))
            assert len(next(answers).results) == count
            [[written]] = hub.sql("SELECT count(*) FROM audit_entry WHERE id > %s", before)
            assert written == count
            before += count
        requests.put(None)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (CheckCnicsRequest(), "cnics"),
        (CheckCnicsRequest(cnics=["1"] * 1001), "cnics"),
        (CheckCnicsRequest(cnics=["1", "1" * 2001]), "cnics[1]"),
        (CheckCnicsRequest(cnics=["1"], officer=OfficerContext(officer_id="x")), "officer.purpose"),
    ],
)
def test_a_message_against_the_rules_ends_the_stream_after_the_answers_before(
    hub: RunningHub, request_: CheckCnicsRequest, field: str
) -> None:
    answers = responses(hub, "sed-punjab", [CheckCnicsRequest(cnics=["1"]), request_])
    assert len(next(answers).results) == 1
    before = last_entry(hub)
    refusal = refusal_of(lambda: next(answers))
    assert (refusal.reason, list(refusal.fields)) == ("INVALID_FIELD", [field])
    assert last_entry(hub) == before


@pytest.mark.parametrize(("revision", "reason"), [("garbage", "INVALID_REVISION"), ("lost", "REVISION_EPOCH_CHANGED")])
def test_a_revision_that_the_hub_does_not_have_ends_the_stream(
    hub: RunningHub, known: CreateOffenderResponse, revision: str, reason: str
) -> None:
    token = f"{known.revision.partition('.')[0]}.w999999999" if revision == "lost" else revision
    answers = responses(hub, "sed-punjab", [CheckCnicsRequest(cnics=["1"], at_least_revision=token)])
    assert refusal_of(lambda: next(answers)).reason == reason


def test_who_stops_reading_stops_asking(hub: RunningHub, agency_client: Client) -> None:
    before = last_entry(hub)
    numbers = iter(fresh_cnic, None)
    with closing(agency_client.check_many(numbers, window=2)) as results:
        assert len(list(islice(results, 10))) == 10
    # What was under way when the stream ended; the endless rest never was.
    assert last_entry(hub) - before <= 4000
