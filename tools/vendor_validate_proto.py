"""Writes `protos/buf/validate/validate.proto` from the descriptor inside the `protovalidate` wheel.

The wheel carries the compiled annotations but no .proto file, and `protos/` must compile by itself. Left out are
comments and the CEL sources of the predefined rules: the validator has its own copy of them.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2 as d
from protovalidate._gen.buf.validate import validate_pb

TARGET = Path(__file__).parents[1] / "protos/buf/validate/validate.proto"
HEADER = """\
// Copyright 2023-2026 Buf Technologies, Inc. Licensed under the Apache License, Version 2.0.
// Derived from the descriptor in the PyPI package `protovalidate` by tools/vendor_validate_proto.py. Do not edit.
"""
Field = d.FieldDescriptorProto


def field(f: Field, *, optional: bool) -> str:
    label = {Field.LABEL_REPEATED: "repeated ", Field.LABEL_OPTIONAL: "optional "}[f.label] if optional else ""
    type_name = f.type_name.removeprefix(".buf.validate.") or Field.Type.Name(f.type).removeprefix("TYPE_").lower()
    default = f" [default = {f.default_value}]" if f.HasField("default_value") else ""
    return f"{label}{type_name.removeprefix('.')} {f.name} = {f.number}{default};"


def message(m: d.DescriptorProto, indent: str = "") -> list[str]:
    lines = [f"message {m.name} {{"]
    lines += [f"  reserved {r.start};" for r in m.reserved_range]
    lines += [f'  reserved "{name}";' for name in m.reserved_name]
    lines += [f"  extensions {r.start} to max;" for r in m.extension_range]
    lines += [f"  {field(f, optional=True)}" for f in m.field if not f.HasField("oneof_index")]
    for index, oneof in enumerate(m.oneof_decl):
        members = [f for f in m.field if f.HasField("oneof_index") and f.oneof_index == index]
        lines += [f"  oneof {oneof.name} {{", *(f"    {field(f, optional=False)}" for f in members), "  }"]
    return [*lines, "}"]


def enum(e: d.EnumDescriptorProto) -> list[str]:
    reserved = [f"  reserved {r.start};" for r in e.reserved_range]
    return [f"enum {e.name} {{", *reserved, *(f"  {v.name} = {v.number};" for v in e.value), "}"]


def extension(f: Field) -> list[str]:
    return [f"extend {f.extendee.removeprefix('.')} {{", f"  {field(f, optional=True)}", "}"]


def main() -> None:
    file = d.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    assert file.syntax in ("", "proto2")
    assert not any(m.nested_type or m.enum_type for m in file.message_type)
    blocks = [[f'import "{name}";' for name in file.dependency]]
    blocks += [extension(f) for f in file.extension]
    blocks += [message(m) for m in file.message_type] + [enum(e) for e in file.enum_type]
    body = "\n\n".join("\n".join(block) for block in blocks)
    TARGET.write_text(f'{HEADER}syntax = "proto2";\n\npackage {file.package};\n\n{body}\n')


if __name__ == "__main__":
    main()
