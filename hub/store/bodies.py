"""Sealed bodies: what is personal in a record, as JSON under the record's key."""

from collections.abc import Set
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import from_json

from hub.domain.cnic import Cnic
from hub.domain.history import Cause
from hub.domain.lookup import Disclosed
from hub.domain.node import Officer
from hub.domain.notice import Notice, NoticeFacts
from hub.domain.offender import Finality, Offender, OffenderFacts, Transfer
from hub.store.vault import RecordKey, Vault

_offender: TypeAdapter[OffenderFacts] = TypeAdapter(OffenderFacts)
_notice: TypeAdapter[NoticeFacts] = TypeAdapter(NoticeFacts)
_why: TypeAdapter[tuple[Officer | None, str]] = TypeAdapter(tuple[Officer | None, str])


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


def open_checked(
    vault: Vault, wrapped: bytes, *, id: str, version: int, body: bytes
) -> tuple[list[Cnic], Set[Finality], Disclosed]:
    """What checks need of one version of a record: the numbers, the finalities of the convictions, the person.

    A million of them are read whenever a worker starts, so the rest of the body is neither checked nor made objects of:
    a third of the time that `open_offender` takes. The seal vouches for the form.

    Args:
        id: of the record, as text.

    Raises:
        VaultError: the body was moved or changed, or belongs to other keys.
    """
    facts = from_json(vault.open(unwrap(vault, id, wrapped), body, _offender_place(id, version)))
    person = facts["person"]
    cnics: list[Cnic] = []
    for identity in (person, *person.get("others", ())):
        if identity["cnic"]:
            cnics.append(Cnic(identity["cnic"]["digits"]))
        if "history" in identity:
            cnics += [Cnic(former["was"]["digits"]) for former in identity["history"].get("cnics", ())]
    finalities = {Finality[conviction["finality"]] for conviction in facts["convictions"]}
    return cnics, finalities, Disclosed(*map(person.__getitem__, Disclosed._fields))


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
