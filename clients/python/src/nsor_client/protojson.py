"""Messages as JSON: the protobuf mapping, with the field names of the contract (not `fullName`)."""

import re
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

_Message = TypeVar("_Message", bound=Message)


def to_json(message: Message) -> str:
    """One line of JSON; fields that are not set are left out."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None, ensure_ascii=False)


def from_json(text: str, kind: type[_Message]) -> _Message:
    """Reads a message of this kind.

    Raises:
        ValueError: it is no JSON, or does not fit the contract. The message says where, and quotes no value.
    """
    try:
        return json_format.Parse(text, kind())
    except json_format.ParseError as error:
        raise ValueError(_explain(str(error))) from None  # its text quotes values, which may be personal


def _explain(problem: str) -> str:
    if problem.startswith("Failed to load JSON"):
        place = re.search(r"line \d+ column \d+", problem)
        return f"not JSON, at {place[0]}" if place else "not JSON"
    prefix = re.match(r"(?:Failed to parse \w+ field: )*", problem)
    path = ".".join(re.findall(r"parse (\w+) field", prefix[0] if prefix else ""))
    if "has no field named" in problem:
        return f"a field in {path or 'it'} is not in the contract"
    return f"the value of {path or 'it'} is not allowed"
