"""The SDK as its users get it: a wheel that works alone, in an environment that has nothing else."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

SDK = Path(__file__).parents[2] / "clients/python"
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, SDK, cwd=folder)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("nsor_client-*.whl")
    return path


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has nothing, not even pip: that of the tests installs into it."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False)
    return folder / "bin"


def test_the_wheel_holds_the_sdk_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"nsor", "nsor_client"}
    assert {"nsor/py.typed", "nsor_client/py.typed", "nsor_client/_sync/client.py"} <= set(names)
    assert "nsor/registry/v1/registry_service_pb2.pyi" in names
    assert not [name for name in names if "/buf/" in name or "/hub/" in name or name.endswith(".pyc")]


def test_the_wheel_works_alone(wheel: Path, empty_environment: Path, tmp_path: Path) -> None:
    python = empty_environment / "python"
    installed = run(sys.executable, *PIP, "--python", python, "install", "--no-compile", wheel, cwd=tmp_path)
    if installed.returncode and "No matching distribution found" in installed.stderr:
        reachable = run(sys.executable, *PIP, "download", "--no-deps", "-d", tmp_path, "typer", cwd=tmp_path)
        if reachable.returncode:
            pytest.skip("no package index can be reached")
    assert installed.returncode == 0, installed.stderr

    helped = run(empty_environment / "nsor", "--help", cwd=tmp_path)
    assert helped.returncode == 0, helped.stderr
    assert "National Sex Offenders Register" in helped.stdout

    program = """
from importlib.util import find_spec
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT
from nsor_client import AsyncClient, Client, Credentials, NsorError
assert OUTCOME_HIT == 1
assert find_spec("hub") is None and find_spec("buf") is None
"""
    used = run(python, "-W", "error", "-c", program, cwd=tmp_path)
    assert used.returncode == 0, used.stderr
    checked = run(sys.executable, *PIP, "--python", python, "check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
