"""A hub as in production: `nsor-hub serve` with settings of the test's own, on a database of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url
from typer.testing import CliRunner

from hub.__main__ import app
from hub.dev.environment import HUB_USER, TRUST_DOMAIN
from hub.pki import CertificateAuthority, write_credentials, write_private
from tests.support.hub import RunningHub
from tests.support.waiting import eventually

_SERVES = re.compile(r"the hub serves at (\S+), for enrolment at (\S+)")


@dataclass
class ServedHub:
    """A hub that serves.

    Attributes:
        ca: signed the hub's own certificate; the nodes' can be of another.
        folder: its files.
    """

    target: str
    enrol_target: str
    ca: CertificateAuthority
    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> str:
        """What a command of `nsor-hub` prints."""
        return _run(self.environment, *arguments)

    def log(self) -> str:
        """What the hub has printed."""
        return (self.folder / "hub.log").read_text()


@contextmanager
def serving(neighbour: RunningHub, folder: Path, client_ca: bytes, **settings: str) -> Iterator[ServedHub]:
    """Runs a hub for the length of the block.

    Args:
        neighbour: in whose PostgreSQL it gets a database.
        client_ca: the CAs of nodes, in PEM.
        settings: further ones, by name.
    """
    name = f"hub_{uuid4().hex}"
    with psycopg.connect(neighbour.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    ca = CertificateAuthority.create("CA of the hub", now=datetime.now(UTC))
    issued = ca.issue_server(TRUST_DOMAIN, ["localhost"], ["127.0.0.1"], now=datetime.now(UTC))
    write_credentials(folder / "hub", issued, ca.cert_pem)
    write_private(folder / "clients.pem", client_ca + ca.cert_pem)
    owner = make_url(neighbour.dsn).set(database=name)
    environment = {
        "NSOR_DSN": owner.set(username=HUB_USER).render_as_string(hide_password=False),
        "NSOR_OWNER_DSN": owner.render_as_string(hide_password=False),
        "NSOR_LISTEN": "127.0.0.1:0",
        "NSOR_ENROL_LISTEN": "127.0.0.1:0",
        "NSOR_WORKERS": "1",
        "NSOR_TLS_CERTIFICATE": str(folder / "hub" / "cert.pem"),
        "NSOR_TLS_KEY": str(folder / "hub" / "key.pem"),
        "NSOR_CLIENT_CA": str(folder / "clients.pem"),
        "NSOR_KEYRING": str(folder / "keyring.json"),
    }
    environment |= {f"NSOR_{name.upper()}": value for name, value in settings.items()}
    _run(environment, "keyring", "create", str(folder / "keyring.json"))
    _run(environment, "migrate")
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hub", "serve"], env=os.environ | environment, stdout=log, stderr=log
        )
    try:
        [target, enrol_target] = eventually(
            lambda: (found := _SERVES.search((folder / "hub.log").read_text())) and found.groups(), 60
        )
        yield ServedHub(target, enrol_target, ca, folder, environment)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def _run(environment: dict[str, str], *arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()
