"""The SMPP codec: what it reads and writes, what it refuses, and that nothing else comes out of it."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_bridge.smpp.pdu import (
    MAX_PDU_SIZE,
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    CommandStatus,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Pdu,
    PduError,
    Request,
    Response,
    SubmitSm,
    SubmitSmResp,
    Tag,
    Tlv,
    Unbind,
    UnbindResp,
    address,
    decode,
    encode,
    frame_length,
    response_to,
)

KINDS: list[type[Pdu]] = [
    *(GenericNack, Unbind, UnbindResp, EnquireLink, EnquireLinkResp),
    *(BindReceiver, BindReceiverResp, BindTransmitter, BindTransmitterResp),
    *(BindTransceiver, BindTransceiverResp),
    *(SubmitSm, SubmitSmResp, DeliverSm, DeliverSmResp),
]

# Octets with the closing zero, from the tables of SMPP 3.4 §4 and §5.2; written down here independently.
STRING_SIZES = {
    **{"system_id": 16, "password": 9, "system_type": 13, "address_range": 41},
    **{"service_type": 6, "source_addr": 21, "destination_addr": 21},
    **{"schedule_delivery_time": 17, "validity_period": 17, "message_id": 65},
}
TOO_LONG = {
    "system_id": CommandStatus.ESME_RINVSYSID,
    "password": CommandStatus.ESME_RINVPASWD,
    "system_type": CommandStatus.ESME_RINVSYSTYP,
    "address_range": CommandStatus.ESME_RINVPARLEN,
    "service_type": CommandStatus.ESME_RINVSERTYP,
    "source_addr": CommandStatus.ESME_RINVSRCADR,
    "destination_addr": CommandStatus.ESME_RINVDSTADR,
    "schedule_delivery_time": CommandStatus.ESME_RINVSCHED,
    "validity_period": CommandStatus.ESME_RINVEXPIRY,
    "message_id": CommandStatus.ESME_RINVMSGID,
}

# The sample PDU of SMPP 3.4 §3.2, a bind_transmitter.
SPECIFICATION_SAMPLE = bytes.fromhex(
    "0000002F 00000002 00000000 00000001 534D5050335445535400 736563726574303800 5355424D49543100 00 01 01 00"
)


def field_values(name: str) -> st.SearchStrategy[Any]:
    if name == "sequence_number":
        return st.integers(0, 0xFFFF_FFFF)
    if name == "command_status":
        return st.integers(0, 0xFFFF_FFFF).map(CommandStatus)
    if name == "short_message":
        return st.binary(max_size=254)
    if name == "tlvs":
        tlv = st.builds(Tlv, st.integers(0, 0xFFFF), st.binary(max_size=300))
        return st.lists(tlv, max_size=4).map(tuple)
    if size := STRING_SIZES.get(name):
        return st.text(st.characters(min_codepoint=1, max_codepoint=0xFF), max_size=size - 1)
    return st.integers(0, 0xFF)


def of_kind(kind: type[Pdu]) -> st.SearchStrategy[Pdu]:
    return st.builds(kind, **{field.name: field_values(field.name) for field in fields(kind)})


def has_body(pdu: Pdu) -> bool:
    is_refusal = isinstance(pdu, Response) and pdu.command_status != CommandStatus.ESME_ROK
    return not is_refusal or isinstance(pdu, DeliverSmResp)


pdus = st.sampled_from(KINDS).flatmap(of_kind)


def decode_or_error(frame: bytes) -> Pdu | PduError:
    try:
        return decode(frame)
    except PduError as error:
        return error


def error_of(frame: bytes) -> PduError:
    error = decode_or_error(frame)
    assert isinstance(error, PduError)
    return error


def check(frame: bytes) -> None:
    """Assert what holds for any octets: they are an error, or a PDU that can be written and read again."""
    result = decode_or_error(frame)
    if isinstance(result, PduError):
        assert result.command_status != CommandStatus.ESME_ROK
    elif has_body(result):
        assert decode(encode(result)) == result


def framed(command_id: int, body: bytes, sequence_number: int = 7) -> bytes:
    header = (16 + len(body), command_id, 0, sequence_number)
    return b"".join(number.to_bytes(4, "big") for number in header) + body


def test_reads_and_writes_the_sample_of_the_specification() -> None:
    pdu = BindTransmitter(
        sequence_number=1,
        system_id="SMPP3TEST",
        password="secret08",
        system_type="SUBMIT1",
        interface_version=0,
        addr_ton=1,
        addr_npi=1,
    )
    assert decode(SPECIFICATION_SAMPLE) == pdu
    assert encode(pdu) == SPECIFICATION_SAMPLE


def test_reads_a_deliver_sm_octet_by_octet() -> None:
    body = bytes.fromhex(
        "00"  # service_type
        "01 01 39323330303030303030303100"  # from 923000000001, international, ISDN
        "00 01 3730303000"  # to 7000
        "40 00 00 00 00 00 00 08 00"  # UDHI … UCS-2
        "08 050003CC0201 06F1"  # header: reference 0xCC, part 1 of 2; then ۱
        "020C 0002 0102"  # sar_msg_ref_num
        "1403 0000"  # a vendor's, empty
    )
    message = decode(framed(0x05, body))
    assert isinstance(message, DeliverSm)
    assert (message.source, message.destination) == ("+923000000001", "7000")
    assert (message.esm_class, message.data_coding, message.has_udh) == (0x40, 8, True)
    assert message.payload == bytes.fromhex("050003CC0201 06F1")
    assert message.tlvs == (Tlv(Tag.SAR_MSG_REF_NUM, b"\x01\x02"), Tlv(0x1403, b""))
    assert encode(message) == framed(0x05, body)


@given(pdus.filter(has_body))
def test_what_was_written_reads_the_same(pdu: Pdu) -> None:
    assert decode(encode(pdu)) == pdu


@given(st.binary(max_size=300))
def test_random_octets_are_a_pdu_or_a_pdu_error(frame: bytes) -> None:
    check(frame)


@given(st.sampled_from(KINDS), st.binary(max_size=300), st.integers(0, 0xFFFF_FFFF))
def test_a_right_header_before_random_octets_is_a_pdu_or_a_pdu_error(
    kind: type[Pdu], body: bytes, sequence_number: int
) -> None:
    frame = framed(kind.command_id, body, sequence_number)
    check(frame)
    result = decode_or_error(frame)
    assert (result.sequence_number, result.command_id) == (sequence_number, kind.command_id)


@given(pdus, st.data())
def test_a_truncated_pdu_is_a_pdu_or_a_pdu_error(pdu: Pdu, data: st.DataObject) -> None:
    whole = encode(pdu)
    frame = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    check(bytes(frame))
    if len(frame) >= 16:
        frame[:4] = len(frame).to_bytes(4, "big")
        check(bytes(frame))


@given(pdus, st.data())
def test_a_pdu_with_a_flipped_bit_is_a_pdu_or_a_pdu_error(pdu: Pdu, data: st.DataObject) -> None:
    frame = bytearray(encode(pdu))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    check(bytes(frame))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, field.name) for kind in KINDS for field in fields(kind) if field.name in STRING_SIZES],
)
def test_a_string_that_is_too_long_is_refused_with_its_own_status(kind: type[Pdu], name: str) -> None:
    longest = "9" * (STRING_SIZES[name] - 1)
    whole = encode(kind(sequence_number=5, **{name: longest}))
    assert getattr(decode(whole), name) == longest

    with pytest.raises(PduError) as raised:
        encode(kind(sequence_number=5, **{name: longest + "9"}))
    assert raised.value.command_status == TOO_LONG[name]

    at = whole.index(longest.encode() + b"\0")
    error = error_of(framed(kind.command_id, whole[16:at] + b"9" + whole[at:], sequence_number=5))
    assert (error.command_status, error.sequence_number) == (TOO_LONG[name], 5)


@pytest.mark.parametrize("text", ["a\0b", "پ"])
def test_a_string_that_the_wire_cannot_carry_is_not_written(text: str) -> None:
    with pytest.raises(PduError):
        encode(SubmitSm(source_addr=text))


def test_a_short_message_has_at_most_254_octets() -> None:
    assert decode(encode(SubmitSm(short_message=b"x" * 254))) == SubmitSm(short_message=b"x" * 254)
    with pytest.raises(PduError, match="ESME_RINVMSGLEN"):
        encode(SubmitSm(short_message=b"x" * 255))
    frame = framed(0x04, encode(SubmitSm())[16:-1] + b"\xff" + b"x" * 255)
    assert error_of(frame).command_status == CommandStatus.ESME_RINVMSGLEN


def test_a_short_message_longer_than_its_pdu_is_refused() -> None:
    frame = framed(0x05, encode(DeliverSm())[16:-1] + b"\x03hi")
    assert error_of(frame).command_status == CommandStatus.ESME_RINVMSGLEN


@pytest.mark.parametrize("tail", [b"\x04", b"\x04\x24\x00", b"\x04\x24\x00\x03ab", b"\x04\x24\xff\xff"])
def test_a_broken_optional_parameter_is_refused(tail: bytes) -> None:
    error = error_of(framed(0x05, encode(DeliverSm())[16:] + tail))
    assert error.command_status == CommandStatus.ESME_RINVOPTPARSTREAM


def test_octets_after_the_end_of_a_pdu_are_refused() -> None:
    assert error_of(framed(0x15, b"\0")).command_status == CommandStatus.ESME_RINVCMDLEN


def test_an_unknown_command_is_refused_with_its_number() -> None:
    error = error_of(framed(0x0103, b"", sequence_number=99))
    assert (error.command_status, error.sequence_number) == (CommandStatus.ESME_RINVCMDID, 99)
    assert not error.in_response
    assert response_to(error, error.command_status) == GenericNack(
        sequence_number=99, command_status=CommandStatus.ESME_RINVCMDID
    )


def test_an_unknown_or_unreadable_response_is_told_from_a_request() -> None:
    assert error_of(framed(0x8000_0103, b"")).in_response
    assert error_of(framed(0x8000_0004, b"no closing zero")).in_response


@pytest.mark.parametrize("length", [0, 1, 15, MAX_PDU_SIZE + 1, 0xFFFF_FFFF])
def test_an_impossible_length_is_refused_before_anything_is_read(length: int) -> None:
    with pytest.raises(PduError, match="ESME_RINVCMDLEN"):
        frame_length(length.to_bytes(4, "big"))


def test_a_length_that_is_not_that_of_the_frame_is_refused() -> None:
    a_tlv_too_many = encode(DeliverSm()) + b"\x14\x03\0\0"
    assert error_of(a_tlv_too_many).command_status == CommandStatus.ESME_RINVCMDLEN
    assert error_of(encode(EnquireLink())[:-1]).command_status == CommandStatus.ESME_RINVCMDLEN


def test_the_largest_pdu_is_written_and_one_octet_more_is_not() -> None:
    room = MAX_PDU_SIZE - len(encode(SubmitSm())) - 4
    assert len(encode(SubmitSm(tlvs=(Tlv(Tag.MESSAGE_PAYLOAD, bytes(room)),)))) == MAX_PDU_SIZE
    with pytest.raises(PduError, match="ESME_RINVCMDLEN"):
        encode(SubmitSm(tlvs=(Tlv(Tag.MESSAGE_PAYLOAD, bytes(room + 1)),)))


@pytest.mark.parametrize(
    "pdu",
    [
        EnquireLink(sequence_number=-1),
        EnquireLink(sequence_number=1 << 32),
        SubmitSm(data_coding=256),
        SubmitSm(data_coding=-1),
        SubmitSm(tlvs=(Tlv(1 << 16, b""),)),
    ],
)
def test_a_number_that_does_not_fit_is_not_written(pdu: Pdu) -> None:
    with pytest.raises(PduError):
        encode(pdu)


def test_a_refusing_response_has_no_body_save_deliver_sm_resp() -> None:
    refused = CommandStatus.ESME_RMSGQFUL
    assert len(encode(SubmitSmResp(command_status=refused, message_id="1"))) == 16
    assert len(encode(BindTransceiverResp(command_status=refused, system_id="smsc"))) == 16
    assert encode(DeliverSmResp(command_status=refused))[16:] == b"\0"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, Response)])
def test_a_response_without_its_body_is_read_with_defaults(kind: type[Response]) -> None:
    assert decode(framed(kind.command_id, b"")) == kind(sequence_number=7)


def test_an_operators_own_status_is_kept() -> None:
    nack = GenericNack(command_status=CommandStatus(0x0407))
    assert decode(encode(nack)) == nack
    assert CommandStatus(0x0407).name == "0x00000407"
    with pytest.raises(ValueError, match="is not a valid CommandStatus"):
        CommandStatus(1 << 32)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, Request)])
def test_a_request_is_answered_by_its_own_kind_of_response(kind: type[Request]) -> None:
    response = response_to(kind(sequence_number=3), CommandStatus.ESME_RSYSERR)
    assert type(response).__name__ == kind.__name__ + "Resp"
    assert (response.sequence_number, response.command_status) == (3, CommandStatus.ESME_RSYSERR)


def test_message_payload_holds_what_short_message_cannot() -> None:
    long = b"x" * 300
    assert DeliverSm(tlvs=(Tlv(Tag.MESSAGE_PAYLOAD, long),)).payload == long
    assert DeliverSm(short_message=b"hi").payload == b"hi"
    assert DeliverSm().payload == b""


@pytest.mark.parametrize(
    ("number", "ton", "npi", "digits"),
    [("+923000000001", 1, 1, "923000000001"), ("7000", 0, 1, "7000"), ("NADRA", 5, 0, "NADRA")],
)
def test_a_number_survives_the_wire(number: str, ton: int, npi: int, digits: str) -> None:
    assert address(number) == (ton, npi, digits)
    message = SubmitSm(
        source_addr_ton=ton,
        source_addr_npi=npi,
        source_addr=digits,
        dest_addr_ton=ton,
        dest_addr_npi=npi,
        destination_addr=digits,
    )
    assert (message.source, message.destination) == (number, number)


def test_a_plus_that_the_smsc_left_in_is_not_doubled() -> None:
    assert DeliverSm(source_addr_ton=1, source_addr="+923000000001").source == "+923000000001"


@pytest.mark.parametrize(("esm_class", "is_notice"), [(0x00, False), (0x40, False), (0x04, True), (0x60, True)])
def test_a_delivery_receipt_is_told_from_a_text(esm_class: int, is_notice: bool) -> None:
    assert DeliverSm(esm_class=esm_class).is_notice is is_notice


def test_neither_repr_nor_error_shows_numbers_texts_or_passwords() -> None:
    message = DeliverSm(
        source_addr="923000000001",
        destination_addr="7000",
        short_message=b"6110100000001",
        tlvs=(Tlv(Tag.MESSAGE_PAYLOAD, b"6110100000001"),),
    )
    shown = repr(message) + repr(BindTransceiver(password="secret08"))
    shown += str(error_of(framed(0x05, b"\0\1\1923000000001923000000001")))
    for hidden in ("923000000001", "7000", "6110100000001", "secret08"):
        assert hidden not in shown
