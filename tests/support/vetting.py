"""An institution that watches the people it employs."""

import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count

import grpc

from nsor.lookup.v1.vetting_service_pb2 import NewWatchedPerson
from nsor.lookup.v1.watch_list_pb2 import Alert
from nsor_client import Client
from tests.support import certificates
from tests.support.hub import RunningHub
from tests.support.waiting import eventually

_forms = count(1)


def teacher(cnic: str, reference: str = "") -> NewWatchedPerson:
    """Somebody to be watched, with a consent of their own."""
    return NewWatchedPerson(cnic=cnic, consent_reference=f"form-{next(_forms)}", reference=reference)


class School:
    """A vetting agency of the test's own, so that nobody else's alerts come to it."""

    def __init__(self, hub: RunningHub) -> None:
        self.id, self._credentials = certificates.new_node(hub, role="VETTING_AGENCY")
        self.client = Client(hub.target, self._credentials)

    def another_client(self, hub: RunningHub) -> Client:
        """A further client of it, which may meet another worker."""
        return Client(hub.target, self._credentials)

    def channel(self, hub: RunningHub) -> grpc.Channel:
        """A plain gRPC channel as it, for what the SDK would not show."""
        return grpc.secure_channel(hub.target, self._credentials.channel_credentials())

    def watches(self, *cnics: str) -> list[str]:
        """Puts people on its list; gives the names of their entries."""
        return list(self.client.add_watched_people([teacher(cnic) for cnic in cnics]).watched_people)

    def alerts(self, after: str = "") -> list[Alert]:
        """All alerts after one that follow from what was committed before this call."""
        return alerts_until_now(self.client, after)


def alerts_until_now(client: Client, after: str = "") -> list[Alert]:
    """All alerts after one that follow from what was committed before this call."""
    now = time.time_ns()
    found: list[Alert] = []

    def everything_came() -> bool:
        # Begun again and again, since a stream begins with a bookmark, and the next one takes some seconds.
        with closing(client.watch_alerts(found[-1].name if found else after)) as responses:
            for response in responses:
                found.extend(response.alerts)
                if response.HasField("as_of_time"):
                    return response.as_of_time.ToNanoseconds() > now
        raise AssertionError("the stream ended")

    eventually(everything_came)
    return found


def told(alerts: Sequence[Alert]) -> list[tuple[str, int]]:
    """Whom alerts are about, and what they tell."""
    return [(alert.watched_person.name, alert.kind) for alert in alerts]
