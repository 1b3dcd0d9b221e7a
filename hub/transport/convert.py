"""Messages of the contract as entities of the domain, and back.

Requests come here after the contract's own rules were applied, so what is left to check is what these cannot say: that
a date is in the calendar, a district in the gazetteer, a text not blank. Everything wrong is collected, then refused at
once.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, TypedDict, TypeVar
from uuid import UUID

import pycountry
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from hub.domain.alarm import Alarm
from hub.domain.area import AreaMonth
from hub.domain.cnic import Cnic
from hub.domain.consent import Consent, GivenConsent, Passcode, PasscodeDelivery
from hub.domain.disclosure import Channel, DisclosureMode, DisclosurePolicy
from hub.domain.districts import TIME_ZONE, districts, find_district
from hub.domain.documents import Document, OldNic, Passport
from hub.domain.errors import Violation, invalid
from hub.domain.feed import Event, FederationStatus, IndexedOffender, Progress
from hub.domain.history import Version
from hub.domain.lookup import Answer, Disclosed
from hub.domain.names import words
from hub.domain.node import Node, Officer, Purpose, Role
from hub.domain.notice import AddressChange, NameChange, Notice, NoticeFacts, Travel, TravelScope
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
from hub.domain.ports import RequestKey
from hub.domain.reconciliation import Difference
from hub.domain.revision import Revision
from hub.domain.search import Candidate, Wanted
from hub.domain.vetting import Alert, NewPerson, WatchedPerson
from hub.service.duplicates import Override
from nsor.common.v1 import access_pb2, officer_pb2
from nsor.federation.v1 import federation_service_pb2, node_pb2
from nsor.lookup.v1 import (
    alarm_pb2,
    area_pb2,
    consent_pb2,
    consent_service_pb2,
    disclosure_pb2,
    lookup_service_pb2,
    vetting_service_pb2,
    watch_list_pb2,
)
from nsor.monitoring.v1 import notice_pb2
from nsor.registry.v1 import identity_pb2, offender_pb2, registry_service_pb2

# Longer than the longest names make an answer, nearly always.
_ANSWER_OCTETS = 1024
ROSTER_OCTETS = 16_384

_SCRIPTS = {"LATIN": "Latin", "ARABIC": "Urdu"}
# Zero-width joiners shape Urdu words. The other marks come along when people paste, and say nothing.
_JOINERS = "\u200c\u200d"
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff"))

# Only refused readings have no number, and these do not leave the block that reads.
_NO_CNIC = Cnic("9000000000000")

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")


class Reader:
    """Reads field values and collects what is wrong with them."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def wrong(self, field: str, reason: str, description: str) -> None:
        """Notes that a field breaks a rule."""
        self.violations.append(Violation(field, reason, description))

    def text(self, field: str, value: str, *, required: bool = True, script: str = "") -> str:
        """One line of text in Unicode NFC with single spaces, not blank where it is required.

        Args:
            script: of every letter, as Unicode names it: "LATIN" or "ARABIC"; empty for any.
        """
        text = " ".join(unicodedata.normalize("NFC", value.translate(_INVISIBLE)).split())
        if not text and (required or value):
            self.wrong(field, "REQUIRED", "must not be blank")
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in value):
            self.wrong(field, "CONTROL_CHARACTER", "must be one line without control characters")
        if any(unicodedata.category(c) == "Cf" and c not in _JOINERS for c in text):
            self.wrong(field, "FORMAT_CHARACTER", "must not hold marks that change the direction of text")
        letters = (c for c in text if unicodedata.category(c).startswith("L"))
        if script and not all(unicodedata.name(c, "").startswith(script) for c in letters):
            self.wrong(field, "WRONG_SCRIPT", f"must be written in {_SCRIPTS[script]} letters")
        return text

    def name(self, field: str, value: str) -> str:
        """A person's name in Latin script."""
        return self.text(field, value, script="LATIN")

    def urdu_name(self, field: str, value: str) -> str:
        """A person's name in Urdu script, or none."""
        return self.text(field, value, script="ARABIC", required=False)

    def day(self, field: str, value: str) -> date:
        """A day of the calendar."""
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.wrong(field, "INVALID_DATE", "is not a day of the calendar")
            return date.min

    def optional_day(self, field: str, value: str) -> date | None:
        """A day, or None where there is none."""
        return self.day(field, value) if value else None

    def cnic(self, field: str, value: str) -> Cnic | None:
        """A CNIC."""
        try:
            return Cnic.parse(value)
        except ValueError:
            self.wrong(field, "INVALID_CNIC", "is not a 13-digit CNIC")
            return None

    def old_nic(self, field: str, value: str) -> OldNic | None:
        """The number of an old card."""
        try:
            return OldNic.parse(value)
        except ValueError:
            self.wrong(field, "INVALID_OLD_NIC", "is not an 11-digit number of an old card")
            return None

    def passport(self, field: str, message: offender_pb2.Passport) -> Passport | None:
        """A passport."""
        if pycountry.countries.get(alpha_3=message.country) is None:
            self.wrong(f"{field}.country", "UNKNOWN_COUNTRY", "must be the ISO 3166-1 alpha-3 code of a country")
            return None
        try:
            return Passport.parse(message.country, message.number)
        except ValueError:
            self.wrong(f"{field}.number", "INVALID_PASSPORT", "must have 1 to 9 letters and digits")
            return None

    def district(self, field: str, value: str) -> str:
        """A district in the gazetteer's spelling."""
        found = find_district(value)
        if found is None:
            self.wrong(field, "UNKNOWN_DISTRICT", "is not a district in the gazetteer of Pakistan")
        return found or ""


@contextmanager
def _reading() -> Generator[Reader]:
    """Gives a reader, and refuses at the end of the block if anything was wrong.

    Raises:
        Refused: INVALID_FIELD with every violation.
    """
    reader = Reader()
    yield reader
    if reader.violations:
        raise invalid(*reader.violations)


def today(now: datetime) -> date:
    """The current day in Pakistan."""
    return now.astimezone(TIME_ZONE).date()


def _member(enum: type[E], wrapper: Any, value: int) -> E:
    """The domain's member of a contract's enum value: the same name without the prefix."""
    return enum[wrapper.Name(value).removeprefix(_prefix(wrapper))]


@cache
def _value(wrapper: Any, member: str) -> Any:
    return wrapper.Value(_prefix(wrapper) + member)


@cache
def _prefix(wrapper: Any) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", wrapper.DESCRIPTOR.name).upper() + "_"


def officer(message: officer_pb2.OfficerContext) -> Officer:
    """The officer behind a call.

    Raises:
        Refused: INVALID_FIELD.
    """
    purpose = _member(Purpose, officer_pb2.Purpose, message.purpose)
    with _reading() as read:
        return Officer(read.text("officer.officer_id", message.officer_id), purpose, message.fir_number)


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
    with _reading() as read:
        who = message.person
        person = Person(
            cnic=read.cnic("offender.person.cnic", who.cnic) if who.cnic else None,
            full_name=read.name("offender.person.full_name", who.full_name),
            full_name_ur=read.urdu_name("offender.person.full_name_ur", who.full_name_ur),
            guardian_name=read.name("offender.person.guardian_name", who.guardian_name),
            guardian_name_ur=read.urdu_name("offender.person.guardian_name_ur", who.guardian_name_ur),
            guardian_relation=_member(GuardianRelation, offender_pb2.GuardianRelation, who.guardian_relation),
            sex=_member(Sex, offender_pb2.Sex, who.sex),
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
    with _reading() as read:
        match message.WhichOneof("document"):
            case "old_nic":
                found = read.old_nic("old_nic", message.old_nic)
            case "passport":
                found = read.passport("passport", message.passport)
            case _:
                found = read.cnic("cnic", message.cnic)
    return found or _NO_CNIC


def wanted(message: registry_service_pb2.SearchOffendersRequest, now: datetime) -> Wanted:
    """What is known of a person who is sought.

    Raises:
        Refused: INVALID_FIELD.
    """
    with _reading() as read:
        found = Wanted(
            name=read.text("person_name", message.person_name, required=False),
            guardian=read.text("guardian", message.guardian, required=False),
            date_of_birth=read.optional_day("date_of_birth", message.date_of_birth),
            district=read.district("district", message.district) if message.district else "",
            offence_code=message.offence_code,
            finality=_member(Finality, offender_pb2.Finality, message.finality) if message.finality else None,
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
    with _reading() as read:
        return Override(others, read.text("duplicate_override.reason", given.reason))


def court_event(message: registry_service_pb2.RecordCourtEventRequest, now: datetime) -> tuple[CourtEvent, date]:
    """What happened at a court, and on which day.

    Raises:
        Refused: INVALID_FIELD.
    """
    with _reading() as read:
        day = read.day("event_date", message.event_date)
        if day > today(now):
            read.wrong("event_date", "IN_FUTURE", "must not lie in the future")
    return _member(CourtEvent, offender_pb2.CourtEvent, message.event), day


def identity_event(message: identity_pb2.IdentityEvent, now: datetime) -> tuple[Cnic | OldNic, IdentityEvent, date]:
    """The number of a card, what its holder has become, and since which day.

    Raises:
        Refused: INVALID_FIELD.
    """
    with _reading() as read:
        card = read.cnic("event.cnic", message.cnic) if message.cnic else read.old_nic("event.old_nic", message.old_nic)
        day = read.day("event.event_date", message.event_date)
        if day > today(now):
            read.wrong("event.event_date", "IN_FUTURE", "must not lie in the future")
        event = _identity(read, message)
    return card or _NO_CNIC, event, day


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
                _member(GuardianRelation, offender_pb2.GuardianRelation, guardian.guardian_relation),
            )
        case "new_cnic":
            return read.cnic("event.new_cnic.cnic", message.new_cnic.cnic) or _NO_CNIC
        case _:
            return Death()


def reason(text: str) -> str:
    """Why a record is changed, in the caller's words; empty if it says nothing.

    Raises:
        Refused: INVALID_FIELD.
    """
    with _reading() as read:
        return read.text("reason", text, required=False)


def _conviction(read: Reader, path: str, message: offender_pb2.Conviction) -> Conviction:
    return Conviction(
        court=read.text(f"{path}.court", message.court),
        case_number=read.text(f"{path}.case_number", message.case_number),
        fir_number=message.fir_number,
        police_station=read.text(f"{path}.police_station", message.police_station),
        offence_code=message.offence_code,
        conviction_date=read.day(f"{path}.conviction_date", message.conviction_date),
        finality=_member(Finality, offender_pb2.Finality, message.finality),
        finality_date=read.optional_day(f"{path}.finality_date", message.finality_date),
        victim_class=_member(VictimClass, offender_pb2.VictimClass, message.victim_class),
    )


def offender_message(offender: Offender) -> offender_pb2.Offender:
    """A record as a message; one that is sealed or merged without what it was about."""
    message = _facts_message(offender.facts) if offender.facts else offender_pb2.Offender()
    message.MergeFrom(
        offender_pb2.Offender(
            name=offender.name,
            owner=f"nodes/{offender.owner}",
            status=_value(offender_pb2.OffenderStatus, offender.status),
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
        message.officer.purpose = _value(officer_pb2.Purpose, cause.officer.purpose)
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
        guardian_relation=_value(offender_pb2.GuardianRelation, person.guardian_relation),
        sex=_value(offender_pb2.Sex, person.sex),
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
                guardian_relation=_value(offender_pb2.GuardianRelation, guardian.guardian_relation),
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
        offence_basis=_value(offender_pb2.OffenceBasis, conviction.offence_basis),
        conviction_date=conviction.conviction_date.isoformat(),
        finality=_value(offender_pb2.Finality, conviction.finality),
        finality_date=conviction.finality_date.isoformat() if conviction.finality_date else "",
        victim_class=_value(offender_pb2.VictimClass, conviction.victim_class),
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


def notice_facts(message: notice_pb2.Notice, now: datetime) -> NoticeFacts:
    """What a caller states in a notice, checked against the register's rules.

    Raises:
        Refused: INVALID_FIELD; paths begin at "notice.".
    """
    with _reading() as read:
        facts = NoticeFacts(
            detail=_detail(read, message),
            notified_date=read.day("notice.notified_date", message.notified_date),
        )
        if not read.violations:
            read.violations.extend(facts.violations(today(now)))
    return facts


def _detail(read: Reader, message: notice_pb2.Notice) -> NameChange | AddressChange | Travel:
    if message.HasField("name_change"):
        name, path = message.name_change, "notice.name_change"
        return NameChange(
            full_name=read.name(f"{path}.full_name", name.full_name),
            full_name_ur=read.urdu_name(f"{path}.full_name_ur", name.full_name_ur),
            effective_date=read.day(f"{path}.effective_date", name.effective_date),
        )
    if message.HasField("address_change"):
        address, path = message.address_change, "notice.address_change"
        return AddressChange(
            address=read.text(f"{path}.address", address.address),
            district=read.district(f"{path}.district", address.district),
            effective_date=read.day(f"{path}.effective_date", address.effective_date),
        )
    travel, path = message.travel, "notice.travel"
    scope = _member(TravelScope, notice_pb2.TravelScope, travel.scope)
    if scope is TravelScope.DOMESTIC:
        destination = read.district(f"{path}.destination", travel.destination)
    else:
        destination = travel.destination
        if pycountry.countries.get(alpha_2=destination) is None or destination == "PK":
            read.wrong(f"{path}.destination", "UNKNOWN_COUNTRY", "must be the ISO 3166-1 code of another country")
    return Travel(
        scope=scope,
        destination=destination,
        departure_date=read.day(f"{path}.departure_date", travel.departure_date),
        return_date=read.optional_day(f"{path}.return_date", travel.return_date),
    )


def notice_message(notice: Notice) -> notice_pb2.Notice:
    """A notice as a message; that of a sealed record without what was notified."""
    message = notice_pb2.Notice(
        name=notice.name, recorder=f"nodes/{notice.recorder}", create_time=timestamp(notice.created_at)
    )
    if notice.facts is None:
        return message
    message.notified_date = notice.facts.notified_date.isoformat()
    match notice.facts.detail:
        case NameChange() as detail:
            message.name_change.full_name = detail.full_name
            message.name_change.full_name_ur = detail.full_name_ur
            message.name_change.effective_date = detail.effective_date.isoformat()
        case AddressChange() as detail:
            message.address_change.address = detail.address
            message.address_change.district = detail.district
            message.address_change.effective_date = detail.effective_date.isoformat()
        case Travel() as detail:
            message.travel.scope = _value(notice_pb2.TravelScope, detail.scope)
            message.travel.destination = detail.destination
            message.travel.departure_date = detail.departure_date.isoformat()
            message.travel.return_date = detail.return_date.isoformat() if detail.return_date else ""
    return message


def answer_message(answer: Answer) -> lookup_service_pb2.CheckCnicResponse:
    """The answer to a check as a message; it takes the same work for a hit as for others, so its time tells nothing."""
    message = lookup_service_pb2.CheckCnicResponse()
    _write_answer(message, answer)
    if not answer.person:
        lookup_service_pb2.CheckCnicResponse().person.MergeFromString(_anybody())
    pad(message, _ANSWER_OCTETS)
    return message


def answers_message(answers: Iterable[Answer]) -> lookup_service_pb2.CheckCnicsResponse:
    """The answers to the numbers of a roster's message, without their summary."""
    message = lookup_service_pb2.CheckCnicsResponse()
    for answer in answers:
        _write_answer(message.results.add(), answer)
    return message


def pad(message: lookup_service_pb2.CheckCnicResponse | lookup_service_pb2.CheckCnicsResponse, unit: int) -> None:
    """Makes the length of a message a multiple of `unit` octets, by zeros."""
    if missing := -message.ByteSize() % unit:
        message.padding = bytes(_padding(missing) or _padding(missing + unit))


@cache
def _padding(octets: int) -> int:
    """How many octets a field of bytes holds that takes so many in all; 0 where no field takes just so many."""
    # The field's own tag, then the length as a varint: 7 bits to an octet.
    return next((n for n in range(octets - 5, octets - 1) if n > 0 and n + 1 + -(-n.bit_length() // 7) == octets), 0)


def _write_answer(message: lookup_service_pb2.CheckCnicResponse, answer: Answer) -> None:
    # Field by field, which takes half as long as by the constructor.
    message.outcome = _value(lookup_service_pb2.Outcome, answer.outcome)
    message.revision = answer.revision
    message.masked_cnic = answer.masked_cnic
    if answer.as_of:
        message.as_of_time.CopyFrom(_as_of_message(answer.as_of))
    if answer.provinces_as_of:
        message.provinces_as_of_time.CopyFrom(_as_of_message(answer.provinces_as_of))
    if answer.person:
        message.person.MergeFromString(answer.person)
    if answer.reason:
        message.cannot_answer_reason = _value(lookup_service_pb2.CannotAnswerReason, answer.reason)


def disclosed_person(person: Disclosed) -> bytes:
    """What a hit tells about a person, serialized."""
    return _disclosed_message(person).SerializeToString()


@cache
def _anybody() -> bytes:
    """What a hit could tell, of nobody."""
    return disclosed_person(Disclosed("Muhammad Ahmed", "محمد احمد", "Muhammad Ali", "محمد علی", "FATHER", "MALE"))


def _disclosed_message(person: Disclosed | Person) -> lookup_service_pb2.DisclosedPerson:
    return lookup_service_pb2.DisclosedPerson(
        full_name=person.full_name,
        full_name_ur=person.full_name_ur,
        guardian_name=person.guardian_name,
        guardian_name_ur=person.guardian_name_ur,
        guardian_relation=_value(offender_pb2.GuardianRelation, person.guardian_relation),
        sex=_value(offender_pb2.Sex, person.sex),
    )


# Answers of some milliseconds share both times.
@lru_cache(maxsize=2)
def _as_of_message(time: datetime) -> Timestamp:
    return timestamp(time)


def disclosure_modes(
    message: disclosure_pb2.DisclosurePolicy,
) -> dict[tuple[Role, Channel], DisclosureMode]:
    """The rules of a policy.

    Raises:
        Refused: INVALID_FIELD: two rules are about the same.
    """
    modes: dict[tuple[Role, Channel], DisclosureMode] = {}
    with _reading() as read:
        for index, rule in enumerate(message.rules):
            role = _member(Role, access_pb2.Role, rule.role)
            channel = _member(Channel, disclosure_pb2.Channel, rule.channel)
            if (role, channel) in modes:
                read.wrong(
                    f"policy.rules[{index}]", "DUPLICATE", "is about a role and channel that have a rule already"
                )
            modes[role, channel] = _member(DisclosureMode, disclosure_pb2.DisclosureMode, rule.mode)
    return modes


def policy_message(policy: DisclosurePolicy) -> disclosure_pb2.DisclosurePolicy:
    """The disclosure policy as a message."""
    return disclosure_pb2.DisclosurePolicy(
        rules=[
            disclosure_pb2.DisclosureRule(
                role=_value(access_pb2.Role, role),
                channel=_value(disclosure_pb2.Channel, channel),
                mode=_value(disclosure_pb2.DisclosureMode, mode),
            )
            for (role, channel), mode in policy.modes.items()
        ],
        disclose_under_appeal=policy.under_appeal,
        etag=policy.etag,
        updater=f"nodes/{policy.updater}" if policy.updater else "",
        update_time=timestamp(policy.updated_at),
    )


def area(name: str) -> Sequence[str]:
    """The district of a name, all of them for an empty one.

    Raises:
        Refused: INVALID_FIELD.
    """
    if not name:
        return tuple(districts())
    with _reading() as read:
        found = read.district("district", name)
    return (found,)


def area_month_message(month: AreaMonth, asked: Iterable[str]) -> area_pb2.AreaMonth:
    """The counts of a month in some districts, as a message."""
    return area_pb2.AreaMonth(
        month=f"{month.first_day:%Y-%m}",
        count_time=timestamp(month.counted_at),
        districts=[
            area_pb2.DistrictCount(district=district, offender_count=month.counts.get(district)) for district in asked
        ],
    )


def alarm_message(alarm: Alarm) -> alarm_pb2.LookupAlarm:
    """An alarm as a message."""
    return alarm_pb2.LookupAlarm(
        name=alarm.name,
        kind=_value(alarm_pb2.AlarmKind, alarm.kind),
        node=f"nodes/{alarm.node_id}" if alarm.node_id else "",
        officer_id=alarm.officer_id,
        check_count=alarm.checks,
        begin_time=timestamp(alarm.began_at),
        create_time=timestamp(alarm.raised_at),
    )


def new_people(request: vetting_service_pb2.AddWatchedPeopleRequest) -> list[NewPerson]:
    """Those who shall be put on a watch list.

    Raises:
        Refused: INVALID_FIELD: a number is none, or comes twice; a reference holds one.
    """
    people: dict[str, NewPerson] = {}
    with _reading() as read:
        for index, person in enumerate(request.people):
            path = f"people[{index}]"
            for field in ("consent_reference", "reference"):
                if _is_cnic(getattr(person, field)):
                    read.wrong(f"{path}.{field}", "PERSONAL", "must not hold a CNIC")
            if cnic := read.cnic(f"{path}.cnic", person.cnic):
                if cnic.digits in people:
                    read.wrong(f"{path}.cnic", "DUPLICATE", "stands in the request already")
                people[cnic.digits] = NewPerson(cnic, person.consent_reference, person.reference)
    return list(people.values())


def _is_cnic(text: str) -> bool:
    try:
        return bool(Cnic.parse(text))
    except ValueError:
        return False


def named_id(name: str) -> UUID:
    """The id in a resource name "{collection}/{uuid}", whose form the contract has checked."""
    return UUID(name.partition("/")[2])


def watched_person_message(person: WatchedPerson) -> watch_list_pb2.WatchedPerson:
    """Somebody on a watch list as a message."""
    return watch_list_pb2.WatchedPerson(
        name=person.name,
        consent_reference=person.consent_reference,
        reference=person.reference,
        create_time=timestamp(person.created_at),
    )


def alert_message(alert: Alert, person: WatchedPerson, disclosed: Person | None) -> watch_list_pb2.Alert:
    """An alert as a message."""
    return watch_list_pb2.Alert(
        name=alert.name,
        kind=_value(watch_list_pb2.AlertKind, alert.kind),
        watched_person=watched_person_message(person),
        person=_disclosed_message(disclosed) if disclosed else None,
        create_time=timestamp(alert.created_at),
    )


# Watchers of a worker share the events that are recent, and the pages that several read: see `hub.feed.tail`.


def person_to_ask(request: consent_service_pb2.RequestConsentRequest) -> Cnic:
    """The number of who is asked for consent.

    Raises:
        Refused: INVALID_FIELD: it is none.
    """
    with _reading() as read:
        cnic = read.cnic("cnic", request.cnic)
    return cnic or _NO_CNIC


def given_consent(message: consent_pb2.GivenConsent) -> GivenConsent:
    """What a caller brings of a person's consent."""
    return GivenConsent(named_id(message.name), message.passcode)


def passcode_delivery(request: consent_service_pb2.AcknowledgePasscodeRequest) -> PasscodeDelivery:
    """What became of a passcode."""
    return _member(PasscodeDelivery, consent_pb2.PasscodeDelivery, request.delivery)


def consent_message(consent: Consent) -> consent_pb2.Consent:
    """A consent as a message."""
    return consent_pb2.Consent(name=consent.name, expire_time=timestamp(consent.expires_at))


def passcode_message(passcode: Passcode) -> consent_pb2.Passcode:
    """A passcode as a message."""
    return consent_pb2.Passcode(
        consent=passcode.consent.name,
        cnic=passcode.cnic.formatted,
        passcode=passcode.code,
        requester=f"nodes/{passcode.consent.node_id}",
        expire_time=timestamp(passcode.consent.expires_at),
    )


@lru_cache(maxsize=4096)
def event_message(event: Event, revision: str) -> federation_service_pb2.Event:
    """An event of the feed as a message, to be copied, not changed."""
    changes = [
        federation_service_pb2.Change(offender=offender_message(change.offender))
        if isinstance(change, IndexedOffender)
        else federation_service_pb2.Change(notice=notice_message(change))
        for change in event.changes
    ]
    return federation_service_pb2.Event(revision=revision, commit_time=timestamp(event.committed_at), changes=changes)


class NodeFacts(TypedDict):
    """What NPB states about a node."""

    display_name: str
    role: Role
    jurisdiction: str


def node_facts(message: node_pb2.Node) -> NodeFacts:
    """What a caller states about a new node.

    Raises:
        Refused: INVALID_FIELD.
    """
    with _reading() as read:
        return NodeFacts(
            display_name=read.text("node.display_name", message.display_name),
            role=_member(Role, access_pb2.Role, message.role),
            jurisdiction=message.jurisdiction,
        )


def node_id(name: str) -> str:
    """The id in a resource name "nodes/{node}", whose form the contract has checked."""
    return name.removeprefix("nodes/")


def node_reason(text: str) -> str:
    """Why a node's state is changed.

    Raises:
        Refused: INVALID_FIELD.
    """
    with _reading() as read:
        return read.text("reason", text)


def node_message(node: Node) -> node_pb2.Node:
    """A node as a message."""
    message = node_pb2.Node(
        name=node.name,
        display_name=node.display_name,
        role=_value(access_pb2.Role, node.role),
        jurisdiction=node.jurisdiction,
        state=_value(node_pb2.NodeState, node.state),
        create_time=timestamp(node.created_at),
        state_reason=node.state_reason,
    )
    if node.certificate_expires_at:
        message.certificate_expire_time.CopyFrom(timestamp(node.certificate_expires_at))
    return message


def progress_message(status: FederationStatus, progress: Progress) -> federation_service_pb2.NodeProgress:
    """How far a node is, as a message."""
    message = federation_service_pb2.NodeProgress(
        node=progress.node.name,
        revision="" if progress.write is None else Revision(status.epoch, progress.write).token,
        events_behind=status.events_behind(progress),
        seconds_behind=progress.behind.total_seconds(),
        certificate_expire_time=node_message(progress.node).certificate_expire_time,
    )
    if progress.acknowledged_at:
        message.acknowledge_time.CopyFrom(timestamp(progress.acknowledged_at))
    if found := progress.found:
        message.reconcile_time.CopyFrom(timestamp(found.reconciled_at))
        message.reconcile_found.records = found.records
        message.reconcile_found.only_at_hub = found.only_at_hub
        message.reconcile_found.only_at_node = found.only_at_node
    if outbox := progress.slowest_outbox:
        message.complete_time.CopyFrom(timestamp(outbox.complete_until))
        message.slowest_outbox_id = str(outbox.id)
    return message


def difference_message(difference: Difference) -> federation_service_pb2.RangeDifference:
    """A range in which registers differ, as a message."""
    records = [
        federation_service_pb2.HashedRecord(hash=hash, name=f"offenders/{id}") for hash, id in difference.records or ()
    ]
    return federation_service_pb2.RangeDifference(
        prefix=difference.prefix, records=records, too_many=difference.records is None
    )


def request_key(request: Any) -> RequestKey:
    """What makes a retry of a mutation recognisable: its request_id, and a digest of all of it."""
    message: Message = request
    octets = message.DESCRIPTOR.full_name.encode() + b"\0" + message.SerializeToString(deterministic=True)
    return RequestKey(UUID(request.request_id), hashlib.sha256(octets).digest())


def timestamp(time: datetime) -> Timestamp:
    """A time as a message."""
    message = Timestamp()
    message.FromDatetime(time.astimezone(UTC))
    return message


def page(items: Sequence[T], size: int) -> tuple[Sequence[T], T | None]:
    """A page of at most `size` out of up to `size + 1` items, and its last item if more follow."""
    return (items, None) if len(items) <= size else (items[:size], items[size - 1])
