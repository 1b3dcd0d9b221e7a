"""The conversation: a text from a phone, one question to the hub, one Urdu reply.

At least once: a message that was acknowledged is answered, whatever dies in between; in doubt it is answered
twice rather than never, since a repeated reply is harmless and a lost one is not. So a submit_sm whose answer
did not come is made again; a handset drops a part of a long text that it already has.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import Final
from uuid import uuid4

from nsor.lookup.v1 import lookup_service_pb2 as lookup
from nsor_client import (
    AsyncClient,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NsorError,
    ResourceExhausted,
    Unavailable,
)
from sms_bridge.journal import Conversation, End, Journal, JournalFull
from sms_bridge.replies import reply_for
from sms_bridge.smpp.pdu import CommandStatus, DeliverSm, PduError
from sms_bridge.smpp.session import (
    Session,
    SessionClosed,
    SmscConfig,
    SubmitRefused,
    SubmitUnknown,
    maintain,
)
from sms_bridge.smpp.text import (
    InboundSegment,
    Segment,
    UnreadableText,
    UnsendableText,
    encode_segments,
    inbound_segment,
)
from sms_bridge.telemetry import Telemetry, traceparent

MAX_TEXT_OCTETS: Final = 4000
"""Octets of the longest message that is kept: 2,000 characters of UCS-2, as many as the hub reads."""

_MAY_PASS: Final = (Unavailable, DeadlineExceeded, ResourceExhausted, InternalError)
_TIDY_INTERVAL: Final = 60.0
_RETRY_INTERVAL: Final = 5.0
_MAX_FAILURES: Final = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a bridge behaves; times in seconds.

    Args:
        shortcode: the number that people text, and that replies come from.
        conversations: how many are carried on at once.
        submits_per_second: the most messages that the operator wants from us.
        hub_timeout: for one question to the hub.
        hub_patience: after the question, for which a hub that does not answer is asked again; then the reply is
            "cannot answer". After a restart it counts from there.
        submit_patience: for which an SMSC that does not take a reply is asked again; then it is given up.
        stop_patience: for which a bridge that is told to stop goes on with what it has in hand.
    """

    shortcode: str = "7000"
    conversations: int = 32
    submits_per_second: float = 50.0
    hub_timeout: float = 5.0
    hub_patience: float = 60.0
    submit_patience: float = 24 * 3600.0
    stop_patience: float = 10.0


class Bridge:
    """Carries on conversations between an SMSC and a hub, by way of a journal. Call `run`."""

    def __init__(
        self, settings: Settings, journal: Journal, client: AsyncClient, telemetry: Telemetry | None = None
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._client = client
        self._telemetry = telemetry or Telemetry()
        self._in_hand: asyncio.Queue[Conversation] = asyncio.Queue(settings.conversations)
        self._has_received = asyncio.Event()
        self._pace = _Pace(settings.submits_per_second)
        # Anew at each start and kept nowhere: nobody can link a phone to its hash later, and there is nothing to guard.
        self._key = secrets.token_bytes(32)
        self._session: Session | None = None
        self._session_id = uuid4().hex
        self._started_at = time.time()
        self._is_stopping = False
        self.bound = asyncio.Event()
        """Set while the SMSC has us bound."""

    async def run(self, config: SmscConfig, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then take nothing more, finish what is in hand, and unbind.

        What could not be finished within `stop_patience` stands in the journal for the next start.
        """
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(self._feed())
            serving = [
                tasks.create_task(maintain(config, self._on_deliver, self._on_bound)),
                tasks.create_task(self._tidy()),
                *(tasks.create_task(self._work()) for _ in range(self._settings.conversations)),
            ]
            await stop.wait()
            self._is_stopping = True
            feeding.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.stop_patience):
                    await self._in_hand.join()
            for task in serving:
                task.cancel()

    # From the SMSC into the journal

    async def _on_bound(self, session: Session) -> None:
        self._session = session
        self.bound.set()
        try:
            await session.closed()
        finally:
            self.bound.clear()
            # Now, and not at the next bind: its first deliveries may come before we hear that it is bound.
            self._session_id = uuid4().hex

    async def _on_deliver(self, message: DeliverSm) -> CommandStatus:
        if message.is_notice or not self._can_answer(message.source):
            return CommandStatus.ESME_ROK
        if self._is_stopping:
            return CommandStatus.ESME_RX_T_APPN
        with self._telemetry.receive(self._settings.shortcode):
            try:
                await self._journal.receive(_kept(message), session_id=self._session_id, trace=traceparent())
            except JournalFull:
                return CommandStatus.ESME_RMSGQFUL
            finally:
                # Also if the session breaks meanwhile: what was stored is carried on.
                self._has_received.set()
        return CommandStatus.ESME_ROK

    def _can_answer(self, source: str) -> bool:
        """Whether a handset can be behind a number: no name can, and to answer ourselves would never end."""
        digits = source.removeprefix("+")
        return digits.isascii() and digits.isdecimal() and digits != self._settings.shortcode

    # From the journal to the hub, and back to the SMSC

    async def _feed(self) -> None:
        """Take the conversations in hand, in their order; at first those of an earlier run."""
        last_id = 0
        while True:
            self._has_received.clear()
            try:
                conversations = await self._journal.unfinished(after=last_id)
            except sqlite3.Error as error:
                _log.error("the journal could not be read: %s", error)
                await asyncio.sleep(_RETRY_INTERVAL)
                continue
            for conversation in conversations:
                await self._in_hand.put(conversation)
                last_id = conversation.id
            if not conversations:
                await self._has_received.wait()

    async def _work(self) -> None:
        while True:
            conversation = await self._in_hand.get()
            for delay in islice(_delays(), _MAX_FAILURES):
                try:
                    await self._converse(conversation)
                    break
                except Exception as error:
                    # Such as a full disk. The text of an error might tell of a person, unless it is SQLite's.
                    text = str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
                    _log.error("conversation %d failed: %s", conversation.id, text)
                    await asyncio.sleep(delay)
            else:
                _log.error("conversation %d is left for the next start", conversation.id)
            self._in_hand.task_done()

    async def _converse(self, conversation: Conversation) -> None:
        with self._telemetry.conversation(self._settings.shortcode, conversation.trace) as span:
            if not conversation.reply:
                waited = time.time() - max(conversation.begun_at, self._started_at)
                response = await self._ask(conversation, self._settings.hub_patience - max(waited, 0.0))
                conversation = replace(conversation, outcome=_name(response.outcome), reply=reply_for(response))
                await self._journal.answered(conversation.id, outcome=conversation.outcome, reply=conversation.reply)
            span.set_attribute("nsor.outcome", conversation.outcome)
            end, session_id = await self._send(conversation)
            await self._journal.finish(conversation.id, end, session_id=session_id)
        self._telemetry.ended(conversation.outcome, end)

    async def _ask(self, conversation: Conversation, patience: float) -> lookup.CheckCnicResponse:
        """The hub's answer; "cannot answer" where it gives none, asked at least once and for `patience` seconds."""
        text = conversation.text
        if not text or text.isspace():
            return lookup.CheckCnicResponse(outcome=lookup.OUTCOME_INVALID_CNIC)
        deadline = asyncio.get_running_loop().time() + patience
        for delay in _delays():
            try:
                return await self._client.check_cnic(
                    text, end_user=self._end_user(conversation.source), timeout=self._settings.hub_timeout
                )
            except InvalidRequest:  # longer than any text about a number
                return lookup.CheckCnicResponse(outcome=lookup.OUTCOME_INVALID_CNIC)
            except NsorError as error:
                delay = max(delay, error.retry_after or 0.0)
                is_late = asyncio.get_running_loop().time() + delay > deadline
                if is_late or not isinstance(error, _MAY_PASS):
                    _log.error("the hub gave no answer: %s", error.reason_name or error.code.name)
                    break
            await asyncio.sleep(delay)
        return lookup.CheckCnicResponse(outcome=lookup.OUTCOME_CANNOT_ANSWER)

    def _end_user(self, source: str) -> bytes:
        """What stands for a phone at the hub, which limits how often each may ask and never learns its number."""
        return blake2b(source.encode(), key=self._key, digest_size=16).digest()

    async def _send(self, conversation: Conversation) -> tuple[End, str]:
        """Submit what is left of a reply; how that ended, and the session that took the last of it."""
        session_id = self._session_id
        try:
            segments = encode_segments(conversation.reply, reference=conversation.id)
            async with asyncio.timeout(self._settings.submit_patience):
                for number, segment in enumerate(segments[conversation.submitted :], conversation.submitted + 1):
                    with self._telemetry.submit():
                        session_id = await self._submit(conversation.source, segment)
                    await self._journal.submitted(conversation.id, number)
        except SubmitRefused as error:
            _log.error("conversation %d is given up: %s", conversation.id, error)
            return End.REFUSED, session_id
        except (PduError, UnsendableText) as error:
            _log.error("conversation %d is given up: %s", conversation.id, error)
            return End.UNSENDABLE, session_id
        except TimeoutError:
            _log.error("conversation %d is given up: the SMSC did not take the reply", conversation.id)
            return End.EXPIRED, session_id
        return End.DONE, session_id

    async def _submit(self, destination: str, segment: Segment) -> str:
        """Submit one segment until the SMSC has taken it, and return the id of the session that did."""
        for delay in _delays():
            await self.bound.wait()
            await self._pace.wait()
            session, session_id = self._session, self._session_id
            assert session is not None
            try:
                await session.submit(source=self._settings.shortcode, destination=destination, segment=segment)
                return session_id
            except SubmitRefused as error:
                if not error.status.is_temporary:
                    raise
            except (SessionClosed, SubmitUnknown):
                pass
            await asyncio.sleep(delay)
        raise AssertionError("the delays never end")

    async def _tidy(self) -> None:
        while True:
            try:
                self._telemetry.queue(await self._journal.tidy())
                self._has_received.set()
            except sqlite3.Error as error:
                _log.error("the journal could not be tidied: %s", error)
            await asyncio.sleep(_TIDY_INTERVAL)


class _Pace:
    """Lets callers pass at no more than `rate` a second."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next_at = 0.0

    async def wait(self) -> None:
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next_at)
        self._next_at = turn + self._interval
        await asyncio.sleep(turn - now)


def _kept(message: DeliverSm) -> InboundSegment:
    """What is kept of a message; of one that is broken, or longer than any question, that it came."""
    with suppress(UnreadableText):
        segment = inbound_segment(message)
        if len(segment.payload) <= MAX_TEXT_OCTETS:
            return segment
    return InboundSegment(message.source, message.destination, message.data_coding, b"")


def _name(outcome: lookup.Outcome.ValueType) -> str:
    """An outcome for counters, as "no_record"; "unknown" is one that a later contract has."""
    is_known = outcome in lookup.Outcome.values()
    return lookup.Outcome.Name(outcome).removeprefix("OUTCOME_").lower() if is_known else "unknown"


def _delays() -> Iterator[float]:
    """Seconds to wait between attempts, without end: doubling, less up to half, so that attempts spread."""
    delay = 0.5
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(2 * delay, 10.0)
