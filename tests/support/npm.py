"""An SMSC written by others: the npm package `smpp`, as a process of its own."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 30.0
HANDSET, SHORTCODE = "+923000000001", "7000"
UCS_2 = 8
FROM_HANDSET = {"source_addr": HANDSET[1:], "source_addr_ton": 1, "destination_addr": SHORTCODE}

needs_npm = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
]


class NpmSmsc:
    """The other process: orders in, events out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def event(self) -> dict[str, Any]:
        assert self._process.stdout
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self._process.stdout.readline())

    def deliver(self, **order: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(FROM_HANDSET | order).encode() + b"\n")


@pytest.fixture(scope="module")
def smsc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the SMSC with its packages, as the lock file has them."""
    source = Path(__file__).parent / "npm_smsc"
    folder = tmp_path_factory.mktemp("npm") / "smsc"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110)
    if "ENOTFOUND" in installed.stderr or "ECONNREFUSED" in installed.stderr:
        pytest.skip("the registry of npm packages is not reachable")
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture
async def smsc(smsc_folder: Path) -> AsyncGenerator[NpmSmsc, None]:
    process = await asyncio.create_subprocess_exec(
        "node", "smsc.js", cwd=smsc_folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield NpmSmsc(process)
    assert process.stdin
    process.stdin.close()
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0
