"""A real hub for tests: `nsor-hub dev` as its own process, with real PostgreSQL and real certificates."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import grpc
import psycopg

from nsor_client import AsyncClient, Client, Credentials

_READY_SECONDS = 110
_STOP_SECONDS = 30


class RunningHub:
    """A hub that runs in a folder. Use as a context manager.

    Args:
        folder: its state; kept between starts.
        workers: worker processes.
        environment: further environment variables, such as settings of telemetry.
    """

    def __init__(self, folder: Path, *, workers: int = 2, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._workers = workers
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.target = ""
        self.enrol_target = ""
        self.dsn = ""
        self.log_file = folder.with_suffix(".log")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until it serves; at the same address as before, if it ran before."""
        ready_file = self.folder.with_suffix(".ready.json")
        ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "hub", "dev", "--dir", str(self.folder), "--workers", str(self._workers)]
        command += ["--listen", self.target or "127.0.0.1:0", "--enrol-listen", self.enrol_target or "127.0.0.1:0"]
        command += ["--ready-file", str(ready_file)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, env=os.environ | self._environment, stderr=log, stdout=log)
        deadline = time.monotonic() + _READY_SECONDS
        while not ready_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.terminate()
                self._process.wait(_STOP_SECONDS)
                raise AssertionError(f"the hub did not start:\n{self.log()[-4000:]}")
            time.sleep(0.05)
        ready = json.loads(ready_file.read_text())
        self.target, self.enrol_target, self.dsn = ready["target"], ready["enrol_target"], ready["dsn"]

    def stop(self) -> None:
        """Stops it as an operator would, and checks that it ends well."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(_STOP_SECONDS) == 0, self.log()[-4000:]

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self._process
        return self._process.pid

    def credentials(self, node: str) -> Credentials:
        """Credentials of a node."""
        return Credentials.from_dir(self.folder / "nodes" / node)

    def client(self, node: str, **options: Any) -> Client:
        """A client as a node."""
        return Client(self.target, self.credentials(node), **options)

    def async_client(self, node: str, **options: Any) -> AsyncClient:
        """An async client as a node."""
        return AsyncClient(self.target, self.credentials(node), **options)

    def channel(self, node: str) -> grpc.Channel:
        """A plain gRPC channel as a node, for what the SDK would not send."""
        folder = self.folder / "nodes" / node
        ca, key, cert = ((folder / f"{name}.pem").read_bytes() for name in ("ca", "key", "cert"))
        return grpc.secure_channel(self.target, grpc.ssl_channel_credentials(ca, key, cert))

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection to the hub's database, for what a test wants to do to it."""
        return psycopg.connect(self.dsn)

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query on the hub's database."""
        with psycopg.connect(self.dsn) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def log(self) -> str:
        """What the hub has printed."""
        return self.log_file.read_text() if self.log_file.exists() else ""
