"""How far behind each node is, as metrics: the same figures as `GetFederationStatus`."""

from opentelemetry import metrics

from hub.domain.feed import FederationStatus

_meter = metrics.get_meter("nsor.hub")
_events = _meter.create_gauge("nsor.node.events_behind", "{event}", "Events that a node has not acknowledged.")
_seconds = _meter.create_gauge("nsor.node.seconds_behind", "s", "Age of the oldest event that it has not acknowledged.")
_certificate = _meter.create_gauge(
    "nsor.node.certificate_expiry", "s", "When a node's newest certificate ends, in seconds since 1970."
)


def record(status: FederationStatus) -> None:
    """Sets the metrics of each node that has acknowledged anything."""
    for progress in status.nodes:
        node = {"nsor.node": progress.node.id}
        _events.set(status.events_behind(progress), node)
        _seconds.set(progress.behind.total_seconds(), node)
        if ends := progress.node.certificate_expires_at:
            _certificate.set(ends.timestamp(), node)
