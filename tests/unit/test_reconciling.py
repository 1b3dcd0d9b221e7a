"""Both sides of a comparison of registers, the hub's and the SDK's, against what sets say."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.people import cnic
from hub.domain.cnic import Cnic
from hub.domain.reconciliation import RangeDigests, keyed
from nsor.federation.v1.federation_service_pb2 import (
    RECONCILE_SCOPE_ALL,
    RangeDifference,
    ReconcileBegin,
    ReconcileRequest,
    ReconcileResponse,
)
from nsor_client.errors import Unavailable
from nsor_client.reconciling import Comparison, Reconciliation

KEY = bytes(range(32))


def compare(hub: set[int], node: set[int]) -> tuple[Reconciliation, int]:
    """What a node finds that has these people, and how many octets travelled for it."""
    digests = RangeDigests(keyed(KEY, Cnic.parse(cnic(person)), UUID(int=person)) for person in hub)
    comparison = Comparison([cnic(person) for person in node], everything=True, at_least_revision="")
    begin = comparison.request()
    assert begin == ReconcileRequest(begin=ReconcileBegin(scope=RECONCILE_SCOPE_ALL))
    comparison.take(ReconcileResponse(key=KEY, revision="e.s7"))
    octets = 0
    while (request := comparison.request()) and request.HasField("ranges"):
        response = ReconcileResponse()
        for difference in digests.compare((each.prefix, each.digest) for each in request.ranges.ranges):
            message = RangeDifference(prefix=difference.prefix, too_many=difference.records is None)
            for hash, id in difference.records or ():
                message.records.add(hash=hash, name=f"offenders/{id}")
            response.differences.append(message)
        octets += request.ByteSize() + response.ByteSize()
        comparison.take(response)
    found = comparison.result()
    assert request
    assert request.found.records == len(node)
    assert (request.found.only_at_hub, request.found.only_at_node) == (
        len(found.only_at_hub),
        len(found.only_at_node),
    )
    return found, octets


people = st.sets(st.integers(0, 300))


@given(hub=people, node=people)
def test_both_lists_are_exactly_what_differs(hub: set[int], node: set[int]) -> None:
    found, _ = compare(hub, node)
    assert sorted(found.only_at_hub) == sorted(f"offenders/{UUID(int=person)}" for person in hub - node)
    assert sorted(found.only_at_node) == sorted(cnic(person) for person in node - hub)


def test_little_travels_where_little_differs() -> None:
    everybody = set(range(20_000))
    found, octets = compare(everybody - {17}, everybody - {4, 1999})
    assert (len(found.only_at_hub), len(found.only_at_node)) == (2, 1)
    assert octets < 20_000
    _, octets = compare(everybody, everybody)
    assert octets < 100


def test_a_comparison_that_was_cut_is_no_result() -> None:
    comparison = Comparison([cnic(1)], everything=False, at_least_revision="")
    comparison.request()
    comparison.take(ReconcileResponse(key=KEY))
    with pytest.raises(Unavailable):
        comparison.result()


@pytest.mark.parametrize("text", ["", "91234-1234567", "9123412345678a", "٩١٢٣٤١٢٣٤٥٦٧٨"])
def test_what_is_no_number_is_named_by_its_place_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^number 2 is not a CNIC of 13 digits$"):
        Comparison([cnic(1), text], everything=False, at_least_revision="")
