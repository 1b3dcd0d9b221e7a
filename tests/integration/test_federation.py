"""Snapshots, acknowledgements and the status of the federation."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

import grpc
import pytest

from hub.store.database import PostgresDatabase
from hub.store.feed import FeedStore
from hub.store.vault import Keyring, Vault
from nsor.federation.v1 import federation_service_pb2 as pb
from nsor.federation.v1.federation_service_pb2_grpc import FederationServiceStub
from nsor.registry.v1.offender_pb2 import Offender
from tests.support.hub import RunningHub
from tests.support.people import fresh_offender


def snapshot(hub: RunningHub) -> tuple[dict[str, Offender], Sequence[pb.GetSnapshotResponse]]:
    """A whole snapshot by Sindh: records by name, and the responses."""
    with hub.channel("sindh-police") as channel:
        responses = list(FederationServiceStub(channel).GetSnapshot(pb.GetSnapshotRequest(), timeout=30))
    return {o.name: o for r in responses for o in r.offenders}, responses


def test_a_snapshot_and_the_stream_after_it_are_the_register(hub: RunningHub) -> None:
    with hub.client("punjab-police") as punjab:
        created = punjab.create_offender(fresh_offender())
        before = created.offender
        punjab.check_cnic(before.person.cnic, at_least_revision=created.revision)
        records, responses = snapshot(hub)
        assert records[before.name] == before
        after = punjab.create_offender(fresh_offender()).offender
    with hub.client("sindh-police") as sindh:
        for response in sindh.watch_changes(after=responses[-1].revision):
            if response.events:
                # Nothing of the snapshot comes again, and the first thing after it does.
                assert response.events[0].changes[0].offender == after
                break


def test_a_snapshot_proves_that_it_is_whole(hub: RunningHub) -> None:
    with hub.client("punjab-police") as punjab:
        punjab.create_offender(fresh_offender())
    _, responses = snapshot(hub)
    *parts, last = responses
    assert last.HasField("end")
    assert not any(part.HasField("end") for part in parts)
    assert len({response.revision for response in responses}) == 1
    lines = [f"{o.name} {o.etag}\n" for part in parts for o in part.offenders]
    notices = [f"{n.name}\n" for part in parts for n in part.notices]
    assert (last.end.offender_count, last.end.notice_count) == (len(lines), len(notices))
    assert last.end.checksum == hashlib.sha256("".join(lines + notices).encode()).digest()


@pytest.mark.slow
def test_what_has_no_number_yet_is_not_in_a_snapshot(folder_hub: RunningHub) -> None:
    """While the head row is locked nothing is numbered, so a snapshot shows the state before."""
    hub = folder_hub
    with hub.client("punjab-police") as punjab:
        known = punjab.create_offender(fresh_offender())
        punjab.check_cnic(known.offender.person.cnic, at_least_revision=known.revision)
        with hub.connect() as blocker:
            blocker.execute("SELECT 1 FROM feed_head FOR UPDATE")
            created = punjab.create_offender(fresh_offender()).offender
            change = Offender(name=known.offender.name, etag=known.offender.etag, district="Multan")
            punjab.update_offender(change, update_mask=["district"])
            records, _ = snapshot(hub)
            assert created.name not in records
            assert records[known.offender.name] == known.offender


def test_acknowledgements_show_who_lags(hub: RunningHub) -> None:
    with hub.client("punjab-police") as punjab, hub.channel("fia") as channel:
        fia = FederationServiceStub(channel)
        first = punjab.create_offender(fresh_offender())
        punjab.check_cnic(first.offender.person.cnic, at_least_revision=first.revision)
        start = fia.GetFederationStatus(pb.GetFederationStatusRequest(), timeout=10).revision
        fia.AcknowledgeChanges(pb.AcknowledgeChangesRequest(revision=start), timeout=10)
        second = punjab.create_offender(fresh_offender())
        punjab.check_cnic(second.offender.person.cnic, at_least_revision=second.revision)

        def mine() -> pb.NodeProgress:
            status = fia.GetFederationStatus(pb.GetFederationStatusRequest(), timeout=10)
            return next(node for node in status.nodes if node.node == "nodes/fia")

        assert mine().events_behind >= 1
        assert mine().seconds_behind > 0
        assert mine().certificate_expire_time.seconds > 0
        newest = fia.GetFederationStatus(pb.GetFederationStatusRequest(), timeout=10).revision
        fia.AcknowledgeChanges(pb.AcknowledgeChangesRequest(revision=newest), timeout=10)
        fia.AcknowledgeChanges(pb.AcknowledgeChangesRequest(revision=start), timeout=10)
        assert mine().revision == newest  # an older one changes nothing


@pytest.mark.slow
async def test_a_watcher_of_what_was_compacted_is_sent_to_a_snapshot(folder_hub: RunningHub) -> None:
    hub = folder_hub
    with hub.client("punjab-police") as punjab:
        written = [punjab.create_offender(fresh_offender()) for _ in range(3)]
        punjab.check_cnic(written[-1].offender.person.cnic, at_least_revision=written[-1].revision)
        vault = Vault(lambda: Keyring.load((hub.folder / "keyring.json").read_text()))
        database = PostgresDatabase(hub.dsn, vault)
        assert await FeedStore(database, vault).compact(timedelta(0)) == 2
        await database.close()
        hub.stop()
        hub.start()
        with hub.channel("sindh-police") as channel:
            for after in ("0", written[0].revision):
                watch = FederationServiceStub(channel).WatchChanges(pb.WatchChangesRequest(after=after), timeout=10)
                with pytest.raises(grpc.RpcError) as refused:
                    next(watch)
                assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE  # type: ignore[attr-defined]
        records, _ = snapshot(hub)
        assert {w.offender.name for w in written} <= set(records)
        # A read that asks for a revision so old is answered, since the hub certainly has it.
        with hub.client("sindh-police") as sindh:
            sindh.check_cnic(written[0].offender.person.cnic, at_least_revision=written[0].revision)
