"""Nodes and events of `nsor.federation.v1`."""

from functools import lru_cache
from typing import TypedDict

from hub.domain.feed import Event, FederationStatus, IndexedOffender, Progress
from hub.domain.node import Node, Role
from hub.domain.reconciliation import Difference
from hub.domain.revision import Revision
from hub.transport.convert.common import member, reading, timestamp, value
from hub.transport.convert.monitoring import notice_message
from hub.transport.convert.registry import offender_message
from nsor.common.v1 import access_pb2
from nsor.federation.v1 import federation_service_pb2, node_pb2


# Watchers of a worker share the events that are recent, and the pages that several read: see `hub.feed.tail`.
@lru_cache(maxsize=4096)
def event_message(event: Event, revision: str) -> federation_service_pb2.Event:
    """An event of the feed as a message, to be copied, not changed."""
    changes = [
        federation_service_pb2.Change(offender=offender_message(change.offender))
        if isinstance(change, IndexedOffender)
        else federation_service_pb2.Change(notice=notice_message(change))
        for change in event.changes
    ]
    return federation_service_pb2.Event(revision=revision, commit_time=timestamp(event.committed_at), changes=changes)


class NodeFacts(TypedDict):
    """What NPB states about a node."""

    display_name: str
    role: Role
    jurisdiction: str


def node_facts(message: node_pb2.Node) -> NodeFacts:
    """What a caller states about a new node.

    Raises:
        Refused: INVALID_FIELD.
    """
    with reading() as read:
        return NodeFacts(
            display_name=read.text("node.display_name", message.display_name),
            role=member(Role, access_pb2.Role, message.role),
            jurisdiction=message.jurisdiction,
        )


def node_id(name: str) -> str:
    """The id in a resource name "nodes/{node}", whose form the contract has checked."""
    return name.removeprefix("nodes/")


def node_reason(text: str) -> str:
    """Why a node's state is changed.

    Raises:
        Refused: INVALID_FIELD.
    """
    with reading() as read:
        return read.text("reason", text)


def node_message(node: Node) -> node_pb2.Node:
    """A node as a message."""
    message = node_pb2.Node(
        name=node.name,
        display_name=node.display_name,
        role=value(access_pb2.Role, node.role),
        jurisdiction=node.jurisdiction,
        state=value(node_pb2.NodeState, node.state),
        create_time=timestamp(node.created_at),
        state_reason=node.state_reason,
    )
    if node.certificate_expires_at:
        message.certificate_expire_time.CopyFrom(timestamp(node.certificate_expires_at))
    return message


def progress_message(status: FederationStatus, progress: Progress) -> federation_service_pb2.NodeProgress:
    """How far a node is, as a message."""
    message = federation_service_pb2.NodeProgress(
        node=progress.node.name,
        revision="" if progress.write is None else Revision(status.epoch, progress.write).token,
        events_behind=status.events_behind(progress),
        seconds_behind=progress.behind.total_seconds(),
        certificate_expire_time=node_message(progress.node).certificate_expire_time,
    )
    if progress.acknowledged_at:
        message.acknowledge_time.CopyFrom(timestamp(progress.acknowledged_at))
    if found := progress.found:
        message.reconcile_time.CopyFrom(timestamp(found.reconciled_at))
        message.reconcile_found.records = found.records
        message.reconcile_found.only_at_hub = found.only_at_hub
        message.reconcile_found.only_at_node = found.only_at_node
    if outbox := progress.slowest_outbox:
        message.complete_time.CopyFrom(timestamp(outbox.complete_until))
        message.slowest_outbox_id = str(outbox.id)
    return message


def difference_message(difference: Difference) -> federation_service_pb2.RangeDifference:
    """A range in which registers differ, as a message."""
    records = [
        federation_service_pb2.HashedRecord(hash=hash, name=f"offenders/{id}") for hash, id in difference.records or ()
    ]
    return federation_service_pb2.RangeDifference(
        prefix=difference.prefix, records=records, too_many=difference.records is None
    )
