"""Answers are filled up to a length that tells nothing."""

from hypothesis import example, given
from hypothesis import strategies as st

from hub.transport.convert.lookup import pad
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicResponse


@given(length=st.integers(0, 5000), unit=st.sampled_from([256, 1024, 16_384]))
@example(length=1024 - 2, unit=1024)
@example(length=1024 - 3, unit=1024)
@example(length=1024 - 133, unit=1024)
def test_a_message_is_a_multiple_long(length: int, unit: int) -> None:
    message = CheckCnicResponse(revision="x" * length)
    before = message.ByteSize()
    pad(message, unit)
    assert message.ByteSize() % unit == 0
    assert message.ByteSize() - before < 2 * unit
    assert not message.padding.strip(b"\0")
