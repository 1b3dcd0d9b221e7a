"""The PDUs of SMPP 3.4 that an SMS bridge needs, and their codec.

A PDU is a frozen dataclass. The order and the limits of its fields on the wire stand in its annotations, and
nowhere else. Source: SMPP Protocol Specification v3.4, issue 1.2; the section numbers below are its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Protocol, get_origin, get_type_hints

HEADER_SIZE: Final = 16
MAX_PDU_SIZE: Final = 64 * 1024
"""Octets in the largest PDU read or written: the longest text, 255 parts of 140 octets, fits well."""

MAX_SHORT_MESSAGE: Final = 254
"""Octets in the largest `short_message` (§5.2.22); a longer one travels as `message_payload`."""

_RESPONSE_BIT: Final = 0x8000_0000

# Type of number (§5.2.5) and numbering plan (§5.2.6).
_UNKNOWN: Final = 0
_INTERNATIONAL: Final = 1
_ALPHANUMERIC: Final = 5
_ISDN: Final = 1

_HEADER = struct.Struct(">IIII")
_TLV_HEADER = struct.Struct(">HH")


class CommandStatus(IntEnum):
    """The result in a response (§5.1.3). A value that is not listed, such as an operator's own, is kept."""

    ESME_ROK = 0x00
    ESME_RINVMSGLEN = 0x01
    ESME_RINVCMDLEN = 0x02
    ESME_RINVCMDID = 0x03
    ESME_RINVBNDSTS = 0x04
    ESME_RALYBND = 0x05
    ESME_RSYSERR = 0x08
    ESME_RINVSRCADR = 0x0A
    ESME_RINVDSTADR = 0x0B
    ESME_RINVMSGID = 0x0C
    ESME_RBINDFAIL = 0x0D
    ESME_RINVPASWD = 0x0E
    ESME_RINVSYSID = 0x0F
    ESME_RMSGQFUL = 0x14
    ESME_RINVSERTYP = 0x15
    ESME_RINVESMCLASS = 0x43
    ESME_RSUBMITFAIL = 0x45
    ESME_RINVSYSTYP = 0x53
    ESME_RTHROTTLED = 0x58
    ESME_RINVSCHED = 0x61
    ESME_RINVEXPIRY = 0x62
    ESME_RX_T_APPN = 0x64
    ESME_RX_P_APPN = 0x65
    ESME_RX_R_APPN = 0x66
    ESME_RINVOPTPARSTREAM = 0xC0
    ESME_RINVPARLEN = 0xC2
    ESME_RDELIVERYFAILURE = 0xFE
    ESME_RUNKNOWNERR = 0xFF

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self in (
            CommandStatus.ESME_RSYSERR,
            CommandStatus.ESME_RMSGQFUL,
            CommandStatus.ESME_RTHROTTLED,
            CommandStatus.ESME_RX_T_APPN,
        )

    @classmethod
    def _missing_(cls, value: object) -> CommandStatus | None:
        if not isinstance(value, int) or not 0 <= value <= 0xFFFF_FFFF:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"0x{value:08X}"
        member._value_ = value
        return member


class PduError(Exception):
    """What was read, or should be written, is no valid PDU: carries how to answer it, never what it held.

    `sequence_number` and `command_id` are 0 where the header itself cannot be trusted (§4.3.1).
    """

    def __init__(self, command_status: CommandStatus, sequence_number: int = 0, command_id: int = 0) -> None:
        super().__init__(f"invalid PDU: command_id 0x{command_id:08X}, {command_status.name}")
        self.command_status = command_status
        self.sequence_number = sequence_number
        self.command_id = command_id

    @property
    def in_response(self) -> bool:
        """Whether it is a response that could not be read; a response is never answered."""
        return self.command_id & _RESPONSE_BIT != 0


class _InvalidField(Exception):
    def __init__(self, status: CommandStatus) -> None:
        super().__init__(status.name)
        self.status = status


class _Field(Protocol):
    """How one field stands on the wire; `read` gives the value and the offset after it."""

    def read(self, frame: bytes, at: int) -> tuple[Any, int]: ...

    def write(self, value: Any) -> bytes: ...


class _Octet:
    def read(self, frame: bytes, at: int) -> tuple[int, int]:
        if at >= len(frame):
            raise _InvalidField(CommandStatus.ESME_RINVCMDLEN)
        return frame[at], at + 1

    def write(self, value: int) -> bytes:
        if not 0 <= value <= 0xFF:
            raise _InvalidField(CommandStatus.ESME_RINVPARLEN)
        return bytes((value,))


@dataclass(frozen=True, slots=True)
class _CString:
    """A C-octet string of at most `size` octets, the closing zero among them (§3.1).

    Latin-1, of which ASCII is a part, so that a stray octet above 0x7F is kept and not fatal.
    """

    size: int
    error: CommandStatus

    def read(self, frame: bytes, at: int) -> tuple[str, int]:
        end = frame.find(0, at, at + self.size)
        if end < 0:
            is_truncated = len(frame) - at < self.size
            raise _InvalidField(CommandStatus.ESME_RINVCMDLEN if is_truncated else self.error)
        return frame[at:end].decode("latin-1"), end + 1

    def write(self, value: str) -> bytes:
        if len(value) >= self.size or not all("\0" < character <= "\xff" for character in value):
            raise _InvalidField(self.error)
        return value.encode("latin-1") + b"\0"


class _ShortMessage:
    """`sm_length` and the octets it counts (§5.2.21, §5.2.22)."""

    def read(self, frame: bytes, at: int) -> tuple[bytes, int]:
        if at >= len(frame):
            raise _InvalidField(CommandStatus.ESME_RINVCMDLEN)
        start = at + 1
        end = start + frame[at]
        if frame[at] > MAX_SHORT_MESSAGE or end > len(frame):
            raise _InvalidField(CommandStatus.ESME_RINVMSGLEN)
        return frame[start:end], end

    def write(self, value: bytes) -> bytes:
        if len(value) > MAX_SHORT_MESSAGE:
            raise _InvalidField(CommandStatus.ESME_RINVMSGLEN)
        return bytes((len(value),)) + value


class Tag:
    """Tags of the optional parameters that this package understands (§5.3.2)."""

    SAR_MSG_REF_NUM: Final = 0x020C
    SAR_TOTAL_SEGMENTS: Final = 0x020E
    SAR_SEGMENT_SEQNUM: Final = 0x020F
    MESSAGE_PAYLOAD: Final = 0x0424


class Tlv(NamedTuple):
    """One optional parameter (§3.2.4.1): a tag of two octets, a value of up to 65,535."""

    tag: int
    value: bytes


class _TlvsToTheEnd:
    """All optional parameters, unknown ones too, in their order (§3.2.4)."""

    def read(self, frame: bytes, at: int) -> tuple[tuple[Tlv, ...], int]:
        tlvs: list[Tlv] = []
        while at < len(frame):
            start = at + _TLV_HEADER.size
            if start > len(frame):
                raise _InvalidField(CommandStatus.ESME_RINVOPTPARSTREAM)
            tag, length = _TLV_HEADER.unpack_from(frame, at)
            at = start + length
            if at > len(frame):
                raise _InvalidField(CommandStatus.ESME_RINVOPTPARSTREAM)
            tlvs.append(Tlv(tag, frame[start:at]))
        return tuple(tlvs), at

    def write(self, value: tuple[Tlv, ...]) -> bytes:
        if not all(0 <= tlv.tag <= 0xFFFF and len(tlv.value) <= 0xFFFF for tlv in value):
            raise _InvalidField(CommandStatus.ESME_RINVPARLEN)
        return b"".join(_TLV_HEADER.pack(tlv.tag, len(tlv.value)) + tlv.value for tlv in value)


Uint8 = Annotated[int, _Octet()]
SystemId = Annotated[str, _CString(16, CommandStatus.ESME_RINVSYSID)]
Password = Annotated[str, _CString(9, CommandStatus.ESME_RINVPASWD)]
SystemType = Annotated[str, _CString(13, CommandStatus.ESME_RINVSYSTYP)]
AddressRange = Annotated[str, _CString(41, CommandStatus.ESME_RINVPARLEN)]
ServiceType = Annotated[str, _CString(6, CommandStatus.ESME_RINVSERTYP)]
SourceAddress = Annotated[str, _CString(21, CommandStatus.ESME_RINVSRCADR)]
DestinationAddress = Annotated[str, _CString(21, CommandStatus.ESME_RINVDSTADR)]
ScheduleTime = Annotated[str, _CString(17, CommandStatus.ESME_RINVSCHED)]
ValidityTime = Annotated[str, _CString(17, CommandStatus.ESME_RINVEXPIRY)]
MessageId = Annotated[str, _CString(65, CommandStatus.ESME_RINVMSGID)]
ShortMessage = Annotated[bytes, _ShortMessage()]
Tlvs = Annotated[tuple[Tlv, ...], _TlvsToTheEnd()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pdu:
    """What every PDU carries. The sender of a request numbers it; the response repeats the number (§3.2)."""

    command_id: ClassVar[int]
    sequence_number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Pdu):
    """A PDU that the other side has to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Pdu):
    """The answer to a request; one that refuses has no body (§4.1.2, §4.4.2), with one exception."""

    has_body_on_error: ClassVar[bool] = False
    command_status: CommandStatus = CommandStatus.ESME_ROK


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericNack(Response):
    """The answer to a request that could not be read (§4.3.1)."""

    command_id: ClassVar[int] = 0x8000_0000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(Request):
    """What the three ways to bind have in common (§4.1)."""

    system_id: SystemId = ""
    password: Password = field(default="", repr=False)
    system_type: SystemType = ""
    interface_version: Uint8 = 0x34
    addr_ton: Uint8 = 0
    addr_npi: Uint8 = 0
    address_range: AddressRange = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindResp(Response):
    """The answer to a bind (§4.1.2); `system_id` is the SMSC's."""

    system_id: SystemId = ""
    tlvs: Tlvs = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindReceiver(Bind):
    """Ask to receive messages (§4.1.3)."""

    command_id: ClassVar[int] = 0x0000_0001


@dataclass(frozen=True, slots=True, kw_only=True)
class BindReceiverResp(BindResp):
    """The answer to `BindReceiver` (§4.1.4)."""

    command_id: ClassVar[int] = 0x8000_0001


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransmitter(Bind):
    """Ask to send messages (§4.1.1)."""

    command_id: ClassVar[int] = 0x0000_0002


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransmitterResp(BindResp):
    """The answer to `BindTransmitter` (§4.1.2)."""

    command_id: ClassVar[int] = 0x8000_0002


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransceiver(Bind):
    """Ask to send and receive messages (§4.1.5)."""

    command_id: ClassVar[int] = 0x0000_0009


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransceiverResp(BindResp):
    """The answer to `BindTransceiver` (§4.1.6)."""

    command_id: ClassVar[int] = 0x8000_0009


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbind(Request):
    """Ask to end the session (§4.2.1)."""

    command_id: ClassVar[int] = 0x0000_0006


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbindResp(Response):
    """The answer to `Unbind` (§4.2.2)."""

    command_id: ClassVar[int] = 0x8000_0006


@dataclass(frozen=True, slots=True, kw_only=True)
class EnquireLink(Request):
    """Ask whether the other side still lives (§4.11.1)."""

    command_id: ClassVar[int] = 0x0000_0015


@dataclass(frozen=True, slots=True, kw_only=True)
class EnquireLinkResp(Response):
    """The answer to `EnquireLink` (§4.11.2)."""

    command_id: ClassVar[int] = 0x8000_0015


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Request):
    """One short message, in either direction (§4.4.1, §4.6.1); its `repr` shows no number and no text."""

    service_type: ServiceType = ""
    source_addr_ton: Uint8 = 0
    source_addr_npi: Uint8 = 0
    source_addr: SourceAddress = field(default="", repr=False)
    dest_addr_ton: Uint8 = 0
    dest_addr_npi: Uint8 = 0
    destination_addr: DestinationAddress = field(default="", repr=False)
    esm_class: Uint8 = 0
    protocol_id: Uint8 = 0
    priority_flag: Uint8 = 0
    schedule_delivery_time: ScheduleTime = ""
    validity_period: ValidityTime = ""
    registered_delivery: Uint8 = 0
    replace_if_present_flag: Uint8 = 0
    data_coding: Uint8 = 0
    sm_default_msg_id: Uint8 = 0
    short_message: ShortMessage = field(default=b"", repr=False)
    tlvs: Tlvs = field(default=(), repr=False)

    @property
    def source(self) -> str:
        """The sender's number, with "+" where it is international."""
        return _number(self.source_addr_ton, self.source_addr)

    @property
    def destination(self) -> str:
        """The receiver's number, with "+" where it is international."""
        return _number(self.dest_addr_ton, self.destination_addr)

    @property
    def is_notice(self) -> bool:
        """Whether this is a delivery receipt or another notice about a message, and no text (§5.2.12)."""
        return self.esm_class & 0x3C != 0

    @property
    def has_udh(self) -> bool:
        """Whether the payload begins with a user data header (§5.2.12)."""
        return self.esm_class & 0x40 != 0

    @property
    def payload(self) -> bytes:
        """The octets of the message, wherever they stand (§5.3.2.32)."""
        return self.short_message or self.tlv(Tag.MESSAGE_PAYLOAD) or b""

    def tlv(self, tag: int) -> bytes | None:
        """The value of the first optional parameter with this tag."""
        return next((tlv.value for tlv in self.tlvs if tlv.tag == tag), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitSm(Message):
    """A message from us to a handset (§4.4.1)."""

    command_id: ClassVar[int] = 0x0000_0004


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitSmResp(Response):
    """The answer to `SubmitSm` (§4.4.2)."""

    command_id: ClassVar[int] = 0x8000_0004
    message_id: MessageId = ""
    tlvs: Tlvs = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSm(Message):
    """A message from a handset to us, or a notice about one of ours (§4.6.1)."""

    command_id: ClassVar[int] = 0x0000_0005


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSmResp(Response):
    """The answer to `DeliverSm`; its `message_id` is there, unused and empty, also on an error (§4.6.2)."""

    command_id: ClassVar[int] = 0x8000_0005
    has_body_on_error: ClassVar[bool] = True
    message_id: MessageId = ""
    tlvs: Tlvs = field(default=(), repr=False)


_PDUS: dict[int, type[Pdu]] = {
    pdu.command_id: pdu
    for pdu in (
        *(GenericNack, Unbind, UnbindResp, EnquireLink, EnquireLinkResp),
        *(BindReceiver, BindReceiverResp, BindTransmitter, BindTransmitterResp),
        *(BindTransceiver, BindTransceiverResp),
        *(SubmitSm, SubmitSmResp, DeliverSm, DeliverSmResp),
    )
}


def decode(frame: bytes) -> Pdu:
    """Read one whole PDU; on any other octets raise `PduError`, which says how to answer them.

    A response may lack its body, as some SMSCs send it; its fields are then at their defaults.
    """
    if not HEADER_SIZE <= len(frame) <= MAX_PDU_SIZE:
        raise PduError(CommandStatus.ESME_RINVCMDLEN)
    command_length, command_id, command_status, sequence_number = _HEADER.unpack_from(frame)
    if command_length != len(frame):
        raise PduError(CommandStatus.ESME_RINVCMDLEN)
    kind = _PDUS.get(command_id)
    if kind is None:
        raise PduError(CommandStatus.ESME_RINVCMDID, sequence_number, command_id)
    values: dict[str, Any] = {"sequence_number": sequence_number}
    if issubclass(kind, Response):
        values["command_status"] = CommandStatus(command_status)
        if len(frame) == HEADER_SIZE:
            return kind(**values)
    at = HEADER_SIZE
    try:
        for name, wire in _fields(kind):
            values[name], at = wire.read(frame, at)
        if at != len(frame):
            raise _InvalidField(CommandStatus.ESME_RINVCMDLEN)
    except _InvalidField as error:
        raise PduError(error.status, sequence_number, command_id) from None
    return kind(**values)


def encode(pdu: Pdu) -> bytes:
    """Write one whole PDU.

    Raises:
        PduError: a field is longer than the protocol allows, holds what it cannot carry, or the whole PDU is
            larger than `MAX_PDU_SIZE`.
    """
    status = pdu.command_status if isinstance(pdu, Response) else CommandStatus.ESME_ROK
    body = b""
    try:
        if status == CommandStatus.ESME_ROK or (isinstance(pdu, Response) and pdu.has_body_on_error):
            body = b"".join(wire.write(getattr(pdu, name)) for name, wire in _fields(type(pdu)))
        if HEADER_SIZE + len(body) > MAX_PDU_SIZE or not 0 <= pdu.sequence_number <= 0xFFFF_FFFF:
            raise _InvalidField(CommandStatus.ESME_RINVCMDLEN)
    except _InvalidField as error:
        raise PduError(error.status, pdu.sequence_number, pdu.command_id) from None
    return _HEADER.pack(HEADER_SIZE + len(body), pdu.command_id, status, pdu.sequence_number) + body


def frame_length(start: bytes) -> int:
    """The octets of the whole PDU, from its first four; raises `PduError` where it is none (§3.2)."""
    length = int.from_bytes(start, "big")
    if not HEADER_SIZE <= length <= MAX_PDU_SIZE:
        raise PduError(CommandStatus.ESME_RINVCMDLEN)
    return length


def answers(response: Response, request: Request) -> bool:
    """Whether a response is of the kind that a request can get; the number is compared elsewhere."""
    return response.command_id in (request.command_id | _RESPONSE_BIT, GenericNack.command_id)


def response_to(request: Request | PduError, status: CommandStatus) -> Response:
    """The response to a request, readable or not: of its kind if known, or else a `GenericNack`."""
    kind = _PDUS.get(request.command_id | _RESPONSE_BIT, GenericNack)
    assert issubclass(kind, Response)
    return kind(sequence_number=request.sequence_number, command_status=status)


def address(number: str) -> tuple[int, int, str]:
    """Type of number, numbering plan and digits of a number as people write it (§5.2.5, §5.2.6).

    "+92…" is international; other digits, such as a shortcode, are of unknown type; the rest is a name.
    """
    if number.startswith("+"):
        return _INTERNATIONAL, _ISDN, number[1:]
    if number.isascii() and number.isdecimal():
        return _UNKNOWN, _ISDN, number
    return _ALPHANUMERIC, _UNKNOWN, number


def _number(ton: int, digits: str) -> str:
    return f"+{digits.removeprefix('+')}" if ton == _INTERNATIONAL and digits else digits


@cache
def _fields(kind: type[Pdu]) -> tuple[tuple[str, _Field], ...]:
    hints = get_type_hints(kind, include_extras=True).items()
    return tuple((name, hint.__metadata__[0]) for name, hint in hints if get_origin(hint) is Annotated)
