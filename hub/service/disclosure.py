"""The disclosure policy: changed by NPB, and in force in this process."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from hub.domain.audit import AuditEntry
from hub.domain.disclosure import Channel, DisclosureMode, DisclosurePolicy
from hub.domain.errors import Reason, Refused
from hub.domain.node import Caller, Role
from hub.domain.ports import Database, RequestKey
from hub.service.registry import request_id_reused

# With the time that an answer takes, half of the second within which a new policy must be in force.
_MAX_AGE = 0.5


class Disclosure:
    """The use cases about the policy.

    Args:
        steady: a clock that is never set, in seconds.
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime], steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._clock = clock
        self._steady = steady
        self._policy: DisclosurePolicy | None = None
        self._asked_at = float("-inf")
        self._reading: asyncio.Task[DisclosurePolicy] | None = None

    async def in_force(self) -> DisclosurePolicy:
        """The policy as it was at most half a second ago; read anew when it is older, once for all who ask meanwhile.

        Raises:
            Refused: DATABASE_UNAVAILABLE, also where reading it takes longer than that.
        """
        if self._policy is not None and self._steady() - self._asked_at <= _MAX_AGE:
            return self._policy
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        # Shielded: the first one who asks may go away, and the others wait on.
        policy = await asyncio.shield(self._reading)
        if self._steady() - self._asked_at > _MAX_AGE:
            raise Refused(Reason.DATABASE_UNAVAILABLE, "the policy took too long to read")
        return policy

    async def get(self) -> DisclosurePolicy:
        """The policy as it is. It tells nothing about a person, so reading it leaves no audit entry."""
        async with self._database.transaction() as tx:
            return await tx.disclosure_policy()

    async def _read(self) -> DisclosurePolicy:
        asked_at = self._steady()
        self._policy = await self.get()
        self._asked_at = asked_at
        return self._policy

    async def update(
        self,
        caller: Caller,
        request: RequestKey,
        etag: str,
        modes: Mapping[tuple[Role, Channel], DisclosureMode],
        *,
        under_appeal: bool,
    ) -> DisclosurePolicy:
        """Replaces the policy. Sent again, it gives what it gave before.

        Raises:
            Refused: ETAG_MISMATCH, REQUEST_ID_REUSED.
        """
        async with self._database.transaction() as tx:
            if past := await tx.past_disclosure_policy(caller.node.id, request.id):
                digest, policy = past
                if digest != request.digest:
                    raise request_id_reused()
                return policy
            current = await tx.disclosure_policy()
            if etag != current.etag:
                raise Refused(Reason.ETAG_MISMATCH, "the policy was changed since it was read")
            now = self._clock()
            policy = DisclosurePolicy(modes, under_appeal, current.version + 1, caller.node.id, now)
            # Of two at once, the second fails at the number and is told to retry.
            await tx.insert_disclosure_policy(policy, request)
            await tx.append_audit([AuditEntry(now, caller, policy.name.encode(), "ALLOWED")])
        return policy
