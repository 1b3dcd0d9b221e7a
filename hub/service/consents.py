"""Consents: people are asked, by way of NADRA, before they are checked."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Protocol
from uuid import UUID, uuid4

from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.consent import Consent, GivenConsent, Passcode, PasscodeDelivery, consent_not_valid
from hub.domain.disclosure import Channel, DisclosureMode
from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller
from hub.domain.ports import AuditLog, Database, RequestKey, Transaction
from hub.service.limits import CheckLimits, too_many_requests
from hub.service.registry import request_id_reused

log = logging.getLogger(__name__)

_DIGITS = 6
# For so long limits look back, and a retry is recognised; then a consent is removed.
_KEPT = timedelta(hours=1)
_PAGE = 200
_ROUND_SECONDS = 0.25
_ROUNDS_WITHOUT_SIGN = 8
_SWEEP_SECONDS = 5


@dataclass(frozen=True, slots=True)
class ConsentRules:
    """What bounds consents.

    Attributes:
        life: for which a passcode is good; an hour at most.
        tries: at a passcode.
        of_person: times that a person is asked in an hour, by all nodes.
        of_node: consents that a node may ask for in an hour.
    """

    life: timedelta
    tries: int
    of_person: int
    of_node: int


class Hashes(Protocol):
    """The keyed hashes by which secrets are kept, see `hub.store.vault`."""

    def index(self, document: Cnic, /) -> bytes:
        """The blind index of a number."""
        ...

    def passcode_hash(self, consent: UUID, passcode: str) -> bytes:
        """What is kept of the passcode of a consent."""
        ...


class Consents:
    """The use cases of `nsor.lookup.v1.ConsentService`, and the use of a consent by a check."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        hashes: Hashes,
        clock: Callable[[], datetime],
        *,
        limits: CheckLimits,
        rules: ConsentRules,
    ) -> None:
        self._database = database
        self._audit = audit
        self._hashes = hashes
        self._clock = clock
        self._limits = limits
        self._rules = rules

    async def request(self, caller: Caller, request: RequestKey, cnic: Cnic) -> Consent:
        """Has a passcode brought to a person. Sent again, it gives what it gave before.

        The register is not asked, so nobody learns from it who is there.

        Raises:
            Refused: CONSENT_NOT_NEEDED, TOO_MANY_REQUESTS, REQUEST_ID_REUSED.
        """
        self._limits.take(caller, b"", 1, patience=0)
        cnic_index = self._hashes.index(cnic)
        async with self._database.transaction() as tx:
            await tx.consents.take_turn()
            if past := await tx.consents.past(caller.node.id, request.id):
                digest, asked = past
                if digest != request.digest:
                    raise request_id_reused()
                return asked
            # As it is now, and not as this worker knew it: people are not to be bothered for nothing.
            policy = await tx.disclosure_policy()
            if policy.grant(caller.node.role, Channel.SINGLE).mode is not DisclosureMode.CONSENTED:
                raise Refused(Reason.CONSENT_NOT_NEEDED, "by the disclosure policy no consent is needed")
            now = self._clock()
            await self._require_room(tx, caller, cnic_index, now)
            id, code = uuid4(), f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
            asked = Consent(
                id=id,
                node_id=caller.node.id,
                cnic_index=cnic_index,
                passcode_hash=self._hashes.passcode_hash(id, code),
                tries_left=self._rules.tries,
                created_at=now,
                expires_at=now + self._rules.life,
            )
            await tx.consents.insert(asked, cnic, code, request)
            await tx.append_audit([AuditEntry(now, caller, cnic_index, "ALLOWED")])
        return asked

    async def redeem(self, given: GivenConsent, answer: AuditEntry) -> None:
        """Spends a consent for the answer to a check; with it the answer's audit entry becomes durable, or neither.

        Whatever is refused leaves an entry too, and costs a try where the passcode is wrong.

        Args:
            answer: the entry of the answer; its subject is the number that was checked.

        Raises:
            Refused: CONSENT_PASSCODE_WRONG, CONSENT_NOT_VALID, DATABASE_UNAVAILABLE (the consent may be spent). There
                must be no answer.
        """
        assert answer.subject, "a number was checked"
        refused: Refused | None = consent_not_valid()
        async with self._database.transaction() as tx:
            if consent := await tx.consents.lock(given.id):
                passcode_hash = self._hashes.passcode_hash(given.id, given.passcode)
                tried, refused = consent.redeem(answer.caller.node.id, answer.subject, passcode_hash, answer.at)
                await tx.consents.update_tries(tried)
            await tx.append_audit([answer._replace(decision=refused.reason) if refused else answer])
        # Only now, since what raises within the transaction undoes it.
        if refused:
            raise refused

    async def watch(self, caller: Caller) -> AsyncIterator[Sequence[Passcode]]:
        """Gives the passcodes that are to be brought to people, as they are asked for, until it is closed.

        Those come first that were not acknowledged and have not expired. An item without any is a sign of life.
        """
        await self._audit.append(AuditEntry(self._clock(), caller, None, "ALLOWED"))
        seq = 0
        for number in count():
            # Outside of the call's trace, which would grow with every look for as long as the stream lasts.
            passcodes = await asyncio.create_task(self._take(caller, seq), context=Context())
            if passcodes:
                seq = passcodes[-1].seq
            if passcodes or number % _ROUNDS_WITHOUT_SIGN == 0:
                yield passcodes
            await asyncio.sleep(_ROUND_SECONDS)

    async def acknowledge(self, caller: Caller, id: UUID, delivery: PasscodeDelivery) -> None:
        """Erases a passcode that was brought, or cannot be."""
        async with self._database.transaction() as tx:
            cnic_index = await tx.consents.erase_passcode(id)
            await tx.append_audit([AuditEntry(self._clock(), caller, cnic_index, delivery)])

    async def sweep_forever(self) -> None:
        """Erases what has expired, and removes what is older than an hour, until it is cancelled. All workers do."""
        while True:
            now = self._clock()
            try:
                async with self._database.transaction() as tx:
                    await tx.consents.take_turn()
                    await tx.consents.sweep(now, before=now - _KEPT)
            except Refused as refused:
                log.warning("consents were not swept: %s", refused.reason)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _take(self, caller: Caller, seq: int) -> Sequence[Passcode]:
        """The passcodes after a place, accounted for."""
        now = self._clock()
        async with self._database.transaction() as tx:
            passcodes = await tx.consents.undelivered(after=seq, now=now, limit=_PAGE)
            if passcodes:
                entries = [AuditEntry(now, caller, each.consent.cnic_index, "ALLOWED") for each in passcodes]
                await tx.append_audit(entries)
        return passcodes

    async def _require_room(self, tx: Transaction, caller: Caller, cnic_index: bytes, now: datetime) -> None:
        """Refuses what goes beyond the limits, with the time after which there is room again."""
        of_person = await tx.consents.nth_newest_of_person(cnic_index, self._rules.of_person)
        of_node = await tx.consents.nth_newest_of_node(caller.node.id, self._rules.of_node)
        for limit, counts_from in (("person_consents", of_person), ("node_consents", of_node)):
            if counts_from and (wait := (counts_from + _KEPT - now).total_seconds()) > 0:
                raise too_many_requests(limit, wait)
