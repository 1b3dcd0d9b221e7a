"""The text of short messages: codings, division into segments, reassembly."""

import unicodedata
from contextlib import suppress
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_bridge.smpp.pdu import DeliverSm, Tag, Tlv
from sms_bridge.smpp.text import (
    GSM,
    UCS_2,
    InboundSegment,
    Reassembler,
    Segment,
    UnreadableText,
    UnsendableText,
    decode_text,
    encode_segments,
    inbound_segment,
    outbound_message,
)

HANDSET, OTHER_HANDSET, SHORTCODE = "+923000000001", "+923000000002", "7000"

# TS 23.038 §6.2.1, row by row; None is the escape.
GSM_TABLE = [
    *"@£$¥èéùìòÇ\nØø\rÅå",
    *("Δ", "_", "Φ", "Γ", "Λ", "Ω", "Π", "Ψ", "Σ", "Θ", "Ξ", None, "Æ", "æ", "ß", "É"),
    *" !\"#¤%&'()*+,-./",
    *"0123456789:;<=>?",
    *"¡ABCDEFGHIJKLMNO",
    *"PQRSTUVWXYZÄÖÑÜ§",
    *"¿abcdefghijklmno",
    *"pqrstuvwxyzäöñüà",
]
GSM_EXTENSION = {
    **{"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F},
    **{"[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65},
}


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def inbound(segment: Segment, source: str = HANDSET) -> InboundSegment:
    return inbound_segment(outbound_message(DeliverSm, source, SHORTCODE, segment))


def part(number: int, payload: bytes, *, reference: int = 1, total: int = 2, source: str = HANDSET) -> InboundSegment:
    return InboundSegment(source, SHORTCODE, GSM, payload, reference, total, number)


def texts_of(segments: list[Segment]) -> list[bytes]:
    """The octets of text, without the header, whose form is asserted on the way."""
    if len(segments) == 1:
        assert segments[0].esm_class == 0
        return [segments[0].short_message]
    for number, segment in enumerate(segments, start=1):
        assert segment.esm_class == 0x40
        assert segment.short_message[:3] == b"\x05\x00\x03"
        assert tuple(segment.short_message[4:6]) == (len(segments), number)
    assert len({segment.short_message[3] for segment in segments}) == 1
    return [segment.short_message[6:] for segment in segments]


def test_every_gsm_character_has_its_code() -> None:
    assert len(GSM_TABLE) == 128
    for code, character in enumerate(GSM_TABLE):
        if character is not None:
            assert decode_text(GSM, bytes([code])) == character
            assert encode_segments(character, 0) == [Segment(GSM, 0, bytes([code]))]
    for character, code in GSM_EXTENSION.items():
        assert decode_text(GSM, bytes([0x1B, code])) == character
        assert encode_segments(character, 0) == [Segment(GSM, 0, bytes([0x1B, code]))]


@pytest.mark.parametrize(
    ("octets", "text"),
    [(b"\x1bA", "A"), (b"a\x1b\x1bb", "a b"), (b"a\x1b", "a "), (b"\x1b\x0d", "\r")],
)
def test_an_escape_to_nowhere_reads_as_the_basic_table_or_a_space(octets: bytes, text: str) -> None:
    assert decode_text(GSM, octets) == text


@pytest.mark.parametrize(
    ("data_coding", "octets", "text"),
    [
        (0, b"61101-0000000-1", "61101-0000000-1"),
        (1, b"61101@", "61101@"),
        (3, b"caf\xe9", "café"),
        (8, "۶۱۱۰۱-۰۰۰۰۰۰۰-۱".encode("utf-16-be"), "۶۱۱۰۱-۰۰۰۰۰۰۰-۱"),
        (8, b"\xd8\x3d\xde\x00", "😀"),
    ],
)
def test_reads_the_codings_of_the_networks(data_coding: int, octets: bytes, text: str) -> None:
    assert decode_text(data_coding, octets) == text


@pytest.mark.parametrize(
    ("data_coding", "octets"),
    [
        (0, b"\x80"),
        (1, b"\xe9"),
        (8, b"\x06"),
        (8, b"\xd8\x3d"),
        (8, b"\xde\x00\x00a"),
        (4, b"binary"),
        (2, b"binary"),
        (0xF5, b"class"),
    ],
)
def test_octets_that_are_no_text_are_a_typed_error(data_coding: int, octets: bytes) -> None:
    with pytest.raises(UnreadableText) as raised:
        decode_text(data_coding, octets)
    assert repr(octets) not in str(raised.value)


@given(st.integers(0, 255), st.binary(max_size=300))
def test_any_octets_are_a_text_or_a_typed_error(data_coding: int, octets: bytes) -> None:
    with suppress(UnreadableText):
        assert len(decode_text(data_coding, octets)) <= len(octets)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", [0]),
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("a" * 158 + "€", [160]),
        ("a" * 159 + "€", [153, 8]),
        ("a" * 152 + "€" + "a" * 10, [152, 12]),  # the escape sequence would be cut at 153
        ("€" * 100, [152, 48]),
        ("ب" * 70, [140]),
        ("ب" * 71, [134, 8]),
        ("ب" * 66 + "😀" + "ب" * 5, [132, 14]),  # the surrogate pair would be cut at 67
        ("ب" * 66 + "بّ" + "ب" * 5, [132, 14]),  # the shadda would begin the second part
        ("ب" * 65 + "بَّ" + "ب" * 5, [130, 16]),  # two marks
    ],
)
def test_divides_a_text_into_the_fewest_parts_that_hold_together(text: str, sizes: list[int]) -> None:
    segments = encode_segments(text, 7)
    octets = texts_of(segments)
    assert [len(part) for part in octets] == sizes
    assert "".join(decode_text(segments[0].data_coding, part) for part in octets) == text


@given(
    st.text(st.sampled_from("aé€[ب۱ّ\u0301😀\U000e0100") | st.characters(exclude_categories=["Cs"]), max_size=400),
    st.integers(),
)
def test_any_text_is_divided_and_read_back(text: str, reference: int) -> None:
    segments = encode_segments(text, reference)
    octets = texts_of(segments)
    limit = {GSM: (160, 153), UCS_2: (140, 134)}[segments[0].data_coding][len(segments) > 1]
    assert all(len(part) <= limit for part in octets)
    if len(segments) > 1:
        assert segments[0].short_message[3] == reference % 256
    parts = [decode_text(segments[0].data_coding, part) for part in octets]
    assert "".join(parts) == text
    for before, after in pairwise(parts):
        assert not is_mark(after[0]) or marks_at_the_end(before) + marks_at_the_start(after) > 60
    reassembler = Reassembler()
    results = [reassembler.add(inbound(segment)) for segment in segments]
    assert results == [None] * (len(segments) - 1) + [text]


def is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc", "Me")


def marks_at_the_start(text: str) -> int:
    return len(text) - len(text.lstrip("".join(filter(is_mark, text))))


def marks_at_the_end(text: str) -> int:
    return len(text) - len(text.rstrip("".join(filter(is_mark, text))))


def test_the_reference_is_taken_modulo_256() -> None:
    assert {segment.short_message[3] for segment in encode_segments("a" * 200, 0x1CC)} == {0xCC}


def test_more_marks_than_a_part_can_hold_are_divided_all_the_same() -> None:
    text = "ب" + "ّ" * 200
    octets = texts_of(encode_segments(text, 0))
    assert b"".join(octets).decode("utf-16-be") == text
    assert all(len(part) <= 134 for part in octets)


@pytest.mark.parametrize(("character", "room"), [("a", 153), ("ب", 67)])
def test_a_text_of_more_than_255_parts_is_a_typed_error(character: str, room: int) -> None:
    assert len(encode_segments(character * room * 255, 0)) == 255
    with pytest.raises(UnsendableText):
        encode_segments(character * (room * 255 + 1), 0)


def test_half_a_surrogate_pair_is_a_typed_error_that_hides_the_text() -> None:
    with pytest.raises(UnsendableText) as raised:
        encode_segments("خبردار \ud83d", 0)
    assert "خبردار" not in str(raised.value)


def test_a_message_of_its_own_has_no_reference() -> None:
    assert inbound(encode_segments("hello", 9)[0]) == InboundSegment(HANDSET, SHORTCODE, GSM, b"hello")


@pytest.mark.parametrize(
    ("header", "place"),
    [
        ("05 00 03 CC 02 01", (0xCC, 2, 1)),
        ("06 08 04 01CC 02 01", (0x01CC, 2, 1)),
        ("0A 24 01 0D 25 00 00 03 CC 02 01", (0xCC, 2, 1)),  # among the national language elements
        ("0A 00 03 01 03 01 00 03 CC 02 01", (0xCC, 2, 1)),  # twice: the last counts
        ("05 00 03 CC 02 03", (None, 1, 1)),  # part 3 of 2
        ("05 00 03 CC 02 00", (None, 1, 1)),  # part 0
        ("05 00 03 CC 00 00", (None, 1, 1)),
        ("05 00 04 CC 02 01", (None, 1, 1)),  # an element longer than the header
        ("06 00 03 CC 02 01 24", (None, 1, 1)),  # an element without a length
        ("04 00 02 CC 02", (None, 1, 1)),  # too short to be a concatenation
        ("00", (None, 1, 1)),
    ],
)
def test_reads_the_place_of_a_part_from_its_header(header: str, place: tuple[int | None, int, int]) -> None:
    message = DeliverSm(esm_class=0x40, short_message=bytes.fromhex(header) + b"hi")
    segment = inbound_segment(message)
    assert (segment.reference, segment.total, segment.part) == place
    assert segment.payload == b"hi"


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\x05\x00\x03\xcc\x02"])
def test_a_header_longer_than_its_message_is_unreadable(octets: bytes) -> None:
    with pytest.raises(UnreadableText):
        inbound_segment(DeliverSm(esm_class=0x40, short_message=octets))


@given(
    st.binary(max_size=60),
    st.integers(0, 255),
    st.lists(st.tuples(st.sampled_from([0x20C, 0x20E, 0x20F]), st.binary(max_size=3)), max_size=4),
)
def test_any_message_is_a_segment_or_unreadable(octets: bytes, esm_class: int, tlvs: list[tuple[int, bytes]]) -> None:
    message = DeliverSm(esm_class=esm_class, short_message=octets, tlvs=tuple(Tlv(*tlv) for tlv in tlvs))
    with suppress(UnreadableText):
        assert octets.endswith(inbound_segment(message).payload)


def sar(number: int, payload: bytes, *, reference: bytes = b"\x01\x02") -> DeliverSm:
    return DeliverSm(
        source_addr="3000000001",
        short_message=payload,
        tlvs=(
            Tlv(Tag.SAR_MSG_REF_NUM, reference),
            Tlv(Tag.SAR_TOTAL_SEGMENTS, b"\x02"),
            Tlv(Tag.SAR_SEGMENT_SEQNUM, bytes([number])),
        ),
    )


def test_parts_marked_by_optional_parameters_are_joined() -> None:
    reassembler = Reassembler()
    assert reassembler.add(inbound_segment(sar(2, b"0000-1"))) is None
    assert reassembler.add(inbound_segment(sar(1, b"61101-0"))) == "61101-00000-1"


def test_optional_parameters_that_are_not_all_there_are_ignored() -> None:
    whole = sar(1, b"hello")
    for missing in range(3):
        tlvs = tuple(tlv for at, tlv in enumerate(whole.tlvs) if at != missing)
        assert inbound_segment(DeliverSm(short_message=b"hello", tlvs=tlvs)).reference is None
    assert inbound_segment(sar(1, b"hello", reference=b"\x01")).reference is None


def test_a_message_in_message_payload_is_read_whole() -> None:
    message = DeliverSm(data_coding=UCS_2, tlvs=(Tlv(Tag.MESSAGE_PAYLOAD, ("۶" * 200).encode("utf-16-be")),))
    assert Reassembler().add(inbound_segment(message)) == "۶" * 200


def test_a_part_longer_than_a_short_message_is_unreadable() -> None:
    header = bytes.fromhex("05 00 03 CC 02 01")
    with pytest.raises(UnreadableText):
        inbound_segment(DeliverSm(esm_class=0x40, tlvs=(Tlv(Tag.MESSAGE_PAYLOAD, header + b"x" * 255),)))


@pytest.mark.parametrize("place", [(1, 0, 0), (1, 2, 0), (1, 2, 3), (1, 256, 1)])
def test_an_inbound_segment_cannot_be_part_3_of_2(place: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="part 1 to total"):
        InboundSegment(HANDSET, SHORTCODE, GSM, b"", *place)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_parts_are_joined_in_whatever_order_they_come(order: tuple[int, ...]) -> None:
    text = "خبردار! " * 20
    segments = [inbound(segment) for segment in encode_segments(text, 7)]
    assert len(segments) == 3
    reassembler = Reassembler()
    results = [reassembler.add(segments[at]) for at in order]
    assert results == [None, None, text]


def test_a_part_that_comes_twice_counts_once() -> None:
    reassembler = Reassembler()
    assert reassembler.add(part(1, b"one ")) is None
    assert reassembler.add(part(1, b"one ")) is None
    assert reassembler.add(part(2, b"two")) == "one two"


def test_a_part_that_comes_again_after_the_text_was_complete_opens_no_new_text() -> None:
    reassembler = Reassembler()
    reassembler.add(part(1, b"one "))
    assert reassembler.add(part(2, b"two")) == "one two"
    assert reassembler.add(part(2, b"two")) is None
    assert reassembler.add(part(1, b"ONE ")) is None
    assert reassembler.add(part(2, b"TWO")) == "ONE TWO"


def test_a_handset_that_uses_a_reference_again_does_not_mix_its_texts() -> None:
    reassembler = Reassembler()
    reassembler.add(part(1, b"old "))
    assert reassembler.add(part(1, b"new ")) is None
    assert reassembler.add(part(2, b"text")) == "new text"


def test_two_handsets_with_the_same_reference_never_mix() -> None:
    reassembler = Reassembler()
    assert reassembler.add(part(1, b"61101-0000000", source=HANDSET)) is None
    assert reassembler.add(part(2, b"-2", source=OTHER_HANDSET)) is None
    assert reassembler.add(part(2, b"-1", source=HANDSET)) == "61101-0000000-1"
    assert reassembler.add(part(1, b"61101-0000000", source=OTHER_HANDSET)) == "61101-0000000-2"


def test_texts_of_one_handset_with_other_references_or_totals_never_mix() -> None:
    reassembler = Reassembler()
    assert reassembler.add(part(1, b"a", reference=1)) is None
    assert reassembler.add(part(2, b"b", reference=2)) is None
    assert reassembler.add(part(2, b"c", reference=1, total=3)) is None
    assert reassembler.add(part(3, b"d", reference=1, total=3)) is None


def test_a_character_cut_by_the_handset_is_joined_before_it_is_read() -> None:
    emoji = "😀".encode("utf-16-be")
    reassembler = Reassembler()
    first, second = (InboundSegment(HANDSET, SHORTCODE, UCS_2, emoji[at : at + 2], 1, 2, at // 2 + 1) for at in (0, 2))
    assert reassembler.add(first) is None
    assert reassembler.add(second) == "😀"
    assert reassembler.add(part(1, b"1\x1b", reference=2)) is None
    assert reassembler.add(part(2, b"e", reference=2)) == "1€"


def test_parts_may_differ_in_their_coding() -> None:
    reassembler = Reassembler()
    reassembler.add(part(1, b"61101 "))
    second = InboundSegment(HANDSET, SHORTCODE, UCS_2, "۱".encode("utf-16-be"), 1, 2, 2)
    assert reassembler.add(second) == "61101 ۱"


def test_a_complete_text_that_cannot_be_read_is_a_typed_error() -> None:
    reassembler = Reassembler()
    reassembler.add(part(1, b"one"))
    with pytest.raises(UnreadableText):
        reassembler.add(part(2, b"\xff"))


def test_parts_older_than_the_limit_are_forgotten() -> None:
    clock = Clock()
    reassembler = Reassembler(max_age=60.0, clock=clock)
    reassembler.add(part(1, b"old "))
    clock.now = 59.9
    reassembler.add(part(1, b"other ", reference=2))
    clock.now = 60.0
    assert reassembler.add(part(2, b"late")) is None
    assert reassembler.add(part(2, b"in time", reference=2)) == "other in time"


def test_memory_is_bounded_and_the_oldest_text_gives_way() -> None:
    reassembler = Reassembler(max_segments=3)
    for reference in range(1, 5):
        assert reassembler.add(part(1, b"x", reference=reference)) is None
    assert reassembler.add(part(2, b"y", reference=1)) is None
    assert reassembler.add(part(2, b"y", reference=4)) == "xy"


def test_a_text_longer_than_the_whole_memory_is_given_up() -> None:
    reassembler = Reassembler(max_segments=2)
    for number in range(1, 4):
        assert reassembler.add(part(number, b"x", total=4)) is None
    assert reassembler.add(part(4, b"x", total=4)) is None


def test_reassembly_from_journaled_segments_gives_the_same_texts() -> None:
    segments = [
        inbound(segment, source)
        for text, source in (("ب" * 100, HANDSET), ("a" * 200, OTHER_HANDSET))
        for segment in encode_segments(text, 1)
    ]
    journal = [segments[at] for at in (0, 2, 3, 1)]
    first, second = Reassembler(), Reassembler()
    expected = [None, None, "a" * 200, "ب" * 100]
    assert [first.add(segment) for segment in journal] == expected
    assert [second.add(segment) for segment in journal] == expected


def test_no_repr_shows_numbers_or_texts() -> None:
    shown = repr(part(1, b"6110100000001")) + repr(Segment(GSM, 0, b"6110100000001"))
    for hidden in (HANDSET, SHORTCODE, "6110100000001"):
        assert hidden not in shown
