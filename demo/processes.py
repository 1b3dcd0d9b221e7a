"""The demonstration's processes: the same commands that an operator would type."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_READY_SECONDS = 60
_STOP_SECONDS = 20


class Processes:
    """Starts commands of this project, and stops them in the reverse order. Use as a context manager.

    Args:
        folder: for their logs and ready files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, name: str, *command: str, **environment: str) -> dict[str, Any]:
        """Starts a command and waits for its ready file, whose content it returns.

        Raises:
            RuntimeError: it ended, or was not ready in a minute; with the end of its log.
        """
        ready_file, log_file = self._folder / f"{name}.ready.json", self._folder / f"{name}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--ready-file", str(ready_file)],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for us: we stop them in order.
                start_new_session=True,
            )
        self._stack.callback(_stop, process)
        deadline = time.monotonic() + _READY_SECONDS
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{log_file.read_text()[-2000:]}")
            time.sleep(0.05)
        return json.loads(ready_file.read_text())


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
