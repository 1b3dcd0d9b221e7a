"""A scripted hub that answers CheckCnics by what it finds in each text."""

from collections.abc import Iterator
from typing import Any

import grpc

from nsor.lookup.v1.lookup_service_pb2 import (
    OUTCOME_CANNOT_ANSWER,
    OUTCOME_HIT,
    OUTCOME_INVALID_CNIC,
    OUTCOME_NO_RECORD,
    CheckCnicResponse,
    CheckCnicsResponse,
    DisclosedPerson,
)

_OUTCOMES = {"h": OUTCOME_HIT, "": OUTCOME_INVALID_CNIC, "x": OUTCOME_CANNOT_ANSWER}


def answer(text: str) -> CheckCnicResponse:
    """A hit for "h…", no CNIC for "", cannot answer for "x…", no record otherwise; the text as the number."""
    outcome = _OUTCOMES.get(text[:1], OUTCOME_NO_RECORD)
    person = DisclosedPerson(full_name="Test\u2028Person", guardian_name='A "B", C') if outcome == OUTCOME_HIT else None
    return CheckCnicResponse(outcome=outcome, masked_cnic=text, person=person)


def answer_all(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
    """A response for each message."""
    for request in requests:
        yield CheckCnicsResponse(results=map(answer, request.cnics))
