"""The checker of the feed's guarantees: it must find each bug that is planted, and nothing where there is none."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.feed_checker import (
    COMPACTED,
    EPOCH_CHANGED,
    Event,
    Guarantee,
    History,
    Response,
    Snapshot,
    Stream,
    Version,
    Write,
    check,
)

EVENTS = 40


def version(number: int, part: int = 0) -> Version:
    return Version(f"offenders/{number}-{part}", '"1"')


def event(number: int) -> Event:
    """Each fourth transaction writes three records, the others one."""
    parts = 3 if number % 4 == 0 else 1
    return Event(f"e.s{number}", number + 0.5, tuple(version(number, part) for part in range(parts)))


def write(number: int, part: int = 0) -> Write:
    """Write `number` is sent at second `number`, and acknowledged before the next one."""
    return Write(version(number, part), f"e.w{number}", began=number, ended=number + 0.9)


def response(*numbers: int) -> Response:
    """A response right after the last of these events was acknowledged."""
    return Response([event(n) for n in numbers], f"e.s{numbers[-1]}", numbers[-1] + 0.95, numbers[-1] + 0.95)


def bookmark(number: int) -> Response:
    return Response([], f"e.s{number}", number + 0.95, number + 0.95)


def stream(after: str, *responses: Response) -> Stream:
    return Stream("watcher", after, responses[0].at, list(responses))


def good() -> History:
    """A run in which every promise was kept: a watcher that resumes in all the ways there are."""
    return History(
        writes=[write(n, part) for n in range(1, EVENTS + 1) for part in range(len(event(n).versions))],
        streams=[
            stream("0", response(1), response(2, 3, 4), bookmark(4), response(5, 6)),
            stream("e.s6", response(7), response(8), bookmark(8)),
            # Of the last response only the first event was applied before the watcher fell over.
            stream("e.s8", response(9, 10, 11)),
            stream("e.s9", response(10, 11), response(12, 13)),
            stream("e.w13", response(14), response(15, 16)),
            stream("", bookmark(20), response(21, 22)),
            stream("", response(23), bookmark(23)),
            stream("e.s23", *(response(n) for n in range(24, EVENTS + 1))),
            # The feed has dropped the first six by now; what this one has is of a state that was lost in a restore.
            Stream("late", "e.s5", 30, refused=COMPACTED),
            Stream("lost", "e.s900", 30, refused=EPOCH_CHANGED),
            replace(stream("0", response(1), response(2)), refused=COMPACTED),
            stream("e.s30", response(31), response(32)),
        ],
        feed=stream("0", response(*range(1, EVENTS + 1))),
        snapshots=[snapshot(30), snapshot(12), snapshot(30)],
        dropped=6,
    )


def snapshot(number: int) -> Snapshot:
    """The register after an event."""
    versions = [version for n in range(1, number + 1) for version in event(n).versions]
    return Snapshot("late", f"e.s{number}", number + 0.95, versions)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert check(good()) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_sequencer_keeps_every_promise_however_transactions_overlap(seed: int) -> None:
    history, lost = overlapping_transactions(random.Random(seed), sequencer=True)
    assert lost == set()
    assert check(history, silence=math.inf) == []


@pytest.mark.parametrize("seed", range(20))
def test_what_a_bigserial_cursor_loses_is_found(seed: int) -> None:
    history, lost = overlapping_transactions(random.Random(seed), sequencer=False)
    assert lost
    missed = [v for v in check(history) if v.guarantee in (Guarantee.RELIABLE, Guarantee.RESUMABLE)]
    assert len(missed) == len(lost)


def overlapping_transactions(chance: random.Random, *, sequencer: bool) -> tuple[History, set[int]]:
    """Transactions that take a number when they begin and commit in any order, while a watcher reads.

    Args:
        sequencer: the feed gives its own numbers to what is committed; otherwise a cursor reads those of the
            transactions, as of a `bigserial` column.

    Returns:
        The history, and the numbers of the transactions that the watcher never got.
    """
    running: list[int] = []
    committed: list[int] = []
    feed: list[Event] = []
    history = History([], [Stream("watcher", "0", 0)], Stream("feed", "0", 0))
    read: list[Event] = []
    steps = chance.choices(("begin", "commit", "read"), k=200)
    for now, step in enumerate([*steps, *["commit"] * steps.count("begin"), "read"], 1):
        match step:
            case "begin":
                running.append(now)
            case "commit" if not running:
                pass
            case "commit":
                done = running.pop(chance.randrange(len(running)))
                committed.append(done)
                history.writes.append(Write(version(done), f"e.w{done}", done, now))
            case _:
                waiting = sorted(set(committed) - {number(event) for event in feed})
                feed += [Event(f"e.s{n}", now, (version(n),)) for n in waiting]
                if sequencer:
                    new = feed[len(read) :]
                else:
                    feed.sort(key=number)
                    cursor = number(read[-1]) if read else 0
                    new = [event for event in feed if number(event) > cursor]
                if new:
                    read += new
                    as_of = now if sequencer else None
                    history.streams[0].responses.append(Response(new, new[-1].revision, as_of, now))
    end = len(steps) * 2
    history.feed.responses.append(Response([replace(e, committed=end) for e in feed], feed[-1].revision, end, end))
    return history, {number(event) for event in feed} - {number(event) for event in read}


def lose_an_event(history: History) -> None:
    del history.streams[0].responses[1].events[1]


def lose_the_event_after_the_resumption(history: History) -> None:
    history.streams[1].responses[0] = bookmark(7)


def lose_an_event_for_everybody(history: History) -> None:
    for stream in [*history.streams, history.feed]:
        for response in stream.responses:
            response.events[:] = [event for event in response.events if event.revision != "e.s31"]


def repeat_an_event(history: History) -> None:
    history.streams[0].responses[1].events.append(event(4))


def repeat_a_response(history: History) -> None:
    history.streams[0].responses.append(history.streams[0].responses[-1])


def repeat_what_was_before_the_resumption(history: History) -> None:
    history.streams[1].responses[0].events.insert(0, event(6))


def sequence_an_event_twice(history: History) -> None:
    history.feed.responses[0].events.insert(30, event(30))


def sequence_a_write_under_two_revisions(history: History) -> None:
    history.feed.responses[0].events[30] = replace(event(31), versions=event(30).versions)


def swap_two_events(history: History) -> None:
    events = history.streams[0].responses[1].events
    events[0], events[1] = events[1], events[0]


def swap_two_events_for_everybody(history: History) -> None:
    """The writes 30 and 31 came one after the other; the feed has them the other way round."""
    for stream in [*history.streams[-1:], history.feed]:
        for response in stream.responses:
            response.events[:] = [
                replace(event(61 - n), revision=e.revision) if (n := number(e)) in (30, 31) else e
                for e in response.events
            ]


def number(event: Event) -> int:
    return int(event.revision.removeprefix("e.s"))


def turn_the_commit_times(history: History) -> None:
    history.feed.responses[0].events[9] = replace(event(10), committed=11.9)


def commit_before_it_began(history: History) -> None:
    history.feed.responses[0].events[9] = replace(event(10), committed=9.95)


def tear_a_transaction(history: History) -> None:
    """Its records come in two responses."""
    whole = event(4)
    first, second = (replace(whole, versions=part) for part in (whole.versions[:1], whole.versions[1:]))
    responses = history.streams[0].responses
    responses[1] = responses[1]._replace(events=[event(2), event(3), first])
    responses.insert(2, Response([second], "e.s4", 4.96, 4.96))


def tear_a_transaction_for_everybody(history: History) -> None:
    """It is sequenced as two events, so that all watchers agree."""
    events = history.feed.responses[0].events
    whole = events.pop()
    events.append(replace(whole, versions=whole.versions[:1]))
    events.append(replace(whole, revision="e.s41", versions=whole.versions[1:]))
    del history.streams[-1].responses[-1]


def bookmark_ahead(history: History) -> None:
    history.streams[0].responses[2] = bookmark(5)


def bookmark_behind(history: History) -> None:
    history.streams[0].responses[2] = bookmark(3)


def bookmark_of_nothing(history: History) -> None:
    history.streams[0].responses[2] = bookmark(4)._replace(revision="e.s1000")


def promise_too_much(history: History) -> None:
    """The bookmark says that all until second 8 was sent; 5, 6 and 7 were acknowledged by then."""
    history.streams[0].responses[2] = bookmark(4)._replace(as_of=8.0)


def lose_the_bookmarks(history: History) -> None:
    history.streams[5].responses[1] = response(21, 22)._replace(at=120)


def make_an_event_up(history: History) -> None:
    history.streams[0].responses[1].events[1] = event(1000)


def write_twice(history: History) -> None:
    """A request that was sent again took effect again."""
    second = replace(event(3), revision="e.s41", versions=(Version(version(3).name, '"2"'),))
    history.feed.responses[0].events.append(replace(second, committed=50))


def forget_a_revision(history: History) -> None:
    history.streams[1].after = "e.s1000"


def compact_what_is_there(history: History) -> None:
    history.streams[8].after = "e.s7"


def compact_what_nobody_dropped(history: History) -> None:
    history.dropped = 0


def lose_what_is_there(history: History) -> None:
    history.streams[9].after = "e.s30"


def take_a_lost_revision(history: History) -> None:
    """A revision that was lost in a restore is taken for one of the events since."""
    history.streams[9].refused = ""
    history.streams[9].responses.append(response(31))


def refuse_for_no_reason(history: History) -> None:
    history.streams[8].refused = "INTERNAL"


def lose_a_record_of_a_snapshot(history: History) -> None:
    del history.snapshots[0].versions[3]


def repeat_a_record_of_a_snapshot(history: History) -> None:
    history.snapshots[0].versions.append(history.snapshots[0].versions[0])


def snapshot_of_an_older_state(history: History) -> None:
    history.snapshots[0] = history.snapshots[0]._replace(revision="e.s31")


def snapshot_that_promises_too_much(history: History) -> None:
    history.snapshots[0] = history.snapshots[0]._replace(as_of=32.0)


@pytest.mark.parametrize(
    ("bug", "guarantee"),
    [
        (lose_an_event, Guarantee.RELIABLE),
        (lose_the_event_after_the_resumption, Guarantee.BOOKMARKABLE),
        (lose_an_event_for_everybody, Guarantee.RELIABLE),
        (repeat_an_event, Guarantee.UNIQUE),
        (repeat_a_response, Guarantee.UNIQUE),
        (repeat_what_was_before_the_resumption, Guarantee.RESUMABLE),
        (sequence_an_event_twice, Guarantee.UNIQUE),
        (sequence_a_write_under_two_revisions, Guarantee.UNIQUE),
        (swap_two_events, Guarantee.ORDERED),
        (swap_two_events_for_everybody, Guarantee.ORDERED),
        (turn_the_commit_times, Guarantee.ORDERED),
        (commit_before_it_began, Guarantee.ORDERED),
        (tear_a_transaction, Guarantee.ATOMIC),
        (tear_a_transaction_for_everybody, Guarantee.ATOMIC),
        (bookmark_ahead, Guarantee.BOOKMARKABLE),
        (bookmark_behind, Guarantee.BOOKMARKABLE),
        (bookmark_of_nothing, Guarantee.BOOKMARKABLE),
        (promise_too_much, Guarantee.BOOKMARKABLE),
        (lose_the_bookmarks, Guarantee.BOOKMARKABLE),
        (make_an_event_up, Guarantee.EXACT),
        (write_twice, Guarantee.EXACT),
        (forget_a_revision, Guarantee.RESUMABLE),
        (compact_what_is_there, Guarantee.RESUMABLE),
        (compact_what_nobody_dropped, Guarantee.RESUMABLE),
        (lose_what_is_there, Guarantee.RESUMABLE),
        (take_a_lost_revision, Guarantee.RESUMABLE),
        (refuse_for_no_reason, Guarantee.RESUMABLE),
        (lose_a_record_of_a_snapshot, Guarantee.SNAPSHOT),
        (repeat_a_record_of_a_snapshot, Guarantee.SNAPSHOT),
        (snapshot_of_an_older_state, Guarantee.SNAPSHOT),
        (snapshot_that_promises_too_much, Guarantee.BOOKMARKABLE),
    ],
)
def test_a_planted_bug_is_found(bug: Callable[[History], None], guarantee: Guarantee) -> None:
    history = good()
    bug(history)
    assert guarantee in {violation.guarantee for violation in check(history)}
