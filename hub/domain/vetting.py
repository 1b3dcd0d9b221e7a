"""Continuous vetting: who is watched by whom, and what a watcher is to be told."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from hub.domain.cnic import Cnic
from hub.domain.offender import Offender


class AlertKind(StrEnum):
    """What an alert tells. Names as in `nsor.lookup.v1.AlertKind`."""

    ON_REGISTER = "ON_REGISTER"
    SET_ASIDE = "SET_ASIDE"


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Somebody to be put on a watch list."""

    cnic: Cnic
    consent_reference: str
    reference: str


@dataclass(frozen=True, slots=True)
class WatchedPerson:
    """Somebody on a node's watch list.

    Attributes:
        cnic_index: blind index of the person's number, 32 octets; the number itself is not kept.
        consent_reference: the institution's proof that the person agreed.
        reference: by which the institution recognises the person; empty for none.
    """

    id: UUID
    cnic_index: bytes
    consent_reference: str
    reference: str
    created_at: datetime

    @property
    def name(self) -> str:
        """Resource name, "watchedPeople/{uuid}"."""
        return f"watchedPeople/{self.id}"


@dataclass(frozen=True, slots=True)
class Alert:
    """What a watcher is told of a record.

    Attributes:
        seq: its place among the alerts of the node; they only ascend.
        sent: whether the node may have read it.
    """

    id: UUID
    seq: int
    kind: AlertKind
    offender_id: UUID
    sent: bool
    created_at: datetime

    @property
    def name(self) -> str:
        """Resource name, "alerts/{uuid}"."""
        return f"alerts/{self.id}"


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched person as things stand.

    Attributes:
        told: the alert by which the watcher knows, or will know, that the person is on the register; None if it does
            not, or was told that the record was set aside. One about a record that was merged into `record` is about
            that.
        record: the record that stands under the person's number.
    """

    person: WatchedPerson
    told: Alert | None
    record: Offender | None


@dataclass(frozen=True, slots=True)
class KeptAlert:
    """An alert about somebody who is still watched.

    Attributes:
        record: the record that it is about, or into which that was merged; None if it is sealed.
    """

    alert: Alert
    person: WatchedPerson
    record: Offender | None


@dataclass(frozen=True, slots=True)
class PastAddition:
    """What a node was answered before under a request_id.

    Attributes:
        digest: SHA-256 over the method and the request.
        people: ids of the entries, in the order of the request; none of a request that took somebody off.
        added: how many of them were new.
    """

    digest: bytes
    people: tuple[UUID, ...]
    added: int


@dataclass(frozen=True, slots=True)
class ListHead:
    """How far a node's watch list is.

    Attributes:
        seq: number of its newest alert; 0 before the first.
        due: whether people on it are still to be compared with the register.
    """

    node_id: str
    seq: int
    due: bool


@dataclass(frozen=True, slots=True)
class Reaction:
    """What follows for a watcher.

    Attributes:
        take_back: the alert that was not sent yet is not true any more, so it is never sent.
        alerts: new ones, in their order, each with the id of the record that it is about.
    """

    take_back: bool = False
    alerts: tuple[tuple[AlertKind, UUID], ...] = ()


def react(told: Alert | None, record: UUID | None, *, hit: bool) -> Reaction:
    """What follows from how things stand; once it is done, nothing more does.

    Who was told of a record is told once, when it is set aside: an appeal alone, or another policy, takes nothing back
    that was said. Who was not told of it never learns that it was there.

    Args:
        told: see `Watched`.
        record: id of the record that stands under the number, if one does.
        hit: whether by the disclosure policy that record may be told of.
    """
    if told and told.offender_id == record and (told.sent or hit):
        return Reaction()
    alerts: list[tuple[AlertKind, UUID]] = []
    if told and told.sent:
        alerts.append((AlertKind.SET_ASIDE, told.offender_id))
    if record and hit:
        alerts.append((AlertKind.ON_REGISTER, record))
    return Reaction(take_back=told is not None and not told.sent, alerts=tuple(alerts))
