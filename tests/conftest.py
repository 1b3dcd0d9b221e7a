"""Fixtures that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.hub import RunningHub

pytest_plugins = ["tests.support.npm"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run fault and property tests at full length")


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("long", max_examples=2_000, deadline=None)
    if config.getoption("--long"):
        settings.load_profile("long")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub shared by the tests that leave it running: make people of your own with `numbers`."""
    with RunningHub(tmp_path_factory.mktemp("hub") / "state") as running:
        yield running


@pytest.fixture
def folder_hub(folder: Path) -> Iterator[RunningHub]:
    """A hub of the test's own, for what would disturb others."""
    with RunningHub(folder) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a hub of the test's own."""
    return tmp_path / "state"
