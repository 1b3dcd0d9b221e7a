"""Generates the sync client from the async one: nsor_client/_async -> nsor_client/_sync (checked in)."""

import shutil
import sys
import tempfile
from pathlib import Path

import unasync

PACKAGE = Path(__file__).parents[1] / "clients/python/src/nsor_client"
HEADER = "# Generated from _async/{} by tools/gen_sync.py. Do not edit.\n"
NAMES = {
    "AsyncClient": "Client",
    "AsyncBackground": "Background",
    "asyncio": "threading",
    "aclosing": "closing",
    "async_pause": "pause",
    "async_ready": "ready",
}


def generate(out: Path) -> None:
    """Writes the modules of `_sync` into the folder `out`."""
    with tempfile.TemporaryDirectory() as tmp:
        source = Path(tmp, "_async")
        shutil.copytree(PACKAGE / "_async", source, ignore=shutil.ignore_patterns("__pycache__"))
        modules = sorted(source.glob("*.py"))
        for module in modules:  # the one difference that unasync, which sees single words, cannot make
            module.write_text(module.read_text().replace("grpc.aio", "grpc"))
        rule = unasync.Rule("/_async/", "/_sync/", NAMES)
        unasync.unasync_files([str(m) for m in modules], [rule])  # pyright: ignore[reportUnknownMemberType]
        out.mkdir(exist_ok=True)
        for module in modules:
            text = Path(tmp, "_sync", module.name).read_text()
            (out / module.name).write_text(HEADER.format(module.name) + text)


def main() -> int:
    """Writes the sync client, or with `--check` tells whether the one checked in is stale (exit 1)."""
    target = PACKAGE / "_sync"
    if "--check" not in sys.argv:
        shutil.rmtree(target, ignore_errors=True)
        generate(target)
        return 0
    with tempfile.TemporaryDirectory() as tmp:
        generate(Path(tmp))
        fresh = {p.name: p.read_bytes() for p in Path(tmp).glob("*.py")}
    stored = {p.name: p.read_bytes() for p in target.glob("*.py")}
    print("the sync client is fresh" if fresh == stored else "the sync client is stale, run `make gen`")
    return int(fresh != stored)


if __name__ == "__main__":
    sys.exit(main())
