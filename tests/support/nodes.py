"""Fixtures: nodes of the shared hub."""

import pytest

from tests.support.contract import Node, node
from tests.support.hub import RunningHub


@pytest.fixture(scope="session")
def punjab(hub: RunningHub) -> Node:
    """The police of Punjab."""
    return node(hub, "punjab-police")


@pytest.fixture(scope="session")
def sindh(hub: RunningHub) -> Node:
    """The police of Sindh."""
    return node(hub, "sindh-police")


@pytest.fixture(scope="session")
def npb(hub: RunningHub) -> Node:
    """The National Police Bureau."""
    return node(hub, "npb")


@pytest.fixture(scope="session")
def court(hub: RunningHub) -> Node:
    """The Lahore High Court."""
    return node(hub, "lahore-high-court")


@pytest.fixture(scope="session")
def fia(hub: RunningHub) -> Node:
    """The Federal Investigation Agency."""
    return node(hub, "fia")


@pytest.fixture(scope="session")
def agency(hub: RunningHub) -> Node:
    """An agency that vets the people it employs."""
    return node(hub, "sed-punjab")


@pytest.fixture(scope="session")
def gateway(hub: RunningHub) -> Node:
    """The gateway through which the public asks."""
    return node(hub, "sms-7000")
