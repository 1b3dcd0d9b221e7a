"""A hit takes the same work as any other answer, counted without a clock: time would tell it to who cannot read it."""

import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from demo.people import cnic
from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.disclosure import Channel, DisclosureMode, DisclosurePolicy
from hub.domain.lookup import CheckedRecord, Disclosed, Outcome
from hub.domain.node import Caller, Node, NodeState, Role
from hub.domain.offender import Finality
from hub.domain.revision import Revision
from hub.lookup.index import LookupIndex
from hub.service.limits import CheckLimits, Rate
from hub.service.lookup import Lookup
from hub.service.vigilance import Thresholds, Vigilance
from hub.store.vault import Keyring, Vault
from hub.transport import convert
from hub.transport.redaction import redact
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicResponse

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
    """A policy that tells the public so much."""

    mode: DisclosureMode

    async def in_force(self) -> DisclosurePolicy:
        return DisclosurePolicy({(ROLE, Channel.SINGLE): self.mode}, False, 1, "", NOW)


class Audit:
    """A log that is written at once."""

    async def append(self, *entries: AuditEntry) -> None:
        assert len(entries) == 1


def lookup(mode: DisclosureMode) -> Lookup:
    """Checks on a register of one convict for each finality."""
    ring = Keyring.generate()
    vault, index = Vault(lambda: ring), LookupIndex(convert.lookup.disclosed_person)
    for number, (name, finality) in enumerate(PEOPLE.items()):
        person = Disclosed(name, "نام", "Somebody", "کوئی", "FATHER", "MALE")
        blind = vault.index(Cnic.parse(NUMBERS[name]))
        index.load([CheckedRecord(bytes([number] * 16), 1, [blind], {finality}, person)])
    parts: Any = {"feed": Feed(), "audit": Audit(), "policy": Policy(mode), "consents": None}
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


async def answer(checks: Lookup, text: str) -> tuple[Outcome, bytes]:
    """What is answered to a text, and the octets that leave."""
    answered = await checks.check(CALLER, text)
    message = convert.lookup.answer_message(answered)
    redact(message, ROLE)
    return answered.outcome, message.SerializeToString()


async def calls(checks: Lookup, text: str) -> Counter[str]:
    """How often an answer calls which function, of Python and of C."""
    counts: Counter[str] = Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            counts[f"{frame.f_code.co_filename} {frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            counts[argument.__qualname__] += 1

    sys.setprofile(count)
    try:
        await answer(checks, text)
    finally:
        sys.setprofile(None)
    return counts


@pytest.mark.parametrize("mode", [DisclosureMode.HIT_ONLY, DisclosureMode.HIT_WITH_NAME])
async def test_every_answer_takes_the_same_work(mode: DisclosureMode) -> None:
    checks = lookup(mode)
    answers = {name: await answer(checks, number) for name, number in NUMBERS.items()}
    assert {name for name, (outcome, _) in answers.items() if outcome is Outcome.HIT} == set(HITS)
    told = {name for name, (_, octets) in answers.items() if CheckCnicResponse.FromString(octets).HasField("person")}
    assert told == (set(HITS) if mode is DisclosureMode.HIT_WITH_NAME else set())
    assert {len(octets) for _, octets in answers.values()} == {1024}
    work = {name: await calls(checks, number) for name, number in NUMBERS.items()}
    assert sum(work["nobody"].values()) > 50, "the work was seen"
    for name in PEOPLE:
        assert work[name] == work["nobody"], name
