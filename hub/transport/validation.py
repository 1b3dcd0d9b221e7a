"""The rules that stand in the contract, applied to a message."""

from typing import TypeVar

import protovalidate
from google.protobuf.message import DecodeError, Message

from hub.domain.errors import Reason, Refused, Violation, invalid

M = TypeVar("M", bound=Message)

MAX_REQUEST_BYTES = 256 * 1024


def validate(message: Message, prefix: str = "") -> None:
    """Applies the protovalidate rules of a message.

    Args:
        prefix: path of the message from the request, when it is a part of one.

    Raises:
        Refused: INVALID_FIELD with every violation. Values are not quoted.
    """
    if found := protovalidate.collect_violations(message):
        raise invalid(*(_violation(v, prefix) for v in found))


def decode(message_type: type[M], data: bytes) -> M | Refused:
    """A request from its octets; what cannot be read comes back as the refusal to raise."""
    if len(data) > MAX_REQUEST_BYTES:
        limit = str(MAX_REQUEST_BYTES)
        return Refused(
            Reason.MESSAGE_TOO_LARGE, f"requests have at most {limit} octets", metadata={"limit_bytes": limit}
        )
    try:
        return message_type.FromString(data)
    except DecodeError:
        return invalid(Violation("", "MALFORMED", "is not a message of this type"))


def _violation(found: protovalidate.Violation, prefix: str) -> Violation:
    path = prefix
    for element in found.proto.field.elements if found.proto.field else ():
        path += ("." if path else "") + element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    rule = found.proto.rule_id
    if rule.startswith("requires."):
        # By our convention a rule between fields, whose id names the one that is missing.
        return Violation(f"{path}.{rule.removeprefix('requires.')}", "REQUIRED", found.proto.message)
    return Violation(path, rule.upper().replace(".", "_"), found.proto.message)
