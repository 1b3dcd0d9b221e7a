"""Checks of a register of few, without a database, a feed or a line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from demo.people import cnic
from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.consent import GivenConsent
from hub.domain.disclosure import Channel, DisclosureMode, DisclosurePolicy
from hub.domain.errors import Reason, Refused
from hub.domain.lookup import CheckedRecord, Disclosed
from hub.domain.node import Caller, Node, NodeState, Role
from hub.domain.offender import Finality
from hub.domain.revision import Revision
from hub.lookup.index import LookupIndex
from hub.service.limits import CheckLimits, Rate
from hub.service.lookup import Lookup
from hub.service.vigilance import Thresholds, Vigilance
from hub.store.vault import Keyring, Vault
from hub.transport import convert

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROLE = Role.PUBLIC_GATEWAY
CALLER = Caller(Node("sms-7000", "SMS", ROLE, "", NodeState.ACTIVE, NOW), "nsor.lookup.v1.LookupService/CheckCnic")
PEOPLE = {
    "final": Finality.FINAL,
    "within the time for an appeal": Finality.APPEAL_WINDOW,
    "under appeal": Finality.UNDER_APPEAL,
    "set aside": Finality.SET_ASIDE,
}
NUMBERS = {**{name: cnic(number) for number, name in enumerate(PEOPLE)}, "nobody": cnic(100)}
HITS = ("final", "within the time for an appeal")


class Feed:
    """A feed that stands still."""

    epoch, revision, as_of = UUID(int=1), Revision(UUID(int=1), 1), NOW

    def age(self) -> float:
        return 0


@dataclass
class Policy:
    """A policy that tells the public so much, by either channel; None where it cannot be known."""

    mode: DisclosureMode | None

    async def in_force(self) -> DisclosurePolicy:
        if self.mode is None:
            raise Refused(Reason.DATABASE_UNAVAILABLE, "the policy cannot be read")
        return DisclosurePolicy({(ROLE, channel): self.mode for channel in Channel}, False, 1, "", NOW)


@dataclass
class Audit:
    """A log, and what happens while it is written."""

    meanwhile: Callable[[], None] = lambda: None
    entries: list[AuditEntry] = field(default_factory=list[AuditEntry])

    async def append(self, *entries: AuditEntry) -> None:
        self.entries += entries
        self.meanwhile()


@dataclass
class Consents:
    """Consents that are all good."""

    audit: Audit

    async def redeem(self, consent: GivenConsent, entry: AuditEntry) -> None:
        await self.audit.append(entry)


def lookup(policy: Policy, audit: Audit) -> Lookup:
    """Checks on a register of one convict for each finality."""
    ring = Keyring.generate()
    vault, index = Vault(lambda: ring), LookupIndex(convert.lookup.disclosed_person)
    for number, (name, finality) in enumerate(PEOPLE.items()):
        person = Disclosed(name, "نام", "Somebody", "کوئی", "FATHER", "MALE")
        blind = vault.index(Cnic.parse(NUMBERS[name]))
        index.load([CheckedRecord(bytes([number] * 16), 1, [blind], {finality}, person)])
    parts: Any = {"feed": Feed(), "audit": audit, "policy": policy, "consents": Consents(audit)}
    database: Any = None  # for alarms only, which are off
    return Lookup(
        index=index,
        blind_index=vault.index,
        clock=lambda: NOW,
        limits=CheckLimits(Rate(0, 0), Rate(0, 0), Rate(0, 0)),
        vigilance=Vigilance(database, lambda: NOW, Thresholds(0, 0, 0)),
        freshness_bound=5,
        provinces_as_of=lambda: NOW,
        **parts,
    )
