"""The change feed: every change once, in order, from wherever the watcher left off."""

import re
import time
from collections.abc import Iterator
from copy import deepcopy
from itertools import islice, pairwise

import pytest

from nsor.federation.v1.federation_service_pb2 import Event, WatchChangesRequest, WatchChangesResponse
from nsor.registry.v1.registry_service_pb2 import UpdateOffenderResponse
from tests.support.contract import METHODS, Node, at_once, node, notification, refusal_of, row
from tests.support.hub import RunningHub

pytest_plugins = ["tests.support.nodes"]


def entered(events: list[Event]) -> list[str]:
    """Names of the records in some events."""
    return [change.offender.name for event in events for change in event.changes if change.HasField("offender")]


def next_events(stream: Iterator[WatchChangesResponse]) -> list[Event]:
    """The next events of a stream, past its bookmarks."""
    return list(next(response.events for response in stream if response.events))


@pytest.fixture(scope="module")
def history(punjab: Node, sindh: Node) -> list[Event]:
    """Every event of the register so far; at the end, ten that enter a record each."""
    written = [police.create() for _ in range(5) for police in (punjab, sindh)]
    return punjab.events("0", until=written[-1].offender.name)


def test_a_watch_begins_with_a_bookmark(punjab: Node) -> None:
    with punjab.watching() as stream:
        bookmark = next(stream)
    assert not bookmark.events
    assert bookmark.revision
    assert bookmark.HasField("as_of_time")


def test_a_watch_without_a_revision_tells_of_what_changes_from_now_on(
    punjab: Node, sindh: Node, history: list[Event]
) -> None:
    with punjab.watching() as stream:
        next(stream)
        written = sindh.create().offender
        events: list[Event] = []
        while written.name not in entered(events):
            events += next_events(stream)
    assert not set(entered(events)) & set(entered(history))
    [change] = events[-1].changes
    assert change.offender == written
    assert events[-1].commit_time.ToNanoseconds() >= written.create_time.ToNanoseconds()


def test_a_watch_begins_after_any_revision_that_the_hub_gave(punjab: Node, sindh: Node) -> None:
    before = punjab.create()
    next_one, last = punjab.create().offender.name, sindh.create().offender.name
    assert entered(sindh.events(before.revision, until=last)) == [next_one, last]
    looked_at = sindh.check(before.offender.person.cnic, before.revision).revision
    last = sindh.create().offender.name
    told = entered(sindh.events(looked_at, until=last))
    assert before.offender.name not in told
    assert told[-1] == last


def test_a_watch_from_the_newest_revision_begins_with_a_bookmark(punjab: Node) -> None:
    newest = punjab.events("0", until=punjab.create().offender.name)[-1].revision
    with punjab.watching(newest) as stream:
        bookmark = next(stream)
    assert (list(bookmark.events), bookmark.revision) == ([], newest)


def test_the_whole_history_is_told_in_order_and_once(hub: RunningHub, punjab: Node, history: list[Event]) -> None:
    last = punjab.create().offender
    whole = punjab.events("0", until=last.name)
    [[count]] = hub.sql("SELECT count(*) FROM feed_event")
    assert len(whole) == count
    assert len({event.revision for event in whole}) == count
    assert whole[: len(history)] == history
    times = [event.commit_time.ToNanoseconds() for event in whole]
    assert times == sorted(times)


def test_changes_come_in_the_order_in_which_they_were_answered(
    hub: RunningHub, punjab: Node, history: list[Event]
) -> None:
    written = [node(hub, name).create() for name in ("punjab-police", "npb", "sindh-police") * 4]
    events = punjab.events(history[-1].revision, until=written[-1].offender.name)
    names = [answer.offender.name for answer in written]
    assert [name for name in entered(events) if name in names] == names


def test_a_watch_resumes_after_every_event(fia: Node, history: list[Event]) -> None:
    recent = history[-10:]
    until = entered(recent[-1:])[0]
    for at, event in enumerate(recent[:-1]):
        assert fia.events(event.revision, until) == recent[at + 1 :]


def test_a_watch_resumes_after_every_response(punjab: Node, history: list[Event]) -> None:
    until = punjab.create().offender.name
    with punjab.watching("0") as stream:
        first = next(response for response in stream if response.events)
    assert len(first.events) <= 200
    assert first.revision == first.events[-1].revision
    rest = [] if until in entered(list(first.events)) else punjab.events(first.revision, until)
    assert [*first.events, *rest][: len(history)] == history


def test_watchers_on_all_lines_are_told_the_same(hub: RunningHub, history: list[Event]) -> None:
    after, until = history[0].revision, entered(history[-1:])[0]
    names = ("punjab-police", "sindh-police", "npb", "fia", "npb", "fia")
    told = at_once(6, lambda line: node(hub, names[line], line).events(after, until))
    assert all(events == history[1:] for events in told)


def test_a_live_watcher_and_a_late_one_are_told_the_same(hub: RunningHub, punjab: Node, sindh: Node) -> None:
    with sindh.watching() as stream:
        after = next(stream).revision

        def enter(line: int) -> UpdateOffenderResponse:
            police = node(hub, ("punjab-police", "sindh-police")[line % 2], line)
            return police.update(police.create().offender, "district")

        at_once(12, enter)
        last = punjab.create().offender.name
        live: list[Event] = []
        while last not in entered(live):
            live += next_events(stream)
    assert punjab.events(after, until=last) == live
    # Changes, since what is entered at the same time may be one transaction.
    assert sum(len(event.changes) for event in live) == 12 * 2 + 1


def test_versions_of_a_record_come_in_order(punjab: Node, sindh: Node, history: list[Event]) -> None:
    versions = [punjab.create().offender]
    for district in ("Multan", "Lahore", "Multan"):
        changed = deepcopy(versions[-1])
        changed.district = district
        versions.append(punjab.update(changed, "district").offender)
    last = punjab.create().offender.name
    changes = [change.offender for event in sindh.events(history[-1].revision, last) for change in event.changes]
    assert [offender for offender in changes if offender.name == versions[0].name] == versions


def test_an_imported_row_is_a_change_like_any_other(punjab: Node, sindh: Node, history: list[Event]) -> None:
    results = punjab.import_rows(row(number) for number in range(1, 251))
    last = punjab.create().offender.name
    events = sindh.events(history[-1].revision, until=last)
    assert all(1 <= len(event.changes) <= 500 for event in events)
    imported = [result.offender for result in results]
    told = [name for name in entered(events) if name in set(imported)]
    assert told == imported


def test_a_notice_is_a_change(punjab: Node, sindh: Node) -> None:
    parent = punjab.create()
    recorded = punjab.call(notification(parent.offender.name)).notice
    with sindh.watching(parent.revision) as stream:
        [change] = next_events(stream)[0].changes
    assert change.notice == recorded


def test_what_was_refused_or_repeated_is_no_change(punjab: Node, sindh: Node) -> None:
    first, bad = row(1), row(2)
    bad.offender.district = "Nowhere"
    punjab.import_rows([first])
    before = punjab.create()
    punjab.import_rows([first, bad, row(3, first.offender)])
    last = punjab.create().offender.name
    assert entered(sindh.events(before.revision, until=last)) == [last]


def test_bookmarks_say_how_far_everything_is_known(punjab: Node, sindh: Node) -> None:
    before, written = punjab.create(), punjab.create().offender
    with sindh.watching(before.revision) as stream:
        [event] = next_events(stream)
        assert entered([event]) == [written.name]
        bookmarks = list(islice((response for response in stream if not response.events), 2))
    assert all(bookmark.revision == event.revision for bookmark in bookmarks), "nothing has changed since"
    times = [event.commit_time, *(bookmark.as_of_time for bookmark in bookmarks)]
    assert all(earlier.ToNanoseconds() < later.ToNanoseconds() for earlier, later in pairwise(times))


def test_everything_that_was_committed_before_the_time_of_a_response_has_been_told(hub: RunningHub) -> None:
    with node(hub, "sindh-police").watching() as stream:
        next(stream)
        for line in range(20):
            written = node(hub, "punjab-police", line % 4).create().offender
            committed_by = time.time_ns()
            for response in stream:
                if written.name in entered(list(response.events)):
                    break
                assert response.as_of_time.ToNanoseconds() <= committed_by


@pytest.mark.parametrize("after", ["garbage", "1", "-1", "00", "00000000.", "{}x", " {}", "{}.1"])
def test_a_revision_that_the_hub_did_not_make_is_refused(punjab: Node, history: list[Event], after: str) -> None:
    assert watch_refused(punjab, after.format(history[0].revision)) == "INVALID_REVISION"


def test_a_revision_of_another_epoch_is_refused(punjab: Node, history: list[Event]) -> None:
    epoch, _, rest = history[0].revision.partition(".")
    assert watch_refused(punjab, f"{int(epoch, 16) ^ 1:08x}.{rest}") == "REVISION_EPOCH_CHANGED"


@pytest.mark.parametrize("source", ["write", "event"])
def test_a_revision_that_lies_ahead_is_refused(punjab: Node, history: list[Event], source: str) -> None:
    # Such a watcher would be told that it knows everything, and would miss all that comes.
    revision = punjab.create().revision if source == "write" else history[0].revision
    assert watch_refused(punjab, re.sub(r"\d+$", "999999999", revision)) == "REVISION_EPOCH_CHANGED"


def test_a_revision_that_is_too_long_is_refused(punjab: Node) -> None:
    assert watch_refused(punjab, "0" * 129) == "INVALID_FIELD"


def watch_refused(police: Node, after: str) -> str:
    """The reason for which a watch is refused."""
    request = WatchChangesRequest(after=after).SerializeToString()
    return refusal_of(lambda: police.call_bytes(METHODS["WatchChanges"], request, timeout=10)).reason
