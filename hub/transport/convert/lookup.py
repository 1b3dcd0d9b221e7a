"""Checks of `nsor.lookup.v1`, and what NPB sets and sees of them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache, lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from hub.domain.alarm import Alarm
from hub.domain.area import AreaMonth
from hub.domain.disclosure import Channel, DisclosureMode, DisclosurePolicy
from hub.domain.districts import districts
from hub.domain.lookup import Answer, Basis, Disclosed
from hub.domain.node import Role
from hub.domain.person import Person
from hub.transport.convert.common import member, reading, timestamp, value
from nsor.common.v1 import access_pb2
from nsor.lookup.v1 import alarm_pb2, area_pb2, disclosure_pb2, lookup_service_pb2
from nsor.registry.v1 import offender_pb2

_Checked = lookup_service_pb2.CheckCnicResponse | lookup_service_pb2.CheckCnicsResponse

# Longer than the longest names make an answer, nearly always.
_ANSWER_OCTETS = 1024

ROSTER_OCTETS = 16_384


def answer_message(answer: Answer) -> lookup_service_pb2.CheckCnicResponse:
    """The answer to a check as a message; it takes the same work for a hit as for others, so its time tells nothing."""
    message = lookup_service_pb2.CheckCnicResponse()
    _write_answer(message, answer)
    _write_basis(message, answer.basis)
    if not answer.person:
        lookup_service_pb2.CheckCnicResponse().person.MergeFromString(_anybody())
    pad(message, _ANSWER_OCTETS)
    return message


def answers_message(answers: Sequence[Answer]) -> lookup_service_pb2.CheckCnicsResponse:
    """The answers to the numbers of a roster's message, without their summary."""
    message = lookup_service_pb2.CheckCnicsResponse()
    for answer in answers:
        _write_answer(message.results.add(), answer)
    bases = {id(answer.basis): answer.basis for answer in answers if answer.basis}  # one for a hundred answers
    _write_basis(message, Basis.of_all(bases.values()))
    return message


def pad(message: _Checked, unit: int) -> None:
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
    message.outcome = value(lookup_service_pb2.Outcome, answer.outcome)
    message.masked_cnic = answer.masked_cnic
    if answer.person:
        message.person.MergeFromString(answer.person)
    if answer.reason:
        message.cannot_answer_reason = value(lookup_service_pb2.CannotAnswerReason, answer.reason)


def _write_basis(message: _Checked, basis: Basis | None) -> None:
    if not basis:
        return
    message.revision = basis.revision
    message.as_of_time.CopyFrom(_as_of_message(basis.as_of))
    if basis.provinces_as_of:
        message.provinces_as_of_time.CopyFrom(_as_of_message(basis.provinces_as_of))


def disclosed_person(person: Disclosed) -> bytes:
    """What a hit tells about a person, serialized."""
    return disclosed_message(person).SerializeToString()


@cache
def _anybody() -> bytes:
    """What a hit could tell, of nobody."""
    return disclosed_person(Disclosed("Muhammad Ahmed", "محمد احمد", "Muhammad Ali", "محمد علی", "FATHER", "MALE"))


def disclosed_message(person: Disclosed | Person) -> lookup_service_pb2.DisclosedPerson:
    """What a hit tells about a person, as a message."""
    return lookup_service_pb2.DisclosedPerson(
        full_name=person.full_name,
        full_name_ur=person.full_name_ur,
        guardian_name=person.guardian_name,
        guardian_name_ur=person.guardian_name_ur,
        guardian_relation=value(offender_pb2.GuardianRelation, person.guardian_relation),
        sex=value(offender_pb2.Sex, person.sex),
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
    with reading() as read:
        for index, rule in enumerate(message.rules):
            role = member(Role, access_pb2.Role, rule.role)
            channel = member(Channel, disclosure_pb2.Channel, rule.channel)
            if (role, channel) in modes:
                read.wrong(
                    f"policy.rules[{index}]", "DUPLICATE", "is about a role and channel that have a rule already"
                )
            modes[role, channel] = member(DisclosureMode, disclosure_pb2.DisclosureMode, rule.mode)
    return modes


def policy_message(policy: DisclosurePolicy) -> disclosure_pb2.DisclosurePolicy:
    """The disclosure policy as a message."""
    return disclosure_pb2.DisclosurePolicy(
        rules=[
            disclosure_pb2.DisclosureRule(
                role=value(access_pb2.Role, role),
                channel=value(disclosure_pb2.Channel, channel),
                mode=value(disclosure_pb2.DisclosureMode, mode),
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
    with reading() as read:
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
        kind=value(alarm_pb2.AlarmKind, alarm.kind),
        node=f"nodes/{alarm.node_id}" if alarm.node_id else "",
        officer_id=alarm.officer_id,
        check_count=alarm.checks,
        begin_time=timestamp(alarm.began_at),
        create_time=timestamp(alarm.raised_at),
    )
