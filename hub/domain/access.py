"""The access desk: who may read records of other nodes, how much of them, for which FIR, and for how long."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from hub.domain.disclosure import is_party
from hub.domain.errors import Reason, Refused, Violation, invalid
from hub.domain.node import Caller, Node, Officer, Purpose, Role
from hub.domain.offender import Offender, offender_name


class AccessScope(StrEnum):
    """A part of a record. Names as in `nsor.registry.v1.AccessScope`, where each is documented."""

    PERSON = "PERSON"
    CONVICTIONS = "CONVICTIONS"
    NOTICES = "NOTICES"
    HISTORY = "HISTORY"


EVERYTHING = frozenset(AccessScope)


class AccessState(StrEnum):
    """How far a request has come. Names as in `nsor.registry.v1.AccessRequestState`, where each is documented."""

    REQUESTED = "REQUESTED"
    FORWARDED = "FORWARDED"
    GRANTED = "GRANTED"
    DECLINED = "DECLINED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True)
class Fir:
    """A First Information Report.

    Attributes:
        number: as "NUMBER/YEAR"; unique within the police station only.
    """

    number: str
    police_station: str


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """What NPB grants, and until when."""

    scopes: frozenset[AccessScope]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AccessStep:
    """A step of a request.

    Attributes:
        state: which it led to; never EXPIRED, to which time leads.
        node: id of the node that took it.
        officer: who at the node; None once the record is sealed.
        reason: in the officer's words; empty if nothing was said, or the record is sealed since.
        grant: of the step that led to GRANTED.
    """

    state: AccessState
    node: str
    at: datetime
    officer: Officer | None
    reason: str
    grant: AccessGrant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """An officer's request to read a record of another node.

    Attributes:
        scopes: what is asked for.
        fir: which it is for; None once the record is sealed.
        jurisdiction: of the node that asks.
        due_at: by when a prosecutor is to forward it.
        steps: from the asking on, at least that.
    """

    id: UUID
    offender_id: UUID
    scopes: frozenset[AccessScope]
    fir: Fir | None
    jurisdiction: str
    due_at: datetime
    steps: tuple[AccessStep, ...]

    @property
    def name(self) -> str:
        """Resource name, "accessRequests/{uuid}"."""
        return f"accessRequests/{self.id}"

    @property
    def etag(self) -> str:
        """Changes with each step (AIP-154)."""
        return f'"{len(self.steps)}"'

    @property
    def grant(self) -> AccessGrant | None:
        """What was granted and not revoked, in force or not."""
        return self.steps[-1].grant

    def step(self, *states: AccessState) -> AccessStep | None:
        """The step that led to one of these states."""
        return next((step for step in self.steps if step.state in states), None)

    def state(self, now: datetime) -> AccessState:
        """How far it has come."""
        return AccessState.EXPIRED if self.grant and self.grant.expires_at <= now else self.steps[-1].state

    def overdue(self, now: datetime) -> bool:
        """Whether a prosecutor was to have forwarded it before now."""
        return self.state(now) is AccessState.REQUESTED and self.due_at <= now

    def forwarded(self, caller: Caller, reason: str, now: datetime) -> "AccessRequest":
        """The request as a prosecutor's forwarding leaves it.

        Raises:
            Refused: ACCESS_STEP_NOT_POSSIBLE.
        """
        if self.state(now) is not AccessState.REQUESTED:
            raise self._not_possible(now)
        return self._with(AccessStep(AccessState.FORWARDED, caller.node.id, now, caller.officer, reason))

    def granted(
        self,
        caller: Caller,
        scopes: frozenset[AccessScope],
        expires_at: datetime | None,
        reason: str,
        now: datetime,
        *,
        longest: timedelta,
    ) -> "AccessRequest":
        """The request as it is once NPB grants it.

        Args:
            expires_at: None for as late as may be.
            longest: for which access is granted at most.

        Raises:
            Refused: ACCESS_STEP_NOT_POSSIBLE; INVALID_FIELD: more than was asked, a time that cannot be, no reason.
        """
        self._require_decidable(reason, now)
        latest = now + longest
        grant = AccessGrant(scopes, expires_at or latest)
        wrong: list[Violation] = []
        if not scopes <= self.scopes:
            wrong.append(Violation("scopes", "NOT_ASKED", "must not be more than what was asked for"))
        if grant.expires_at <= now:
            wrong.append(Violation("expire_time", "IN_PAST", "must lie in the future"))
        if grant.expires_at > latest:
            wrong.append(Violation("expire_time", "TOO_LATE", f"must not lie more than {longest.days} days ahead"))
        if wrong:
            raise invalid(*wrong)
        return self._with(AccessStep(AccessState.GRANTED, caller.node.id, now, caller.officer, reason, grant))

    def declined(self, caller: Caller, reason: str, now: datetime) -> "AccessRequest":
        """The request as it is once NPB declines it, or a prosecutor instead of forwarding it.

        Raises:
            Refused: ACCESS_STEP_NOT_POSSIBLE.
        """
        if caller.node.role is not Role.PROSECUTION:
            self._require_decidable(reason, now)
        elif self.state(now) is not AccessState.REQUESTED:
            raise self._not_possible(now)
        return self._with(AccessStep(AccessState.DECLINED, caller.node.id, now, caller.officer, reason))

    def revoked(self, caller: Caller, reason: str, now: datetime) -> "AccessRequest":
        """The request as it is once NPB takes back what it granted.

        Raises:
            Refused: ACCESS_STEP_NOT_POSSIBLE.
        """
        if self.state(now) is not AccessState.GRANTED:
            raise self._not_possible(now)
        return self._with(AccessStep(AccessState.REVOKED, caller.node.id, now, caller.officer, reason))

    def _require_decidable(self, reason: str, now: datetime) -> None:
        """NPB decides on what was forwarded; and with a reason on what was not in time."""
        if self.state(now) is AccessState.FORWARDED:
            return
        if not self.overdue(now):
            raise self._not_possible(now)
        if not reason:
            raise invalid(Violation("reason", "REQUIRED", "must say why NPB does not wait for the prosecutor"))

    def _with(self, step: AccessStep) -> "AccessRequest":
        return replace(self, steps=(*self.steps, step))

    def _not_possible(self, now: datetime) -> Refused:
        state = self.state(now)
        metadata = {"state": f"ACCESS_REQUEST_STATE_{state}"}
        if state is AccessState.REQUESTED:
            metadata["due_time"] = self.due_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Refused(
            Reason.ACCESS_STEP_NOT_POSSIBLE, "this cannot follow on what became of the request", metadata=metadata
        )


@dataclass(frozen=True, slots=True)
class Audience:
    """Which requests a node may know of: of one node, or of nodes of some jurisdictions; None for any.

    Attributes:
        node: id of the one that asks.
        jurisdictions: of nodes that ask.
    """

    node: str | None = None
    jurisdictions: Collection[str] | None = None


def audience(node: Node) -> Audience:
    """Which requests a node may know of: NPB of all, a prosecution of what it may forward, others of their own.

    A prosecution forwards for its province and, as FIRs of national bodies are prosecuted where they were made, for
    these (assumed); one without a jurisdiction for all.
    """
    if node.role is Role.NPB or (node.role is Role.PROSECUTION and not node.jurisdiction):
        return Audience()
    if node.role is Role.PROSECUTION:
        return Audience(jurisdictions=(node.jurisdiction, ""))
    return Audience(node=node.id)


def require_investigation(caller: Caller) -> Officer:
    """The officer of an FIR who asks; nobody else does.

    Raises:
        Refused: PURPOSE_NOT_ALLOWED.
    """
    if caller.officer is None or caller.officer.purpose is not Purpose.INVESTIGATION:
        raise Refused(Reason.PURPOSE_NOT_ALLOWED, "access is asked for an investigation, with its FIR number")
    return caller.officer


def needs_grant(caller: Caller, offender: Offender) -> bool:
    """Whether a caller reads a record only as far as NPB has granted it.

    Those who investigate do, beyond their own records and those proposed to them. NPB decides on the grants; courts,
    prisons and NADRA do not investigate: they read the record which an order, a release or a card in their hands is
    about.
    """
    return caller.node.role in (Role.POLICE, Role.FIA) and not is_party(caller, offender)


def released(requests: Iterable[AccessRequest], fir_number: str, now: datetime) -> frozenset[AccessScope]:
    """What the grants in force release for an FIR, of requests of one node about one record."""
    return frozenset(
        scope
        for request in requests
        if request.grant and request.state(now) is AccessState.GRANTED
        if request.fir and request.fir.number.lstrip("0") == fir_number.lstrip("0")
        for scope in request.grant.scopes
    )


def not_granted(offender: UUID, scope: AccessScope | None = None) -> Refused:
    """The access desk has not granted this, or no longer; it tells nothing of the record but its name, to ask with.

    Args:
        scope: which is needed, where it is a certain one.
    """
    return Refused(
        Reason.ACCESS_NOT_GRANTED,
        "records of other nodes are read as the access desk of NPB grants it for the FIR: ask by CreateAccessRequest",
        metadata={"offender": offender_name(offender)} | ({"scope": f"ACCESS_SCOPE_{scope}"} if scope else {}),
    )
