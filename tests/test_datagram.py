"""Datagrams on ports 500 and 4500: the vectors say the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.datagram import MAX_DATAGRAM, ike_datagram, sort_datagram
from iketcp.errors import MessageTooLongError
from iketcp.stream import MIN_IKE_MESSAGE, MessageKind, frame_esp, frame_ike

ENCAPSULATED = [False, True]


@given(st.binary(min_size=MIN_IKE_MESSAGE, max_size=200), st.booleans())
def test_what_is_written_is_read(message: bytes, is_encapsulated: bool) -> None:
    """RFC 7296 §2.23: an IKE message comes through either port unchanged."""
    datagram = ike_datagram(message, is_encapsulated)
    assert sort_datagram(datagram, is_encapsulated) == (MessageKind.IKE, message)


@given(st.binary(max_size=200))
def test_a_datagram_is_a_message_of_a_stream_without_length(octets: bytes) -> None:
    """RFC 9329 §3: TCP carries what UDP port 4500 carries, behind a Length."""
    kind, message = sort_datagram(octets, is_encapsulated=True)
    if kind is MessageKind.IKE:
        assert frame_ike(message)[2:] == octets
    else:
        assert frame_esp(message)[2:] == octets


@given(st.binary(max_size=200))
def test_port_500_has_ike_alone(octets: bytes) -> None:
    """RFC 7296 §2.23: UDP encapsulation must not be done on port 500."""
    kind, message = sort_datagram(octets, is_encapsulated=False)
    kinds = (MessageKind.IKE, MessageKind.EMPTY, MessageKind.UNPARSEABLE)
    assert kind in kinds
    assert message == octets


@pytest.mark.parametrize("is_encapsulated", ENCAPSULATED)
def test_what_no_datagram_holds_is_refused(is_encapsulated: bool) -> None:
    """Nothing is cut; the marker counts."""
    longest = MAX_DATAGRAM - (4 if is_encapsulated else 0)
    assert len(ike_datagram(bytes(longest), is_encapsulated)) == MAX_DATAGRAM
    with pytest.raises(MessageTooLongError, match="exceeds 65507"):
        ike_datagram(bytes(longest + 1), is_encapsulated)
