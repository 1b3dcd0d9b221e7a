"""Takes out of a response what the contract does not show to the caller's role."""

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from hub.domain.node import Role
from nsor.common.v1 import access_pb2


def redact(message: Message, role: Role) -> None:
    """Clears every field that names its readers, where the role is none of them, at any depth."""
    hidden, deeper = _plan(message.DESCRIPTOR, role)
    for name in hidden:
        message.ClearField(name)
    for name, repeated in deeper:
        if repeated:
            for item in getattr(message, name):
                redact(item, role)
        elif message.HasField(name):
            redact(getattr(message, name), role)


@cache
def _plan(descriptor: Descriptor, role: Role) -> tuple[tuple[str, ...], tuple[tuple[str, bool], ...]]:
    """The fields to clear, and those, with whether they are repeated, in which something is to be cleared."""
    hidden, deeper = list[str](), list[tuple[str, bool]]()
    for field in descriptor.fields:
        if not _may_read(field, role):
            hidden.append(field.name)
        elif field.message_type and any(_plan(field.message_type, role)):
            deeper.append((field.name, field.is_repeated))
    return tuple(hidden), tuple(deeper)


def _may_read(field: FieldDescriptor, role: Role) -> bool:
    readers = field.GetOptions().Extensions[access_pb2.readers]
    return not readers or access_pb2.Role.Value(f"ROLE_{role}") in readers
