"""Sealed bodies: what is personal in a record, as JSON under the record's key."""

from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter

from hub.domain.notice import Notice, NoticeFacts
from hub.domain.offender import Offender, OffenderFacts
from hub.store.vault import RecordKey, Vault

_offender: TypeAdapter[OffenderFacts] = TypeAdapter(OffenderFacts)
_notice: TypeAdapter[NoticeFacts] = TypeAdapter(NoticeFacts)


def new_key(vault: Vault, offender_id: UUID) -> RecordKey:
    """A fresh key for a record."""
    return vault.new_key(_key_place(offender_id))


def unwrap(vault: Vault, offender_id: UUID, wrapped: bytes) -> bytes:
    """The plain key of a record."""
    return vault.unwrap(wrapped, _key_place(offender_id))


def seal_offender(vault: Vault, key: bytes, offender: Offender) -> bytes:
    """The body of one version of a record."""
    place = _offender_place(offender.id, offender.version)
    return vault.seal(key, _offender.dump_json(offender.facts), place)


def open_offender(
    vault: Vault,
    wrapped: bytes,
    *,
    id: UUID,
    owner: str,
    version: int,
    body: bytes,
    created_at: datetime,
    changed_at: datetime,
) -> Offender:
    """One version of a record, from its columns.

    Raises:
        VaultError: the body was moved or changed, or belongs to other keys.
    """
    plain = vault.open(unwrap(vault, id, wrapped), body, _offender_place(id, version))
    return Offender(
        id=id,
        owner=owner,
        version=version,
        facts=_offender.validate_json(plain),
        created_at=created_at,
        updated_at=changed_at,
    )


def seal_notice(vault: Vault, key: bytes, notice: Notice) -> bytes:
    """The body of a notice, under the key of its offender."""
    return vault.seal(key, _notice.dump_json(notice.facts), _notice_place(notice.id))


def open_notice(
    vault: Vault,
    wrapped: bytes,
    *,
    id: UUID,
    offender_id: UUID,
    recorder: str,
    body: bytes,
    created_at: datetime,
) -> Notice:
    """A notice, from its columns.

    Raises:
        VaultError: the body was moved or changed, or belongs to other keys.
    """
    plain = vault.open(unwrap(vault, offender_id, wrapped), body, _notice_place(id))
    return Notice(
        id=id,
        offender_id=offender_id,
        recorder=recorder,
        facts=_notice.validate_json(plain),
        created_at=created_at,
    )


def _key_place(offender_id: UUID) -> str:
    return f"offender|{offender_id}|wrapped_key"


def _offender_place(offender_id: UUID, version: int) -> str:
    return f"offender_revision|{offender_id}/{version}|body"


def _notice_place(notice_id: UUID) -> str:
    return f"notice|{notice_id}|body"
