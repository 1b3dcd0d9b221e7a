"""The rules of the access desk: states, the clock of the prosecutor, scopes, and who needs a grant."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.access import (
    EVERYTHING,
    AccessGrant,
    AccessRequest,
    AccessScope,
    AccessState,
    AccessStep,
    Audience,
    Fir,
    audience,
    needs_grant,
    released,
)
from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller, Node, NodeState, Officer, Purpose, Role
from hub.domain.offender import Offender, Transfer

ASKED_AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
DUE_AT = ASKED_AT + timedelta(hours=48)
LONGEST = timedelta(days=30)
OFFICER = Officer("P-1", Purpose.INVESTIGATION, "123/2026")

times = st.datetimes(datetime(2026, 3, 1, 9), datetime(2026, 6, 1), timezones=st.just(UTC))
scope_sets = st.frozensets(st.sampled_from(AccessScope), min_size=1)


def caller(role: Role, jurisdiction: str = "", id: str = "x") -> Caller:
    return Caller(Node(id, id, role, jurisdiction, NodeState.ACTIVE, ASKED_AT), "method", OFFICER)


NPB, PROSECUTION = caller(Role.NPB), caller(Role.PROSECUTION, "Punjab")


def asked(scopes: frozenset[AccessScope] = EVERYTHING, number: str = "123/2026") -> AccessRequest:
    return AccessRequest(
        id=UUID(int=1),
        offender_id=UUID(int=2),
        scopes=scopes,
        fir=Fir(number, "Civil Lines"),
        jurisdiction="Punjab",
        due_at=DUE_AT,
        steps=(AccessStep(AccessState.REQUESTED, "punjab-police", ASKED_AT, OFFICER, "named by an accused"),),
    )


def attempt(step: str, request: AccessRequest, now: datetime, reason: str) -> AccessRequest | Reason:
    """The request after a step, or why it is refused."""
    try:
        match step:
            case "forward":
                return request.forwarded(PROSECUTION, reason, now)
            case "grant":
                return request.granted(NPB, request.scopes, None, reason, now, longest=LONGEST)
            case "revoke":
                return request.revoked(NPB, reason, now)
            case "stop":
                return request.declined(PROSECUTION, reason, now)
            case _:
                return request.declined(NPB, reason, now)
    except Refused as refused:
        return refused.reason


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["forward", "grant", "decline", "stop", "revoke"]), times, st.sampled_from(["", "why"])
        )
    ).map(lambda steps: sorted(steps, key=lambda step: step[1]))
)
def test_steps_follow_on_each_other_and_on_the_clock(steps: list[tuple[str, datetime, str]]) -> None:
    request, state = asked(), AccessState.REQUESTED
    for step, now, reason in steps:
        overdue = state is AccessState.REQUESTED and now >= DUE_AT
        assert request.overdue(now) == overdue
        result = attempt(step, request, now, reason)
        if step in ("forward", "stop"):
            allowed = state is AccessState.REQUESTED
        elif step == "revoke":
            allowed = request.state(now) is AccessState.GRANTED
        else:
            allowed = state is AccessState.FORWARDED or (overdue and bool(reason))
        if allowed:
            assert isinstance(result, AccessRequest)
            state = {
                "forward": AccessState.FORWARDED, "grant": AccessState.GRANTED, "revoke": AccessState.REVOKED
            }.get(step, AccessState.DECLINED)  # fmt: skip
            assert (result.steps[:-1], result.steps[-1].at) == (request.steps, now), "the steps before stay"
            assert result.etag != request.etag
            request = result
        else:
            decides = step in ("grant", "decline")
            expected = Reason.INVALID_FIELD if overdue and decides else Reason.ACCESS_STEP_NOT_POSSIBLE
            assert result is expected
        after = now + LONGEST
        assert request.state(after) is (AccessState.EXPIRED if state is AccessState.GRANTED else state)


@given(scope_sets, scope_sets, st.none() | times)
def test_nothing_is_granted_beyond_what_was_asked_and_the_longest_time(
    wanted: frozenset[AccessScope], offered: frozenset[AccessScope], until: datetime | None
) -> None:
    now = ASKED_AT + timedelta(hours=1)
    request = asked(wanted).forwarded(PROSECUTION, "", now)
    try:
        grant = request.granted(NPB, offered, until, "", now, longest=LONGEST).grant
    except Refused as refused:
        wrong = {violation.field for violation in refused.violations}
        assert ("scopes" in wrong) == (not offered <= wanted)
        assert ("expire_time" in wrong) == (until is not None and not now < until <= now + LONGEST)
        assert wrong
    else:
        assert offered <= wanted
        assert grant == AccessGrant(offered, until or now + LONGEST)
        assert now < grant.expires_at <= now + LONGEST


@given(st.lists(st.tuples(scope_sets, times, st.sampled_from(["123/2026", "0123/2026", "124/2026"]))), times)
def test_grants_in_force_for_the_fir_release_their_scopes_and_nothing_else(
    grants: list[tuple[frozenset[AccessScope], datetime, str]], now: datetime
) -> None:
    forwarded = asked().forwarded(PROSECUTION, "", now)
    revoked = forwarded.granted(NPB, EVERYTHING, None, "", now, longest=LONGEST).revoked(NPB, "why", now)
    requests = [asked(), asked().declined(NPB, "why", DUE_AT), revoked]
    expected: set[AccessScope] = set()
    for scopes, granted_at, number in grants:
        request = asked(scopes, number).forwarded(PROSECUTION, "", granted_at)
        requests.append(request.granted(NPB, scopes, None, "", granted_at, longest=LONGEST))
        if now < granted_at + LONGEST and number != "124/2026":
            expected |= scopes
    assert released(requests, "123/2026", now) == expected


def test_the_grants_of_a_sealed_record_release_nothing() -> None:
    request = asked().forwarded(PROSECUTION, "", ASKED_AT).granted(NPB, EVERYTHING, None, "", ASKED_AT, longest=LONGEST)
    assert released([request], "123/2026", ASKED_AT) == EVERYTHING
    erased = AccessRequest(
        id=request.id,
        offender_id=request.offender_id,
        scopes=request.scopes,
        fir=None,
        jurisdiction=request.jurisdiction,
        due_at=request.due_at,
        steps=request.steps,
    )
    assert released([erased], "123/2026", ASKED_AT) == frozenset()


@pytest.mark.parametrize("role", Role)
def test_who_investigates_needs_a_grant_for_records_of_others(role: Role) -> None:
    def record(owner: str, receiver: str = "") -> Offender:
        id = UUID(int=1)
        return Offender(
            id=id,
            owner=owner,
            version=1,
            facts=None,
            created_at=ASKED_AT,
            updated_at=ASKED_AT,
            transfer=Transfer(id, owner, receiver, DUE_AT) if receiver else None,
        )

    assert needs_grant(caller(role), record("other")) == (role in (Role.POLICE, Role.FIA))
    assert not needs_grant(caller(role), record("x"))
    assert not needs_grant(caller(role), record("other", receiver="x"))


@pytest.mark.parametrize(
    ("role", "jurisdiction", "known"),
    [
        (Role.NPB, "", Audience()),
        (Role.PROSECUTION, "", Audience()),
        (Role.PROSECUTION, "Sindh", Audience(jurisdictions=("Sindh", ""))),
        (Role.POLICE, "Sindh", Audience(node="x")),
        (Role.FIA, "", Audience(node="x")),
    ],
)
def test_each_knows_of_the_requests_that_concern_it(role: Role, jurisdiction: str, known: Audience) -> None:
    assert audience(caller(role, jurisdiction).node) == known
