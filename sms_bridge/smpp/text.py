"""The text of short messages: its codings, its division into segments, and its reassembly.

Pure: no input, no output, and time only from the clock that the caller gives. Sources: 3GPP TS 23.038 (the
alphabets), 3GPP TS 23.040 §9.2.3.24 (the user data header), SMPP 3.4 §5.2.19 (`data_coding`).
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, TypeVar

from sms_bridge.smpp.pdu import MAX_SHORT_MESSAGE, Message, Tag, address

MessageT = TypeVar("MessageT", bound=Message)

GSM: Final = 0
ASCII: Final = 1
LATIN_1: Final = 3
UCS_2: Final = 8

MAX_SEGMENTS: Final = 255

# Octets of text in a message that stands alone, and in a part beside its header of six octets. SMPP gives
# each septet an octet of its own; on the air 160 of them fit in 140 octets, or 153 beside the header.
_GSM_LIMITS: Final = (160, 153)
_UCS_2_LIMITS: Final = (140, 134)

_UDH_INDICATOR: Final = 0x40
_CONCATENATED: Final = 0x00
_CONCATENATED_16_BIT: Final = 0x08

_ESCAPE: Final = 0x1B
_GSM_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENSION: Final = dict(zip(b"\x0a\x14()/<=>@e", "\f^{}\\[~]|€", strict=True))
_TO_GSM: Final = {
    **{character: bytes((code,)) for code, character in enumerate(_GSM_BASIC) if code != _ESCAPE},
    **{character: bytes((_ESCAPE, code)) for code, character in _GSM_EXTENSION.items()},
}


class UnreadableText(ValueError):
    """A message whose octets are no text in a coding that we know; never carries the octets."""


class UnsendableText(ValueError):
    """A text that no message can carry: too long, or holding half a surrogate pair; never carries it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One short message to send: its octets, with the header of a part, and how they are to be read."""

    data_coding: int
    esm_class: int
    short_message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class InboundSegment:
    """One short message as it came in, without its header; part `part` (from 1) of `total`.

    `reference` tells the texts of one sender apart, and is None where the message stands alone.
    """

    source: str = field(repr=False)
    destination: str = field(repr=False)
    data_coding: int
    payload: bytes = field(repr=False)
    reference: int | None = None
    total: int = 1
    part: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.part <= self.total <= MAX_SEGMENTS:
            raise ValueError("a segment is part 1 to total of at most 255")


def decode_text(data_coding: int, payload: bytes) -> str:
    """Read a whole text; not one part of it, since a character may begin in one part and end in the next.

    Knows the GSM default alphabet with its extension table, a septet in an octet (0), ASCII (1), Latin-1 (3)
    and UCS-2, read as UTF-16BE (8). Raises `UnreadableText` for another coding and for broken octets.
    """
    if data_coding == GSM:
        return _decode_gsm(payload)
    codec = {ASCII: "ascii", LATIN_1: "latin-1", UCS_2: "utf-16-be"}.get(data_coding)
    if codec is None:
        raise UnreadableText(f"unknown data_coding {data_coding}")
    try:
        return payload.decode(codec)
    except UnicodeDecodeError:
        raise UnreadableText(f"the octets are no {codec} text") from None


def encode_segments(text: str, reference: int) -> list[Segment]:
    """Divide a text into the fewest messages, in the GSM alphabet where it can say all of it, else in UCS-2.

    A text of one message has no header; parts carry the 8-bit concatenation header (TS 23.040 §9.2.3.24.1)
    with `reference` modulo 256, which must differ between the texts sent to one handset at about the same
    time. No part ends inside a surrogate pair or an escape sequence, nor between a letter and its marks.

    Raises `UnsendableText` beyond 255 parts, or for half a surrogate pair.
    """
    if all(character in _TO_GSM for character in text):
        data_coding, (alone, beside_header) = GSM, _GSM_LIMITS
        atoms = [_TO_GSM[character] for character in text]
    else:
        data_coding, (alone, beside_header) = UCS_2, _UCS_2_LIMITS
        atoms = list(_ucs_2_atoms(text, beside_header))
    if sum(map(len, atoms)) <= alone:
        return [Segment(data_coding, 0, b"".join(atoms))]
    parts = _pack(atoms, beside_header)
    if len(parts) > MAX_SEGMENTS:
        raise UnsendableText(f"the text needs more than {MAX_SEGMENTS} parts")
    header = bytes((5, _CONCATENATED, 3, reference % 256, len(parts)))
    return [
        Segment(data_coding, _UDH_INDICATOR, header + bytes((number,)) + part)
        for number, part in enumerate(parts, start=1)
    ]


def outbound_message(
    kind: type[MessageT], source: str, destination: str, segment: Segment, registered_delivery: int = 0
) -> MessageT:
    """The PDU that carries a segment; numbers are as people write them, "+92…" or "7000"."""
    source_addr_ton, source_addr_npi, source_addr = address(source)
    dest_addr_ton, dest_addr_npi, destination_addr = address(destination)
    return kind(
        source_addr_ton=source_addr_ton,
        source_addr_npi=source_addr_npi,
        source_addr=source_addr,
        dest_addr_ton=dest_addr_ton,
        dest_addr_npi=dest_addr_npi,
        destination_addr=destination_addr,
        esm_class=segment.esm_class,
        data_coding=segment.data_coding,
        short_message=segment.short_message,
        registered_delivery=registered_delivery,
    )


def inbound_segment(message: Message) -> InboundSegment:
    """Take the header off a message, and read from it, or from the sar_* parameters, which part it is.

    As TS 23.040 §9.2.3.24 asks, a header element that contradicts itself is ignored. Raises `UnreadableText`
    where the header is longer than the message, or a part is longer than any part can be.
    """
    payload, place = message.payload, _place_from_sar(message)
    if message.has_udh:
        end = 1 + payload[0] if payload else 1
        if end > len(payload):
            raise UnreadableText("the user data header is longer than the message")
        place = _place_from_header(payload[1:end]) or place
        payload = payload[end:]
    if place and len(payload) > MAX_SHORT_MESSAGE:
        raise UnreadableText("a part is longer than a short message")
    reference, total, part = place or (None, 1, 1)
    return InboundSegment(message.source, message.destination, message.data_coding, payload, reference, total, part)


class Reassembler:
    """Puts the parts of long texts together again, in whatever order and however often they come.

    Parts belong together by (source, destination, reference, total), so two handsets never mix. A text is
    remembered for `max_age` seconds from its first part, also when complete, so that a part that the SMSC
    delivers twice is not taken for the beginning of another text. A part that differs from the one held in
    its place means that the handset has begun a new text: the old one is given up. Beyond `max_segments`
    parts in all, the oldest texts are given up.
    """

    def __init__(
        self,
        *,
        max_segments: int = 10_000,
        max_age: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_segments = max_segments
        self._max_age = max_age
        self._clock = clock
        self._texts: dict[tuple[str, str, int, int], _Text] = {}
        self._held = 0

    def add(self, segment: InboundSegment) -> str | None:
        """Take a segment; return the text that it completes, None while parts are missing or for a repeat.

        Raises `UnreadableText` when the text is complete and cannot be read.
        """
        if segment.reference is None or segment.total == 1:
            return decode_text(segment.data_coding, segment.payload)
        now = self._clock()
        self._forget_until(now - self._max_age)
        key = (segment.source, segment.destination, segment.reference, segment.total)
        text = self._texts.get(key)
        if text and segment.part in text.parts:
            if text.parts[segment.part] == segment:
                return None
            self._forget(key)
            text = None
        if text is None:
            text = self._texts[key] = _Text(since=now)
        text.parts[segment.part] = segment
        self._held += 1
        while self._held > self._max_segments:
            self._forget(next(iter(self._texts)))
        return _join(text.parts) if len(text.parts) == segment.total else None

    def _forget_until(self, time: float) -> None:
        while self._texts:
            key, oldest = next(iter(self._texts.items()))
            if oldest.since > time:
                break
            self._forget(key)

    def _forget(self, key: tuple[str, str, int, int]) -> None:
        self._held -= len(self._texts.pop(key).parts)


@dataclass(slots=True)
class _Text:
    since: float
    parts: dict[int, InboundSegment] = field(default_factory=dict[int, InboundSegment])


def _join(parts: dict[int, InboundSegment]) -> str:
    in_order = (parts[number] for number in sorted(parts))
    # Octets are joined before they are read: handsets do cut through surrogate pairs and escape sequences.
    return "".join(
        decode_text(data_coding, b"".join(segment.payload for segment in run))
        for data_coding, run in groupby(in_order, key=lambda segment: segment.data_coding)
    )


def _decode_gsm(payload: bytes) -> str:
    if any(octet > 0x7F for octet in payload):
        raise UnreadableText("an octet is no septet")
    text: list[str] = []
    septets = iter(payload)
    for septet in septets:
        if septet != _ESCAPE:
            text.append(_GSM_BASIC[septet])
            continue
        # TS 23.038 §6.2.1.1: what the extension table lacks reads as in the basic one, an escape as a space.
        code = next(septets, _ESCAPE)
        text.append(" " if code == _ESCAPE else _GSM_EXTENSION.get(code, _GSM_BASIC[code]))
    return "".join(text)


def _ucs_2_atoms(text: str, limit: int) -> Iterator[bytes]:
    """The octets that stay together: a letter with its marks; more marks than a part can hold do not."""
    try:
        for cluster in _clusters(text):
            octets = cluster.encode("utf-16-be")
            if len(octets) <= limit:
                yield octets
            else:
                yield from (character.encode("utf-16-be") for character in cluster)
    except UnicodeEncodeError:
        raise UnsendableText("the text holds half a surrogate pair") from None


def _clusters(text: str) -> Iterator[str]:
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not unicodedata.category(text[at]).startswith("M"):
            yield text[start:at]
            start = at


def _pack(atoms: Iterable[bytes], limit: int) -> list[bytes]:
    parts = [b""]
    for atom in atoms:
        if len(parts[-1]) + len(atom) > limit:
            parts.append(b"")
        parts[-1] += atom
    return parts


def _place_from_header(header: bytes) -> tuple[int, int, int] | None:
    """Reference, total and part from a user data header; the last of several elements counts."""
    place = None
    at = 0
    while at < len(header):
        identifier, length = header[at], header[at + 1] if at + 1 < len(header) else 0
        content = header[at + 2 : at + 2 + length]
        at += 2 + length
        if (identifier, len(content)) in ((_CONCATENATED, 3), (_CONCATENATED_16_BIT, 4)):
            *reference, total, part = content
            place = _place(int.from_bytes(reference, "big"), total, part) or place
    return place if at == len(header) else None


def _place_from_sar(message: Message) -> tuple[int, int, int] | None:
    """Reference, total and part from the sar_* parameters (SMPP 3.4 §5.3.2.22-24), all three or none."""
    reference = message.tlv(Tag.SAR_MSG_REF_NUM)
    total = message.tlv(Tag.SAR_TOTAL_SEGMENTS)
    part = message.tlv(Tag.SAR_SEGMENT_SEQNUM)
    if not (reference and total and part and len(reference) == 2 and len(total) == len(part) == 1):
        return None
    return _place(int.from_bytes(reference, "big"), total[0], part[0])


def _place(reference: int, total: int, part: int) -> tuple[int, int, int] | None:
    return (reference, total, part) if 1 <= part <= total else None
