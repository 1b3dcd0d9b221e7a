"""Sealed bodies: what is personal in a record, as JSON under the record's key."""

from collections.abc import Sequence, Set
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import msgspec
from pydantic import TypeAdapter

from hub.domain.cnic import Cnic
from hub.domain.history import Cause
from hub.domain.lookup import Disclosed
from hub.domain.node import Officer
from hub.domain.notice import Notice, NoticeFacts
from hub.domain.offender import Finality, Offender, OffenderFacts, Transfer
from hub.store.vault import RecordKey, Vault, VaultError

_offender: TypeAdapter[OffenderFacts] = TypeAdapter(OffenderFacts)
_notice: TypeAdapter[NoticeFacts] = TypeAdapter(NoticeFacts)
_why: TypeAdapter[tuple[Officer | None, str]] = TypeAdapter(tuple[Officer | None, str])


# What checks need of a body. The rest of it is skipped, which takes a third of the time of making objects of it.
class _Number(msgspec.Struct, gc=False):
    digits: str


class _Former(msgspec.Struct, gc=False):
    was: _Number


class _History(msgspec.Struct, gc=False):
    cnics: list[_Former] = []


class _Identity(msgspec.Struct, gc=False):
    cnic: _Number | None
    history: _History | None = None

    def numbers(self) -> list[_Number]:
        former = [former.was for former in self.history.cnics] if self.history else []
        return [self.cnic, *former] if self.cnic else former


class _Person(_Identity, gc=False, kw_only=True):
    full_name: str
    full_name_ur: str
    guardian_name: str
    guardian_name_ur: str
    guardian_relation: str
    sex: str
    others: list[_Identity] = []


class _Conviction(msgspec.Struct, gc=False):
    finality: Finality


class _Facts(msgspec.Struct, gc=False):
    person: _Person
    convictions: list[_Conviction]


_checked = msgspec.json.Decoder(_Facts)
_disclosed = attrgetter(*Disclosed._fields)


class SealedBody(NamedTuple):
    """One version of a record as it is stored, with the id of the record as text."""

    id: str
    version: int
    wrapped_key: bytes
    body: bytes


class CheckedFacts(NamedTuple):
    """What checks need of a body: all numbers of the person, the finalities of the convictions, what a hit may tell."""

    cnics: Sequence[Cnic]
    finalities: Set[Finality]
    person: Disclosed


def new_key(vault: Vault, offender_id: UUID) -> RecordKey:
    """A fresh key for a record."""
    return vault.new_key(_key_place(offender_id))


def unwrap(vault: Vault, offender_id: UUID | str, wrapped: bytes) -> bytes:
    """The plain key of a record."""
    return vault.unwrap(wrapped, _key_place(offender_id))


def rewrap(vault: Vault, offender_id: UUID, wrapped: bytes) -> bytes:
    """The same key under the newest wrapping key."""
    return vault.wrap(unwrap(vault, offender_id, wrapped), _key_place(offender_id))


def seal_facts(vault: Vault, key: bytes, offender_id: UUID, version: int, facts: OffenderFacts) -> bytes:
    """The body of one version of a record."""
    return vault.seal(key, _offender.dump_json(facts, exclude_defaults=True), _offender_place(offender_id, version))


def seal_why(vault: Vault, key: bytes, offender_id: UUID, version: int, cause: Cause) -> bytes:
    """Who at a node made a version, and why: words of people, so as personal as the record."""
    return vault.seal(key, _why.dump_json((cause.officer, cause.reason)), _why_place(offender_id, version))


def open_cause(
    vault: Vault,
    wrapped: bytes | None,
    *,
    id: UUID,
    version: int,
    actor: str,
    method: str,
    why: bytes | None,
) -> Cause:
    """How a version of a record came to be, from its columns.

    Raises:
        VaultError: it was moved or changed, or belongs to other keys.
    """
    officer, reason = None, ""
    if wrapped and why:
        officer, reason = _why.validate_json(vault.open(unwrap(vault, id, wrapped), why, _why_place(id, version)))
    return Cause(actor, method, officer, reason)


def open_offender(
    vault: Vault,
    wrapped: bytes | None,
    *,
    id: UUID,
    owner: str,
    version: int,
    body: bytes | None,
    created_at: datetime,
    changed_at: datetime,
    transfer: Transfer | None,
    merged_into: UUID | None,
) -> Offender:
    """One version of a record, from its columns; without its key it is a sealed one, without a body a merged one.

    Args:
        merged_into: what became of the record, whatever the version.

    Raises:
        VaultError: the body was moved or changed, or belongs to other keys.
    """
    facts = None
    if wrapped and body:
        plain = vault.open(unwrap(vault, id, wrapped), body, _offender_place(id, version))
        facts = _offender.validate_json(plain)
    return Offender(
        id=id,
        owner=owner,
        version=version,
        facts=facts,
        created_at=created_at,
        updated_at=changed_at,
        transfer=transfer,
        merged_into=None if facts else merged_into,
    )


def open_checked(vault: Vault, sealed: Sequence[SealedBody]) -> list[CheckedFacts]:
    """What checks need of many records, in their order.

    A million of them are read whenever a worker starts. So all go through one stage before the next one: what it runs
    through stays in the processor's caches meanwhile, which saves a sixth of the time.

    Raises:
        VaultError: a body was moved or changed, belongs to other keys, or is not of the form that this hub writes.
    """
    keys = [unwrap(vault, id, wrapped) for id, _, wrapped, _ in sealed]
    opened = [
        vault.open(key, body, _offender_place(id, version))
        for key, (id, version, _, body) in zip(keys, sealed, strict=True)
    ]
    return [_checked_facts(text, each.id) for text, each in zip(opened, sealed, strict=True)]


def _checked_facts(text: bytes, id: str) -> CheckedFacts:
    try:
        facts = _checked.decode(text)
    except msgspec.MsgspecError:
        raise VaultError(f"the body of offenders/{id} is not of the form that this hub writes") from None
    person = facts.person
    numbers = [number for identity in (person, *person.others) for number in identity.numbers()]
    return CheckedFacts(
        [Cnic(number.digits) for number in numbers],
        {conviction.finality for conviction in facts.convictions},
        Disclosed(*_disclosed(person)),
    )


def seal_notice(vault: Vault, key: bytes, notice_id: UUID, facts: NoticeFacts) -> bytes:
    """The body of a notice, under the key of its offender."""
    return vault.seal(key, _notice.dump_json(facts), _notice_place(notice_id))


def open_notice(
    vault: Vault,
    wrapped: bytes | None,
    *,
    id: UUID,
    offender_id: UUID,
    recorder: str,
    body: bytes,
    created_at: datetime,
) -> Notice:
    """A notice, from its columns; without the key of the record its facts are gone.

    Raises:
        VaultError: the body was moved or changed, or belongs to other keys.
    """
    facts = None
    if wrapped:
        facts = _notice.validate_json(vault.open(unwrap(vault, offender_id, wrapped), body, _notice_place(id)))
    return Notice(id=id, offender_id=offender_id, recorder=recorder, facts=facts, created_at=created_at)


def _key_place(offender_id: UUID | str) -> str:
    return f"offender|{offender_id}|wrapped_key"


def _offender_place(offender_id: UUID | str, version: int) -> str:
    return f"offender_revision|{offender_id}/{version}|body"


def _why_place(offender_id: UUID, version: int) -> str:
    return f"offender_revision|{offender_id}/{version}|why"


def _notice_place(notice_id: UUID) -> str:
    return f"notice|{notice_id}|body"
