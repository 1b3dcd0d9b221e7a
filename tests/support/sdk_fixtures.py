"""Fixtures of the SDK's tests."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from nsor_client import AsyncClient, Client
from tests.support.sdk_hub import CertificateAuthority, ScriptedHub, serving, settled


@pytest.fixture(scope="session")
def sdk_ca() -> CertificateAuthority:
    """The CA of the scripted hub and its nodes."""
    return CertificateAuthority()


@pytest.fixture
def sdk_hub(sdk_ca: CertificateAuthority) -> Iterator[ScriptedHub]:
    """A hub without answers yet."""
    with serving(sdk_ca) as hub:
        yield hub


@pytest.fixture(params=[AsyncClient, Client], ids=["async", "sync"])
async def sdk_client(
    request: pytest.FixtureRequest, sdk_ca: CertificateAuthority, sdk_hub: ScriptedHub
) -> AsyncIterator[Any]:
    """Either client, connected to the hub as punjab-police; the sync one blocks the loop, not the hub."""
    client = request.param(sdk_hub.target, sdk_ca.credentials())
    yield client
    await settled(client.close())
