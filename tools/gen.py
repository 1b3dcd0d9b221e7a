"""Generates the Python stubs of the contract: protos/ -> clients/python/src/nsor (checked in).

The stubs keep the protovalidate rules inside their descriptors, where the hub's validator reads them, but do not
import a module `buf.validate`: a top-level package `buf` in our wheel would collide with other people's. The import is
therefore taken out of the descriptors before the stubs are written; the rules stay behind as unknown options.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc_tools.protoc
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).parents[1]
PROTOS = ROOT / "protos"
VALIDATE = "buf/validate/validate.proto"


def protoc(*args: str) -> None:
    compiler: Any = grpc_tools.protoc  # without types
    if status := compiler.main(["protoc", *args]):
        sys.exit(status)


def without_validate_import(path: Path) -> None:
    files = FileDescriptorSet.FromString(path.read_bytes())
    kept = [f for f in files.file if f.name != VALIDATE]
    for file in kept:
        dependencies = [name for name in file.dependency if name != VALIDATE]
        del file.dependency[:]
        file.dependency.extend(dependencies)
    path.write_bytes(FileDescriptorSet(file=kept).SerializeToString())


def generate(out: Path) -> None:
    """Writes the package `nsor` below `out`."""
    names = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.glob("nsor/**/*.proto"))
    with tempfile.TemporaryDirectory() as tmp:
        descriptors = Path(tmp) / "nsor.binpb"
        includes = [f"-I{PROTOS}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
        protoc(
            *includes,
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={descriptors}",
            *names,
        )
        without_validate_import(descriptors)
        bin_dir = Path(sys.executable).parent
        source = [f"--descriptor_set_in={descriptors}"]
        source += [f"--plugin={bin_dir / plugin}" for plugin in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
        protoc(*source, f"--python_out={out}", f"--mypy_out=quiet:{out}", *names)
        services = [name for name in names if name.endswith("_service.proto")]
        protoc(*source, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services)


def _stubs(folder: Path) -> list[Path]:
    """The generated files in a folder; not what Python keeps of them."""
    return [path for path in (folder / "nsor").rglob("*_pb2*") if path.suffix in (".py", ".pyi")]


def main() -> int:
    """Writes the stubs, or with `--check` tells whether those checked in are stale (exit 1)."""
    target = ROOT / "clients/python/src"
    if "--check" not in sys.argv:
        for stale in _stubs(target):
            stale.unlink()
        generate(target)
        return 0
    with tempfile.TemporaryDirectory() as tmp:
        generate(Path(tmp))
        fresh = {p.relative_to(tmp): p.read_bytes() for p in _stubs(Path(tmp))}
    stored = {p.relative_to(target): p.read_bytes() for p in _stubs(target)}
    stale = sorted(str(p) for p in fresh.keys() | stored.keys() if fresh.get(p) != stored.get(p))
    print("\n".join(["stale generated code, run `make gen`:", *stale]) if stale else "generated code is fresh")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
