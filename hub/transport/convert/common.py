"""What all conversions are made of: readers of fields, names of enum values, times, pages."""

import hashlib
import re
import unicodedata
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import pycountry
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from hub.domain.cnic import Cnic
from hub.domain.districts import TIME_ZONE, find_district
from hub.domain.documents import OldNic, Passport
from hub.domain.errors import Violation, invalid
from hub.domain.node import Officer, Purpose
from hub.domain.ports import RequestKey
from nsor.common.v1 import officer_pb2
from nsor.registry.v1 import offender_pb2

_SCRIPTS = {"LATIN": "Latin", "ARABIC": "Urdu"}
# Zero-width joiners shape Urdu words. The other marks come along when people paste, and say nothing.
_JOINERS = "\u200c\u200d"
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff"))

# Only refused readings have no number, and these do not leave the block that reads.
NO_CNIC = Cnic("9000000000000")

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")


class Reader:
    """Reads field values and collects what is wrong with them."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def wrong(self, field: str, reason: str, description: str) -> None:
        """Notes that a field breaks a rule."""
        self.violations.append(Violation(field, reason, description))

    def text(self, field: str, value: str, *, required: bool = True, script: str = "") -> str:
        """One line of text in Unicode NFC with single spaces, not blank where it is required.

        Args:
            script: of every letter, as Unicode names it: "LATIN" or "ARABIC"; empty for any.
        """
        text = " ".join(unicodedata.normalize("NFC", value.translate(_INVISIBLE)).split())
        if not text and (required or value):
            self.wrong(field, "REQUIRED", "must not be blank")
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in value):
            self.wrong(field, "CONTROL_CHARACTER", "must be one line without control characters")
        if any(unicodedata.category(c) == "Cf" and c not in _JOINERS for c in text):
            self.wrong(field, "FORMAT_CHARACTER", "must not hold marks that change the direction of text")
        letters = (c for c in text if unicodedata.category(c).startswith("L"))
        if script and not all(unicodedata.name(c, "").startswith(script) for c in letters):
            self.wrong(field, "WRONG_SCRIPT", f"must be written in {_SCRIPTS[script]} letters")
        return text

    def name(self, field: str, value: str) -> str:
        """A person's name in Latin script."""
        return self.text(field, value, script="LATIN")

    def urdu_name(self, field: str, value: str) -> str:
        """A person's name in Urdu script, or none."""
        return self.text(field, value, script="ARABIC", required=False)

    def day(self, field: str, value: str) -> date:
        """A day of the calendar."""
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.wrong(field, "INVALID_DATE", "is not a day of the calendar")
            return date.min

    def optional_day(self, field: str, value: str) -> date | None:
        """A day, or None where there is none."""
        return self.day(field, value) if value else None

    def cnic(self, field: str, value: str) -> Cnic | None:
        """A CNIC."""
        try:
            return Cnic.parse(value)
        except ValueError:
            self.wrong(field, "INVALID_CNIC", "is not a 13-digit CNIC")
            return None

    def old_nic(self, field: str, value: str) -> OldNic | None:
        """The number of an old card."""
        try:
            return OldNic.parse(value)
        except ValueError:
            self.wrong(field, "INVALID_OLD_NIC", "is not an 11-digit number of an old card")
            return None

    def passport(self, field: str, message: offender_pb2.Passport) -> Passport | None:
        """A passport."""
        if pycountry.countries.get(alpha_3=message.country) is None:
            self.wrong(f"{field}.country", "UNKNOWN_COUNTRY", "must be the ISO 3166-1 alpha-3 code of a country")
            return None
        try:
            return Passport.parse(message.country, message.number)
        except ValueError:
            self.wrong(f"{field}.number", "INVALID_PASSPORT", "must have 1 to 9 letters and digits")
            return None

    def district(self, field: str, value: str) -> str:
        """A district in the gazetteer's spelling."""
        found = find_district(value)
        if found is None:
            self.wrong(field, "UNKNOWN_DISTRICT", "is not a district in the gazetteer of Pakistan")
        return found or ""


@contextmanager
def reading() -> Generator[Reader]:
    """Gives a reader, and refuses at the end of the block if anything was wrong.

    Raises:
        Refused: INVALID_FIELD with every violation.
    """
    reader = Reader()
    yield reader
    if reader.violations:
        raise invalid(*reader.violations)


def today(now: datetime) -> date:
    """The current day in Pakistan."""
    return now.astimezone(TIME_ZONE).date()


def member(enum: type[E], wrapper: Any, value: int) -> E:
    """The domain's member of a contract's enum value: the same name without the prefix."""
    return enum[wrapper.Name(value).removeprefix(_prefix(wrapper))]


@cache
def value(wrapper: Any, member: str) -> Any:
    """The contract's enum value of a member of the domain's: the reverse of `member`."""
    return wrapper.Value(_prefix(wrapper) + member)


@cache
def _prefix(wrapper: Any) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", wrapper.DESCRIPTOR.name).upper() + "_"


def officer(message: officer_pb2.OfficerContext) -> Officer:
    """The officer behind a call.

    Raises:
        Refused: INVALID_FIELD.
    """
    purpose = member(Purpose, officer_pb2.Purpose, message.purpose)
    with reading() as read:
        return Officer(read.text("officer.officer_id", message.officer_id), purpose, message.fir_number)


def reason(text: str) -> str:
    """Why a record is changed, in the caller's words; empty if it says nothing.

    Raises:
        Refused: INVALID_FIELD.
    """
    with reading() as read:
        return read.text("reason", text, required=False)


def named_id(name: str) -> UUID:
    """The id in a resource name "{collection}/{uuid}", whose form the contract has checked."""
    return UUID(name.partition("/")[2])


def request_key(request: Any) -> RequestKey:
    """What makes a retry of a mutation recognisable: its request_id, and a digest of all of it."""
    message: Message = request
    octets = message.DESCRIPTOR.full_name.encode() + b"\0" + message.SerializeToString(deterministic=True)
    return RequestKey(UUID(request.request_id), hashlib.sha256(octets).digest())


def timestamp(time: datetime) -> Timestamp:
    """A time as a message."""
    message = Timestamp()
    message.FromDatetime(time.astimezone(UTC))
    return message


def page(items: Sequence[T], size: int) -> tuple[Sequence[T], T | None]:
    """A page of at most `size` out of up to `size + 1` items, and its last item if more follow."""
    return (items, None) if len(items) <= size else (items[:size], items[size - 1])
