"""Watch lists and alerts of `nsor.lookup.v1`."""

from hub.domain.cnic import Cnic
from hub.domain.person import Person
from hub.domain.vetting import Alert, NewPerson, WatchedPerson
from hub.transport.convert.common import reading, timestamp, value
from hub.transport.convert.lookup import disclosed_message
from nsor.lookup.v1 import vetting_service_pb2, watch_list_pb2


def new_people(request: vetting_service_pb2.AddWatchedPeopleRequest) -> list[NewPerson]:
    """Those who shall be put on a watch list.

    Raises:
        Refused: INVALID_FIELD: a number is none, or comes twice; a reference holds one.
    """
    people: dict[str, NewPerson] = {}
    with reading() as read:
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
        kind=value(watch_list_pb2.AlertKind, alert.kind),
        watched_person=watched_person_message(person),
        person=disclosed_message(disclosed) if disclosed else None,
        create_time=timestamp(alert.created_at),
    )
