"""The commands in the documents do what the documents say."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import make_url

from hub.dev.postgres import EmbeddedPostgres, postgres_binaries
from nsor.common.v1.access_pb2 import ROLE_POLICE, ROLE_VETTING_AGENCY
from nsor.federation.v1.node_pb2 import Node
from tests.support.hub import RunningHub
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)


def shell(script: str, folder: Path, **environment: str) -> str:
    """Runs commands as a reader would, and gives what they print."""
    path = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readme_leads_to_a_hub_that_answers(hub: RunningHub) -> None:
    _, start, use = blocks("README.md", "sh")
    assert "nsor-hub dev --dir state" in start
    use = use.replace("127.0.0.1:7443", hub.target).replace("$PWD/.venv/bin", str(BIN))
    printed = shell(use.replace("state/nodes", "nodes"), hub.folder)
    assert "punjab-police" in printed

    [python] = blocks("README.md", "python")
    python = python.replace("127.0.0.1:7443", hub.target).replace("state/nodes", str(hub.folder / "nodes"))
    printed = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.startswith("no record, as of 20")


@pytest.mark.slow
@pytest.mark.timeout(300)  # as many commands as an operator types in a year
def test_an_operator_sets_up_a_hub_by_the_guide(tmp_path: Path) -> None:
    roles, setup, serve, *then = blocks("docs/operations.md", "sh")
    assert "--role npb" in then[0]
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        ports = shell(
            'python -c \'import socket; s = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]; '
            "print(*(each.getsockname()[1] for each in s))'",
            tmp_path,
        ).split()

        def run(script: str, **environment: str) -> str:
            script = script.replace("7443", ports[0]).replace("7444", ports[1])
            return shell(script, tmp_path, NSOR_CA_PASSWORD="change-me", **environment)

        def dsn(user: str) -> str:
            server = make_url(postgres.dsn("register", user))
            return server.set(password="change-me").render_as_string(hide_password=False)

        run(roles, ADMIN_DSN=postgres.dsn(), PATH=f"{postgres_binaries()}:{BIN}:{os.environ['PATH']}")
        run(setup, DSN=dsn("nsor_hub"), OWNER_DSN=dsn("nsor_owner"))
        environment = os.environ | {"NSOR_CA_PASSWORD": "change-me"}
        with (tmp_path / "hub.log").open("wb") as log:
            process = subprocess.Popen(
                [BIN / serve.split()[0], *serve.split()[1:]], cwd=tmp_path, env=environment, stderr=log
            )
        try:
            eventually(lambda: process.poll() is not None or "the hub serves" in (tmp_path / "hub.log").read_text(), 60)
            # What one block exports, the later ones rely on.
            printed = [run(script, NSOR_TARGET=f"127.0.0.1:{ports[0]}") for script in then]
            assert "punjab-police" in printed[1]
            assert "REVOKED" in "".join(printed)
            assert "punjab-police" in printed[-1]
            renewed = x509.load_pem_x509_certificate((tmp_path / "punjab-police" / "cert.pem").read_bytes())
            assert "NSOR CA 2" in renewed.issuer.rfc4514_string()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_province_works_by_the_guide(hub: RunningHub, tmp_path: Path) -> None:
    with hub.client("npb") as npb:
        node = Node(display_name="KP Police", role=ROLE_POLICE, jurisdiction="Khyber Pakhtunkhwa")
        (tmp_path / "token").write_text(npb.create_node("kp-police", node).enrolment_token)
    printed = _by_the_guide("docs/provinces.md", hub, tmp_path)
    assert "2 rows: 2 valid, 0 refused" in printed
    assert "2 rows: 2 written, 0 refused" in printed
    assert printed.count("HIT") == 2
    assert "Test Afridi" in printed
    assert (tmp_path / "differences.csv").read_text() == "only_at,record\n"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_institution_vets_people_by_the_guide(hub: RunningHub, tmp_path: Path) -> None:
    with hub.client("npb") as npb:
        node = Node(display_name="KP Schools", role=ROLE_VETTING_AGENCY, jurisdiction="Khyber Pakhtunkhwa")
        (tmp_path / "token").write_text(npb.create_node("sed-kp", node).enrolment_token)
    for name in ("npb", "nadra"):
        (tmp_path / name).symlink_to(hub.folder / "nodes" / name)
    printed = _by_the_guide("docs/agencies.md", hub, tmp_path)
    assert printed.count("NO RECORD  91234") == 2  # without a consent and with one
    assert "1 rows: 1 no record" in printed
    assert "2 put on the watch list, 0 were on it already" in printed
    assert printed.count("form-2026/") == 2


def _by_the_guide(document: str, hub: RunningHub, folder: Path) -> str:
    """Runs all commands of a document and gives what they print."""
    (folder / "ca.pem").write_bytes((hub.folder / "ca" / "cert.pem").read_bytes())
    # One shell, since later blocks use what earlier ones export.
    script = "\n".join(blocks(document, "sh"))
    return shell(script.replace("127.0.0.1:7443", hub.target).replace("127.0.0.1:7444", hub.enrol_target), folder)


@pytest.mark.parametrize("command", ["nsor-hub", "nsor", "nsor-sms-bridge"])
def test_help_is_worth_reading(command: str) -> None:
    printed = subprocess.run([BIN / command, "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert len(printed.stdout.splitlines()) > 15


def test_the_links_in_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"
