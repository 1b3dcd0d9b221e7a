"""Notices of `nsor.monitoring.v1`."""

from datetime import datetime

import pycountry

from hub.domain.notice import AddressChange, NameChange, Notice, NoticeFacts, Travel, TravelScope
from hub.transport.convert.common import Reader, member, reading, timestamp, today, value
from nsor.monitoring.v1 import notice_pb2


def notice_facts(message: notice_pb2.Notice, now: datetime) -> NoticeFacts:
    """What a caller states in a notice, checked against the register's rules.

    Raises:
        Refused: INVALID_FIELD; paths begin at "notice.".
    """
    with reading() as read:
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
    scope = member(TravelScope, notice_pb2.TravelScope, travel.scope)
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
            message.travel.scope = value(notice_pb2.TravelScope, detail.scope)
            message.travel.destination = detail.destination
            message.travel.departure_date = detail.departure_date.isoformat()
            message.travel.return_date = detail.return_date.isoformat() if detail.return_date else ""
    return message
