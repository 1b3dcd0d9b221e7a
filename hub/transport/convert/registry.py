"""Records of `nsor.registry.v1`, and what is asked of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from hub.domain.cnic import Cnic
from hub.domain.documents import Document, OldNic, Passport
from hub.domain.errors import Violation, invalid
from hub.domain.history import Version
from hub.domain.names import words
from hub.domain.offences import find_offence
from hub.domain.offender import (
    Conviction,
    CourtEvent,
    Finality,
    Offender,
    OffenderFacts,
    Transfer,
    VictimClass,
    offender_name,
)
from hub.domain.person import (
    Death,
    Former,
    Guardian,
    GuardianRelation,
    IdentityEvent,
    IdentityHistory,
    Name,
    Person,
    Sex,
)
from hub.domain.search import Candidate, Wanted
from hub.service.duplicates import Override
from hub.transport.convert.common import NO_CNIC, Reader, T, member, reading, timestamp, today, value
from nsor.common.v1 import officer_pb2
from nsor.registry.v1 import identity_pb2, offender_pb2, registry_service_pb2


def offender_id(name: str, field: str) -> UUID:
    """The id in a resource name "offenders/{uuid}".

    Raises:
        Refused: INVALID_FIELD.
    """
    try:
        collection, _, id = name.partition("/")
        if collection != "offenders":
            raise ValueError
        return UUID(id)
    except ValueError:
        raise invalid(Violation(field, "INVALID_NAME", 'must be of the form "offenders/{uuid}"')) from None


def offender_facts(message: offender_pb2.Offender, now: datetime, before: OffenderFacts | None = None) -> OffenderFacts:
    """What a caller states about an offender, checked against the register's rules.

    Args:
        before: what the record holds already; None on entry.

    Raises:
        Refused: INVALID_FIELD; paths begin at "offender.".
    """
    with reading() as read:
        who = message.person
        person = Person(
            cnic=read.cnic("offender.person.cnic", who.cnic) if who.cnic else None,
            full_name=read.name("offender.person.full_name", who.full_name),
            full_name_ur=read.urdu_name("offender.person.full_name_ur", who.full_name_ur),
            guardian_name=read.name("offender.person.guardian_name", who.guardian_name),
            guardian_name_ur=read.urdu_name("offender.person.guardian_name_ur", who.guardian_name_ur),
            guardian_relation=member(GuardianRelation, offender_pb2.GuardianRelation, who.guardian_relation),
            sex=member(Sex, offender_pb2.Sex, who.sex),
            date_of_birth=read.day("offender.person.date_of_birth", who.date_of_birth),
            old_nic=read.old_nic("offender.person.old_nic", who.old_nic) if who.old_nic else None,
            passports=_passports(read, who.passports),
            history=before.person.history if before else IdentityHistory(),
            others=before.person.others if before else (),
        )
        facts = OffenderFacts(
            person=person,
            district=read.district("offender.district", message.district),
            convictions=tuple(
                _conviction(read, f"offender.convictions[{index}]", conviction)
                for index, conviction in enumerate(message.convictions)
            ),
        )
        if not read.violations:
            read.violations.extend(facts.violations(today(now), before))
    return facts


def _passports(read: Reader, messages: Iterable[offender_pb2.Passport]) -> tuple[Passport, ...]:
    found = (read.passport(f"offender.person.passports[{index}]", each) for index, each in enumerate(messages))
    return tuple(passport for passport in found if passport)


def document(message: registry_service_pb2.FindOffenderRequest) -> Document:
    """The document that a record is to be found by.

    Raises:
        Refused: INVALID_FIELD.
    """
    with reading() as read:
        match message.WhichOneof("document"):
            case "old_nic":
                found = read.old_nic("old_nic", message.old_nic)
            case "passport":
                found = read.passport("passport", message.passport)
            case _:
                found = read.cnic("cnic", message.cnic)
    return found or NO_CNIC


def wanted(message: registry_service_pb2.SearchOffendersRequest, now: datetime) -> Wanted:
    """What is known of a person who is sought.

    Raises:
        Refused: INVALID_FIELD.
    """
    with reading() as read:
        found = Wanted(
            name=read.text("person_name", message.person_name, required=False),
            guardian=read.text("guardian", message.guardian, required=False),
            date_of_birth=read.optional_day("date_of_birth", message.date_of_birth),
            district=read.district("district", message.district) if message.district else "",
            offence_code=message.offence_code,
            finality=member(Finality, offender_pb2.Finality, message.finality) if message.finality else None,
            fir_number=message.fir_number,
        )
        if found.date_of_birth and found.date_of_birth > today(now):
            read.wrong("date_of_birth", "IN_FUTURE", "must not lie in the future")
        if found.offence_code and not find_offence(found.offence_code):
            read.wrong("offence_code", "UNKNOWN_OFFENCE", "is not in the offence table")
        for field, name in (("person_name", found.name), ("guardian", found.guardian)):
            if name and not words(name):
                read.wrong(field, "NO_NAME", "must hold a word in Latin or Urdu letters")
        if not (found.name or found.guardian or found.fir_number or read.violations):
            read.wrong("person_name", "REQUIRED", "must be given, or the guardian, or the FIR number")
    return found


def candidate_message(candidate: Candidate) -> registry_service_pb2.OffenderCandidate:
    """A record that a search found, as a message."""
    person = candidate.facts.person
    return registry_service_pb2.OffenderCandidate(
        offender=candidate.offender.name,
        score=candidate.score,
        owner=f"nodes/{candidate.offender.owner}",
        full_name=person.full_name,
        full_name_ur=person.full_name_ur,
        guardian_name=person.guardian_name,
        guardian_name_ur=person.guardian_name_ur,
        birth_year=person.date_of_birth.year,
        district=candidate.facts.district,
    )


def override(
    message: registry_service_pb2.CreateOffenderRequest | registry_service_pb2.ImportOffendersRequest,
) -> Override | None:
    """That a person who is entered is none of those much alike.

    Raises:
        Refused: INVALID_FIELD.
    """
    if not message.HasField("duplicate_override"):
        return None
    given, field = message.duplicate_override, "duplicate_override.not_the_same_as"
    others = frozenset(offender_id(name, field) for name in given.not_the_same_as)
    with reading() as read:
        return Override(others, read.text("duplicate_override.reason", given.reason))


def court_event(message: registry_service_pb2.RecordCourtEventRequest, now: datetime) -> tuple[CourtEvent, date]:
    """What happened at a court, and on which day.

    Raises:
        Refused: INVALID_FIELD.
    """
    with reading() as read:
        day = read.day("event_date", message.event_date)
        if day > today(now):
            read.wrong("event_date", "IN_FUTURE", "must not lie in the future")
    return member(CourtEvent, offender_pb2.CourtEvent, message.event), day


def identity_event(message: identity_pb2.IdentityEvent, now: datetime) -> tuple[Cnic | OldNic, IdentityEvent, date]:
    """The number of a card, what its holder has become, and since which day.

    Raises:
        Refused: INVALID_FIELD.
    """
    with reading() as read:
        card = read.cnic("event.cnic", message.cnic) if message.cnic else read.old_nic("event.old_nic", message.old_nic)
        day = read.day("event.event_date", message.event_date)
        if day > today(now):
            read.wrong("event.event_date", "IN_FUTURE", "must not lie in the future")
        event = _identity(read, message)
    return card or NO_CNIC, event, day


def _identity(read: Reader, message: identity_pb2.IdentityEvent) -> IdentityEvent:
    match message.WhichOneof("detail"):
        case "new_name":
            name, path = message.new_name, "event.new_name"
            return Name(
                read.name(f"{path}.full_name", name.full_name),
                read.urdu_name(f"{path}.full_name_ur", name.full_name_ur),
            )
        case "new_guardian":
            guardian, path = message.new_guardian, "event.new_guardian"
            return Guardian(
                read.name(f"{path}.guardian_name", guardian.guardian_name),
                read.urdu_name(f"{path}.guardian_name_ur", guardian.guardian_name_ur),
                member(GuardianRelation, offender_pb2.GuardianRelation, guardian.guardian_relation),
            )
        case "new_cnic":
            return read.cnic("event.new_cnic.cnic", message.new_cnic.cnic) or NO_CNIC
        case _:
            return Death()


def _conviction(read: Reader, path: str, message: offender_pb2.Conviction) -> Conviction:
    return Conviction(
        court=read.text(f"{path}.court", message.court),
        case_number=read.text(f"{path}.case_number", message.case_number),
        fir_number=message.fir_number,
        police_station=read.text(f"{path}.police_station", message.police_station),
        offence_code=message.offence_code,
        conviction_date=read.day(f"{path}.conviction_date", message.conviction_date),
        finality=member(Finality, offender_pb2.Finality, message.finality),
        finality_date=read.optional_day(f"{path}.finality_date", message.finality_date),
        victim_class=member(VictimClass, offender_pb2.VictimClass, message.victim_class),
    )


def offender_message(offender: Offender) -> offender_pb2.Offender:
    """A record as a message; one that is sealed or merged without what it was about."""
    message = _facts_message(offender.facts) if offender.facts else offender_pb2.Offender()
    message.MergeFrom(
        offender_pb2.Offender(
            name=offender.name,
            owner=f"nodes/{offender.owner}",
            status=value(offender_pb2.OffenderStatus, offender.status),
            etag=offender.etag,
            create_time=timestamp(offender.created_at),
            update_time=timestamp(offender.updated_at),
            transfer=transfer_message(offender.transfer) if offender.transfer else None,
            merged_into=offender_name(offender.merged_into) if offender.merged_into else "",
        )
    )
    return message


def revision_message(version: Version, before: Version | None) -> registry_service_pb2.OffenderRevision:
    """How a version of a record came to be, as a message; `before` is the version before it, None for the first."""
    offender, cause = version.offender, version.cause
    message = registry_service_pb2.OffenderRevision(
        version=offender.version,
        node=f"nodes/{cause.node}",
        method=cause.method,
        reason=cause.reason,
        change_time=timestamp(offender.updated_at),
    )
    if before:
        changed = _changed_fields(offender_message(before.offender), offender_message(offender))
        message.changed_fields.extend(path for path in changed if path not in ("etag", "update_time"))
    if cause.officer:
        message.officer.officer_id = cause.officer.id
        message.officer.purpose = value(officer_pb2.Purpose, cause.officer.purpose)
        message.officer.fir_number = cause.officer.fir_number
    return message


def _changed_fields(before: Any, after: Any, prefix: str = "") -> Iterator[str]:
    """Paths of the fields in which two messages of one type differ, as deep as both have them."""
    for field in before.DESCRIPTOR.fields:
        path = f"{prefix}{field.name}"
        old: Any = getattr(before, field.name)
        new: Any = getattr(after, field.name)
        if old == new:
            continue
        if field.is_repeated:
            for index, (one, other) in enumerate(zip(old, new, strict=False)):
                yield from _changed_fields(one, other, f"{path}[{index}].")
            for index in range(min(len(old), len(new)), max(len(old), len(new))):
                yield f"{path}[{index}]"
        elif field.message_type and before.HasField(field.name) and after.HasField(field.name):
            # Of a message that is not ours, such as a time, no part says anything.
            ours = field.message_type.full_name.startswith("nsor.")
            yield from _changed_fields(old, new, f"{path}.") if ours else [path]
        else:
            yield path


def transfer_message(transfer: Transfer) -> offender_pb2.Transfer:
    """An open proposal as a message."""
    return offender_pb2.Transfer(
        offender=offender_name(transfer.offender_id),
        sender=f"nodes/{transfer.sender}",
        receiver=f"nodes/{transfer.receiver}",
        due_time=timestamp(transfer.due_at),
    )


def _facts_message(facts: OffenderFacts) -> offender_pb2.Offender:
    return offender_pb2.Offender(
        person=_person_message(facts.person),
        district=facts.district,
        convictions=[_conviction_message(number, conviction) for number, conviction in enumerate(facts.convictions, 1)],
        other_identities=map(_person_message, facts.person.others),
    )


def _person_message(person: Person) -> offender_pb2.Person:
    return offender_pb2.Person(
        cnic=person.cnic.formatted if person.cnic else "",
        full_name=person.full_name,
        full_name_ur=person.full_name_ur,
        guardian_name=person.guardian_name,
        guardian_name_ur=person.guardian_name_ur,
        guardian_relation=value(offender_pb2.GuardianRelation, person.guardian_relation),
        sex=value(offender_pb2.Sex, person.sex),
        date_of_birth=person.date_of_birth.isoformat(),
        old_nic=person.old_nic.formatted if person.old_nic else "",
        passports=[offender_pb2.Passport(country=each.country, number=each.number) for each in person.passports],
        history=_history_message(person.history) if person.history != IdentityHistory() else None,
    )


def _history_message(history: IdentityHistory) -> offender_pb2.IdentityHistory:
    return offender_pb2.IdentityHistory(
        former_names=[
            offender_pb2.FormerName(
                full_name=name.full_name, full_name_ur=name.full_name_ur, begin_date=begin, end_date=end
            )
            for name, begin, end in _periods(history.names)
        ],
        former_guardians=[
            offender_pb2.FormerGuardian(
                guardian_name=guardian.guardian_name,
                guardian_name_ur=guardian.guardian_name_ur,
                guardian_relation=value(offender_pb2.GuardianRelation, guardian.guardian_relation),
                begin_date=begin,
                end_date=end,
            )
            for guardian, begin, end in _periods(history.guardians)
        ],
        former_cnics=[
            offender_pb2.FormerCnic(cnic=cnic.formatted, begin_date=begin, end_date=end)
            for cnic, begin, end in _periods(history.cnics)
        ],
        death_date=history.died_on.isoformat() if history.died_on else "",
    )


def _periods(past: Sequence[Former[T]]) -> Iterator[tuple[T, str, str]]:
    """What was, the day on which it began (empty for the first, which is not known), and the day on which it ended."""
    begin = ""
    for former in past:
        end = former.until.isoformat()
        yield former.was, begin, end
        begin = end


def _conviction_message(number: int, conviction: Conviction) -> offender_pb2.Conviction:
    return offender_pb2.Conviction(
        court=conviction.court,
        case_number=conviction.case_number,
        fir_number=conviction.fir_number,
        police_station=conviction.police_station,
        offence_code=conviction.offence_code,
        offence_basis=value(offender_pb2.OffenceBasis, conviction.offence_basis),
        conviction_date=conviction.conviction_date.isoformat(),
        finality=value(offender_pb2.Finality, conviction.finality),
        finality_date=conviction.finality_date.isoformat() if conviction.finality_date else "",
        victim_class=value(offender_pb2.VictimClass, conviction.victim_class),
        number=number,
    )


_MAX_PATHS = 20

_UPDATABLE = {"person", "district", "convictions"} | {
    f"person.{field.name}" for field in offender_pb2.Person.DESCRIPTOR.fields if field.name != "history"
}


def masked(
    current: OffenderFacts,
    change: offender_pb2.Offender,
    mask: FieldMask,
    validate: Callable[[offender_pb2.Offender], None],
) -> offender_pb2.Offender:
    """The facts of a record as they would stand after an update (AIP-134).

    Args:
        validate: applies the contract's rules to the result.

    Raises:
        Refused: INVALID_FIELD.
    """
    wrong = [path for path in mask.paths if path not in _UPDATABLE]
    if wrong or not 1 <= len(mask.paths) <= _MAX_PATHS:
        raise invalid(Violation("update_mask", "INVALID_PATH", "must name fields that an update can change"))
    result = _facts_message(current)
    # Repeated fields are replaced as a whole, as the AIP says.
    mask.MergeMessage(change, result, True, True)
    validate(result)
    return result
