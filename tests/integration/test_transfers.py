"""One owner per record: a transfer moves it when the receiver accepts, and not before."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from nsor.registry.v1.offender_pb2 import COURT_EVENT_SET_ASIDE, FINALITY_FINAL, Offender, Transfer
from nsor.registry.v1.registry_service_pb2 import GetOffenderRequest, ListTransfersRequest
from tests.support.contract import (
    INVESTIGATION,
    MAINTENANCE,
    OVERSIGHT,
    Node,
    Refusal,
    acceptance,
    at_once,
    change,
    court_event,
    declination,
    node,
    notification,
    proposal,
)
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender

pytest_plugins = ["tests.support.nodes"]


@pytest.fixture
def proposed(punjab: Node, sindh: Node) -> Offender:
    """A record that Punjab proposes to Sindh."""
    return punjab.call(proposal(punjab.create().offender, sindh.name)).offender


def transfers(caller: Node, **only: object) -> list[Transfer]:
    """Every open proposal that a node may list."""
    return [t for page in caller.pages(ListTransfersRequest(page_size=2, **only)) for t in page.transfers]  # type: ignore[arg-type]


def test_the_sender_stays_responsible_until_the_receiver_accepts(punjab: Node, sindh: Node, proposed: Offender) -> None:
    assert proposed.owner == proposed.transfer.sender == punjab.name
    assert (proposed.transfer.offender, proposed.transfer.receiver) == (proposed.name, sindh.name)
    assert sindh.refused(change(proposed, "district")).reason == "NOT_OWNER"
    updated = punjab.update(proposed, "district").offender
    assert updated.transfer == proposed.transfer, "a change of the record leaves the proposal open"
    taken = sindh.call(acceptance(updated)).offender
    assert (taken.owner, taken.HasField("transfer")) == (sindh.name, False)
    assert punjab.refused(change(taken, "district")).reason == "NOT_OWNER"
    assert punjab.refused(notification(taken.name)).reason == "NOT_OWNER"
    assert sindh.update(taken, "district").offender.owner == sindh.name


def test_whoever_is_to_decide_may_read_the_record(sindh: Node, proposed: Offender) -> None:
    assert sindh.get(proposed.name, MAINTENANCE) == proposed
    after = sindh.call(declination(proposed)).offender
    refusal = sindh.refused(declination(after))
    assert refusal.reason == "NO_OPEN_TRANSFER"
    again = GetOffenderRequest(name=after.name, officer=INVESTIGATION)
    assert sindh.refused(again).reason == "ACCESS_NOT_GRANTED", "and afterwards as anybody else"


@pytest.mark.parametrize("decider", ["sindh-police", "punjab-police", "npb"])
def test_receiver_sender_and_npb_can_end_a_proposal(
    hub: RunningHub, punjab: Node, decider: str, proposed: Offender
) -> None:
    after = node(hub, decider).call(declination(proposed)).offender
    assert (after.owner, after.HasField("transfer")) == (punjab.name, False)
    assert punjab.call(proposal(after, proposed.transfer.receiver)).offender.HasField("transfer"), (
        "and there can be another"
    )


def test_only_the_receiver_accepts_or_npb_with_a_reason(
    punjab: Node, sindh: Node, npb: Node, proposed: Offender
) -> None:
    refusal = punjab.refused(acceptance(proposed))
    assert (refusal.reason, refusal.metadata) == ("NOT_RECEIVER", {"receiver": sindh.name})
    assert list(npb.refused(acceptance(proposed)).fields) == ["reason"]
    assert npb.call(acceptance(proposed, "Sindh does not answer")).offender.owner == sindh.name


def test_a_record_has_one_open_proposal(punjab: Node, sindh: Node, proposed: Offender) -> None:
    refusal = punjab.refused(proposal(proposed, sindh.name))
    assert (refusal.reason, refusal.metadata) == ("TRANSFER_ALREADY_OPEN", {"receiver": sindh.name})


@pytest.mark.parametrize("receiver", ["nodes/punjab-police", "nodes/nadra", "nodes/nobody"])
def test_a_record_is_proposed_to_another_police_force(punjab: Node, receiver: str) -> None:
    assert list(punjab.refused(proposal(punjab.create().offender, receiver)).fields) == ["receiver"]


def test_a_decision_is_made_on_what_was_read_and_once(punjab: Node, sindh: Node, proposed: Offender) -> None:
    punjab.update(proposed, "district")
    assert sindh.refused(acceptance(proposed)).reason == "ETAG_MISMATCH"
    current = sindh.get(proposed.name)
    request = acceptance(current)
    first = sindh.call(request)
    assert sindh.call(request) == first
    assert sindh.refused(acceptance(first.offender)).reason == "NO_OPEN_TRANSFER"


def test_of_accept_decline_and_edit_at_once_one_wins(hub: RunningHub, punjab: Node, sindh: Node, npb: Node) -> None:
    for _ in range(3):
        record = punjab.call(proposal(punjab.create().offender, sindh.name)).offender
        requests = [acceptance(record), declination(record), change(record, "district")]
        names = ["sindh-police", "punjab-police", "punjab-police"]
        calls = [partial(node(hub, name, line).call, requests[line % 3]) for line, name in enumerate(names * 2)]
        answers = at_once(6, lambda line, calls=calls: calls[line]())
        written = [answer.offender for answer in answers if not isinstance(answer, Refusal)]
        assert len({offender.etag for offender in written}) == 1, "the two lines of one request get one answer"
        assert {a.reason for a in answers if isinstance(a, Refusal)} <= {
            "ETAG_MISMATCH", "NO_OPEN_TRANSFER", "NOT_RECEIVER", "NOT_OWNER",
        }  # fmt: skip
        assert npb.get(record.name, OVERSIGHT) == written[0]


def test_of_two_proposals_at_once_one_wins(hub: RunningHub, punjab: Node) -> None:
    record = punjab.create().offender
    answers = at_once(6, lambda line: node(hub, "punjab-police", line).call(proposal(record, "nodes/sindh-police")))
    [winner] = [answer for answer in answers if not isinstance(answer, Refusal)]
    assert {a.reason for a in answers if isinstance(a, Refusal)} == {"ETAG_MISMATCH"}
    assert punjab.get(record.name) == winner.offender


def test_a_sealed_record_is_proposed_to_nobody(punjab: Node, sindh: Node, court: Node) -> None:
    offender = fresh_offender()
    offender.convictions[0].finality = FINALITY_FINAL
    record = punjab.call(proposal(punjab.create(offender).offender, sindh.name)).offender
    sealed = court.call(court_event(record, COURT_EVENT_SET_ASIDE)).offender
    assert not sealed.HasField("transfer")
    assert sindh.refused(acceptance(sealed)).reason == "OFFENDER_SEALED"
    assert sealed.name not in [transfer.offender for transfer in transfers(sindh)]


def test_open_proposals_are_listed_to_those_concerned(punjab: Node, sindh: Node, npb: Node, proposed: Offender) -> None:
    other = punjab.call(proposal(punjab.create().offender, sindh.name)).offender
    for caller in (punjab, sindh, npb):
        assert transfers(caller)[:2] == [other.transfer, proposed.transfer], "the newest record first"
    assert transfers(npb, node="nodes/sindh-police")[0] == other.transfer
    assert transfers(npb, node="nodes/fia") == []
    assert transfers(sindh, node="nodes/fia") == [], "a filter shows no more than one may see"
    assert transfers(npb, overdue_only=True) == []
    due = other.transfer.due_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(days=13) < due <= timedelta(days=14)
    sindh.call(acceptance(other))
    assert other.transfer not in transfers(npb)


@pytest.fixture
def hasty_hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub where every proposal is overdue at once."""
    with RunningHub(tmp_path / "state", environment={"NSOR_TRANSFER_DAYS": "1e-12"}) as hub:
        yield hub


def test_overdue_proposals_come_before_npb(hasty_hub: RunningHub) -> None:
    punjab, npb = node(hasty_hub, "punjab-police"), node(hasty_hub, "npb")
    proposed = punjab.call(proposal(punjab.create().offender, "nodes/sindh-police")).offender
    assert transfers(npb, overdue_only=True) == [proposed.transfer]
    assert npb.call(acceptance(proposed, "overdue")).offender.owner == "nodes/sindh-police"
    assert transfers(npb, overdue_only=True) == []
