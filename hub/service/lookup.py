"""Checking CNICs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.consent import GivenConsent
from hub.domain.disclosure import AUTHORITY, Channel, DisclosureMode, DisclosurePolicy, Grant
from hub.domain.errors import Refused
from hub.domain.lookup import Answer, Basis, CannotAnswerReason, Known, Outcome
from hub.domain.node import Caller
from hub.domain.ports import AuditLog
from hub.service.consents import Consents
from hub.service.feed import Feed, reach
from hub.service.limits import CheckLimits
from hub.service.vigilance import Vigilance

# The number that a text holds, the keyed hash of it, and the answer.
_Check = tuple[Cnic | None, bytes | None, Answer]
_INVALID = Answer(Outcome.INVALID_CNIC)

# Numbers that are looked up before others on the event loop get their turn.
_AT_ONCE = 100
# Of messages of many numbers in a worker: more would only queue before the audit log, and single checks behind them.
_ROSTERS_AT_ONCE = 2
# Seconds that a message of many numbers waits for its limits at most.
_ROSTER_PATIENCE = 60


class Index(Protocol):
    """The register in memory, see `hub.lookup.index`."""

    def find(self, cnic_index: bytes) -> Known:
        """What is known under a number."""
        ...


class Policy(Protocol):
    """The disclosure policy, see `hub.service.disclosure`."""

    async def in_force(self) -> DisclosurePolicy:
        """The policy; raises where it cannot be known."""
        ...


class Lookup:
    """The use cases of `nsor.lookup.v1.LookupService`.

    Args:
        blind_index: the keyed hash under which the index holds a number.
        freshness_bound: seconds; when the index is older, the answer is CANNOT_ANSWER.
        provinces_as_of: up to when the records of every province are known; None where that is not known.
        patience: seconds to wait at most for `at_least`.
    """

    def __init__(
        self,
        index: Index,
        feed: Feed,
        blind_index: Callable[[Cnic], bytes],
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        policy: Policy,
        consents: Consents,
        limits: CheckLimits,
        vigilance: Vigilance,
        freshness_bound: float,
        provinces_as_of: Callable[[], datetime | None],
        patience: float = 10,
    ) -> None:
        self._index = index
        self._feed = feed
        self._blind_index = blind_index
        self._audit = audit
        self._clock = clock
        self._policy = policy
        self._consents = consents
        self._limits = limits
        self._vigilance = vigilance
        self._freshness_bound = freshness_bound
        self._provinces_as_of = provinces_as_of
        self._patience = patience
        self._rosters = asyncio.Semaphore(_ROSTERS_AT_ONCE)

    async def check(
        self,
        caller: Caller,
        text: str,
        at_least: str = "",
        patience: float = float("inf"),
        end_user: bytes = b"",
        consent: GivenConsent | None = None,
    ) -> Answer:
        """Answers whether the holder of the CNIC in a text is a convict.

        The answer leaves only after its trace is durable.

        Args:
            at_least: token of a revision that the answer must not be older than; empty for none.
            patience: seconds to wait for that revision, if the caller's own patience is shorter than the hub's.
            end_user: what stands for the person behind a gateway; empty for none.
            consent: of the person, where the disclosure policy wants one; else it is not looked at.

        Raises:
            Refused: DATABASE_UNAVAILABLE (no trace, no answer), INVALID_REVISION, REVISION_EPOCH_CHANGED,
                REVISION_NOT_REACHED, TOO_MANY_REQUESTS, CONSENT_PASSCODE_WRONG, CONSENT_NOT_VALID.
        """
        self._limits.take(caller, end_user, 1, patience=0)
        await self.reach(at_least, patience)
        grant = await self._grant(caller, Channel.SINGLE)
        if consent and grant and grant.mode is DisclosureMode.CONSENTED:
            answer = await self._check_consented(caller, grant, text, end_user, consent)
        else:
            [answer] = await self._check(caller, grant, [text], end_user)
        [answer] = await self._in_force(grant, caller, Channel.SINGLE, [answer])
        return answer

    async def check_many(self, caller: Caller, texts: Sequence[str]) -> list[Answer]:
        """What `check` answers to each of many texts, in their order; all of their traces are durable at once.

        Who asks faster than its limits allow is made to wait.

        Raises:
            Refused: DATABASE_UNAVAILABLE, TOO_MANY_REQUESTS.
        """
        await asyncio.sleep(self._limits.take(caller, b"", len(texts), _ROSTER_PATIENCE))
        async with self._rosters:
            grant = await self._grant(caller, Channel.BATCH)
            answers = await self._check(caller, grant, texts)
        return await self._in_force(grant, caller, Channel.BATCH, answers)

    async def reach(self, at_least: str, patience: float) -> None:
        """Returns when answers are at least as new as a revision; see `check` for both arguments.

        Raises:
            Refused: INVALID_REVISION, REVISION_EPOCH_CHANGED, REVISION_NOT_REACHED.
        """
        await reach(self._feed, at_least, min(patience, self._patience))

    async def _check_consented(
        self, caller: Caller, grant: Grant, text: str, end_user: bytes, consent: GivenConsent
    ) -> Answer:
        """What is answered to whoever brings a consent, which is spent where the answer tells something."""
        [(cnic, subject, answer)] = self._look_up(replace(grant, mode=DisclosureMode.HIT_WITH_NAME), [text])
        entry = AuditEntry(self._clock(), caller, subject, answer.outcome)
        if answer.outcome in (Outcome.HIT, Outcome.NO_RECORD):
            await self._consents.redeem(consent, entry)
        else:
            await self._audit.append(entry)
        if cnic:
            self._vigilance.notice(caller, end_user, [(cnic, answer.outcome)])
            await self._vigilance.report()
        return answer

    async def _check(
        self, caller: Caller, grant: Grant | None, texts: Sequence[str], end_user: bytes = b""
    ) -> list[Answer]:
        answers: list[Answer] = []
        entries: list[AuditEntry] = []
        for first in range(0, len(texts), _AT_ONCE):
            if first:
                await asyncio.sleep(0)
            checks = self._look_up(grant, texts[first : first + _AT_ONCE])
            now = self._clock()
            entries += [AuditEntry(now, caller, subject, answer.outcome) for _, subject, answer in checks]
            answers += [answer for _, _, answer in checks]
            self._vigilance.notice(caller, end_user, [(cnic, answer.outcome) for cnic, _, answer in checks if cnic])
        await self._audit.append(*entries)
        await self._vigilance.report()
        return answers

    async def _grant(self, caller: Caller, channel: Channel) -> Grant | None:
        """What the caller is told; None where it cannot be known."""
        if not caller.node.role.public:
            return AUTHORITY
        try:
            return (await self._policy.in_force()).grant(caller.node.role, channel)
        except Refused:
            return None

    async def _in_force(
        self, grant: Grant | None, caller: Caller, channel: Channel, answers: list[Answer]
    ) -> list[Answer]:
        """The answers, or CANNOT_ANSWER for each where the policy ended while their traces were written."""
        if grant is None or await self._grant(caller, channel) == grant:
            return answers
        reason = CannotAnswerReason.POLICY_UNKNOWN
        return [
            Answer(Outcome.CANNOT_ANSWER, masked_cnic=answer.masked_cnic, reason=reason) if answer.basis else answer
            for answer in answers
        ]

    def _look_up(self, grant: Grant | None, texts: Sequence[str]) -> list[_Check]:
        reason = self._silence(grant)
        basis = None if reason else Basis(self._feed.as_of, self._feed.revision.token, self._provinces_as_of())
        checks: list[_Check] = []
        for text in texts:
            try:
                cnic = Cnic.parse(text)
            except ValueError:
                checks.append((None, None, _INVALID))
                continue
            subject = self._blind_index(cnic)
            if grant is None or basis is None:
                answer = Answer(Outcome.CANNOT_ANSWER, masked_cnic=cnic.masked, reason=reason)
            else:
                known = self._index.find(subject)
                hit = grant.is_hit(known.finalities)
                person = known.person if hit and grant.mode is DisclosureMode.HIT_WITH_NAME else b""
                outcome = Outcome.HIT if hit else Outcome.NO_RECORD
                answer = Answer(outcome, basis, person, cnic.masked)
            checks.append((cnic, subject, answer))
        return checks

    def _silence(self, grant: Grant | None) -> CannotAnswerReason | None:
        """Why nobody who is granted this gets an answer now; None where they do."""
        if grant is None:
            return CannotAnswerReason.POLICY_UNKNOWN
        if grant.mode is DisclosureMode.OFF:
            return CannotAnswerReason.DISCLOSURE_OFF
        if grant.mode is DisclosureMode.CONSENTED:
            return CannotAnswerReason.CONSENT_NEEDED
        return CannotAnswerReason.STALE_DATA if self._feed.age() > self._freshness_bound else None
