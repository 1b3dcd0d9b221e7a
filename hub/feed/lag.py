"""How far behind each node is: the figures of `GetFederationStatus`, for metrics and for checks."""

from datetime import datetime

from opentelemetry import metrics

from hub.domain.feed import FederationStatus, Progress

_meter = metrics.get_meter("nsor.hub")
_events = _meter.create_gauge("nsor.node.events_behind", "{event}", "Events that a node has not acknowledged.")
_seconds = _meter.create_gauge("nsor.node.seconds_behind", "s", "Age of the oldest event that it has not acknowledged.")
_certificate = _meter.create_gauge(
    "nsor.node.certificate_expiry", "s", "When a node's newest certificate ends, in seconds since 1970."
)
_incomplete = _meter.create_gauge(
    "nsor.node.incomplete_seconds", "s", "Age of the time up to which a node's outboxes have reached the hub."
)


class Lag:
    """How far the nodes were when they were looked at last."""

    def __init__(self) -> None:
        self._before: datetime | None = None
        self._read_at, self._now = float("-inf"), self._before

    def record(self, status: FederationStatus, read_at: float, known_at: float) -> None:
        """Takes over how far they are now.

        Args:
            read_at: when that was read, by the steady clock.
            known_at: up to when everything that was committed is in the index, by the same.
        """
        self._before = self.provinces_as_of(known_at)
        self._read_at, self._now = read_at, status.provinces_as_of
        for progress in status.nodes:
            _measure(status, progress)

    def provinces_as_of(self, known_at: float) -> datetime | None:
        """Up to when the records of every province are in an index; None where that is not known.

        What a province reported as sent can still be on its way from the database into the index: until that has caught
        up, it holds what held before.

        Args:
            known_at: see `record`.
        """
        if known_at >= self._read_at:
            return self._now
        return min(self._before, self._now) if self._before and self._now else None


def _measure(status: FederationStatus, progress: Progress) -> None:
    node = {"nsor.node": progress.node.id}
    if progress.acknowledged_at:
        _events.set(status.events_behind(progress), node)
        _seconds.set(progress.behind.total_seconds(), node)
    if until := progress.complete_until:
        _incomplete.set((status.as_of - until).total_seconds(), node)
    if ends := progress.node.certificate_expires_at:
        _certificate.set(ends.timestamp(), node)
