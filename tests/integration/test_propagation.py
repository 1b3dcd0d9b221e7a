"""Who has applied a record: receipts that each node gives by acknowledging the feed."""

from datetime import timedelta
from uuid import uuid4

from hub.store.database import PostgresDatabase
from hub.store.feed import FeedStore
from hub.store.vault import Keyring, Vault
from nsor.federation.v1.federation_service_pb2 import AcknowledgeChangesRequest
from nsor.registry.v1.registry_service_pb2 import GetPropagationRequest, GetPropagationResponse
from tests.support.contract import NODES, Node, node
from tests.support.hub import RunningHub

pytest_plugins = ["tests.support.nodes"]

OTHERS = {f"nodes/{name}" for name in ("sed-punjab", "sms-7000", "punjab-prosecution", "sindh-prosecution")}
FOLLOWERS = {f"nodes/{name}" for name in NODES} - OTHERS


def seen_by(watcher: Node, after: str, until: str) -> str:
    """The revision of the event that entered a record, as a node gets it by the feed."""
    return watcher.events(after, until)[-1].revision


def propagation(caller: Node, name: str) -> GetPropagationResponse:
    return caller.call(GetPropagationRequest(name=name))


def applied(caller: Node, name: str) -> set[str]:
    """The nodes that have applied a record."""
    return {receipt.node for receipt in propagation(caller, name).receipts if receipt.applied}


def test_a_receipt_is_what_a_node_acknowledged(punjab: Node, sindh: Node, fia: Node, npb: Node) -> None:
    start = punjab.create()
    record = punjab.create()
    before = propagation(npb, record.offender.name)
    assert {receipt.node for receipt in before.receipts} >= FOLLOWERS
    assert not {receipt.node for receipt in before.receipts} & OTHERS
    assert not any(receipt.applied for receipt in before.receipts)
    assert before.revision == record.revision
    revision = seen_by(fia, start.revision, record.offender.name)
    for follower in (fia, sindh):
        follower.call(AcknowledgeChangesRequest(revision=revision))
    assert applied(npb, record.offender.name) == {fia.name, sindh.name}
    assert applied(npb, start.offender.name) == {fia.name, sindh.name}, "what came before is applied too"
    [mine] = [r for r in propagation(npb, record.offender.name).receipts if r.node == fia.name]
    assert mine.HasField("acknowledge_time")


def test_only_the_newest_version_counts(punjab: Node, fia: Node, npb: Node) -> None:
    start = punjab.create()
    record = punjab.create()
    fia.call(AcknowledgeChangesRequest(revision=seen_by(fia, start.revision, record.offender.name)))
    assert fia.name in applied(npb, record.offender.name)
    updated = punjab.update(record.offender, "district")
    assert applied(npb, record.offender.name) == set()
    assert propagation(npb, record.offender.name).revision == updated.revision


def test_there_is_no_receipt_of_a_record_that_was_never_entered(npb: Node) -> None:
    assert npb.refused(GetPropagationRequest(name=f"offenders/{uuid4()}")).reason == "OFFENDER_NOT_FOUND"


async def test_a_receipt_outlives_the_events_of_the_feed(folder_hub: RunningHub) -> None:
    punjab, fia = node(folder_hub, "punjab-police"), node(folder_hub, "fia")
    [old, middle, new] = [punjab.create() for _ in range(3)]
    revision = seen_by(fia, "0", middle.offender.name)
    seen_by(fia, "0", new.offender.name)
    fia.call(AcknowledgeChangesRequest(revision=revision))
    vault = Vault(lambda: Keyring.load((folder_hub.folder / "keyring.json").read_text()))
    database = PostgresDatabase(folder_hub.dsn, vault)
    assert await FeedStore(database, vault).compact(timedelta(0)) == 2
    await database.close()
    assert [applied(punjab, written.offender.name) for written in (old, middle, new)] == [{fia.name}, {fia.name}, set()]
