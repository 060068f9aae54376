"""The stream: framing, prefix and the incremental decoder.

Source: RFC 9329 §3, RFC 9329 §4, RFC 9329 §6.1, RFC 9329 §6.6
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp import stream
from iketcp.errors import (
    LengthTooSmallError,
    MessageTooLongError,
    Scope,
    StreamPrefixError,
)
from iketcp.stream import (
    MAX_MESSAGE,
    NON_ESP_MARKER,
    STREAM_PREFIX,
    EspFrames,
    MessageKind,
    StreamDecoder,
    StreamMessage,
    frame_esp,
    frame_esp_batch,
    frame_esp_runs,
    frame_ike,
    frames_of,
)

IKE = bytes(range(1, 61))
ESP = bytes.fromhex("c0ffee01 00000001") + bytes(range(24))
KEEPALIVE_FRAME = bytes.fromhex("0003ff")
EMPTY_FRAME = bytes.fromhex("0002")
NOISE = [(MessageKind.KEEPALIVE, b"\xff"), (MessageKind.EMPTY, b"")]

spis = st.integers(1, 2**32 - 1).map(lambda spi: spi.to_bytes(4, "big"))
esp_packets = st.tuples(spis, st.binary(max_size=80)).map(b"".join)
ike_messages = st.binary(min_size=28, max_size=120)
junk = st.one_of(
    st.binary(min_size=1, max_size=3).filter(lambda message: message != b"\xff"),
    st.binary(max_size=27).map(lambda begin: NON_ESP_MARKER + begin),
)
expected_messages: st.SearchStrategy[list[StreamMessage]] = st.lists(
    st.one_of(
        st.tuples(st.just(MessageKind.IKE), ike_messages),
        st.tuples(st.just(MessageKind.ESP), esp_packets),
        st.tuples(st.just(MessageKind.UNPARSEABLE), junk),
        st.sampled_from(NOISE),
    ),
    max_size=12,
)


def octets_of(messages: list[StreamMessage]) -> bytes:
    """Write messages down without the module under test."""
    out = b""
    for kind, octets in messages:
        body = NON_ESP_MARKER + octets if kind is MessageKind.IKE else octets
        out += (len(body) + 2).to_bytes(2, "big") + body
    return out


def decode(octets: bytes) -> list[StreamMessage]:
    """Decode a stream of the TCP Responder that must not fail."""
    decoder = StreamDecoder(expects_prefix=False)
    messages = decoder.feed(octets)
    assert decoder.failure is None
    return messages


# --- framing ------------------------------------------------------------------


def test_prefix_is_six_octets_of_ascii() -> None:
    """The prefix is 49 4b 45 54 43 50 [9329-4-prefix]."""
    assert bytes.fromhex("494b45544350") == STREAM_PREFIX


def test_ike_frame_has_length_and_marker() -> None:
    """Length counts itself, the marker and the message [9329-3.1-marker]."""
    assert frame_ike(IKE) == bytes.fromhex("0042 00000000") + IKE


def test_esp_frame_has_length_only() -> None:
    """Length counts itself and the packet, in network order [9329-3-length]."""
    assert frame_esp(ESP) == bytes.fromhex("0022") + ESP
    assert frame_esp(b"\x01" * 510)[:2] == b"\x02\x00"


def test_batch_is_the_frames_in_order() -> None:
    """A batch is what its packets give one by one; none gives nothing."""
    packets = [ESP, b"\x01" * 1400, ESP[:8]]
    assert frame_esp_batch(iter(packets)) == b"".join(map(frame_esp, packets))
    assert frame_esp_batch([]) == b""


def test_longest_messages_are_framed() -> None:
    """65,533 octets fit, and for IKE the marker is among them [9329-3-max]."""
    assert frame_esp(b"\x01" * MAX_MESSAGE)[:2] == b"\xff\xff"
    longest_ike = frame_ike(b"\x01" * (MAX_MESSAGE - 4))
    assert longest_ike[:6] == bytes.fromhex("ffff00000000")
    assert len(longest_ike) == 65535


def test_longer_messages_are_refused() -> None:
    """One octet more is a local error that names the limit [9329-3-max]."""
    with pytest.raises(MessageTooLongError, match="65534 octets exceeds 65533") as info:
        frame_esp(b"\x01" * (MAX_MESSAGE + 1))
    assert info.value.scope is Scope.LOCAL
    with pytest.raises(MessageTooLongError, match="65534"):
        frame_ike(b"\x01" * (MAX_MESSAGE - 3))
    with pytest.raises(MessageTooLongError):
        frame_esp_batch([ESP, b"\x01" * 70000, ESP])


def test_keepalives_are_never_made() -> None:
    """The module has no way to frame a keepalive but by hand [9329-6.6-send]."""
    makers = [name for name in vars(stream) if name.startswith("frame_")]
    assert sorted(makers) == [
        "frame_esp",
        "frame_esp_batch",
        "frame_esp_runs",
        "frame_ike",
    ]


# --- kinds ----------------------------------------------------------------------


def test_first_word_tells_ike_from_esp() -> None:
    """Four zero octets are IKE, one bit in them is ESP [9329-3-type]."""
    assert decode(frame_ike(IKE)) == [(MessageKind.IKE, IKE)]
    for bit in range(32):
        packet = (1 << bit).to_bytes(4, "big") + bytes(28)
        assert decode(frame_esp(packet)) == [(MessageKind.ESP, packet)]


def test_empty_message_is_ignored() -> None:
    """Length 2 is reported as EMPTY and the next message comes [9329-3-empty]."""
    assert decode(EMPTY_FRAME + frame_esp(ESP)) == [
        (MessageKind.EMPTY, b""),
        (MessageKind.ESP, ESP),
    ]


def test_keepalive_is_its_own_kind() -> None:
    """Length 3 with octet FF is a keepalive and no failure [9329-6.6-drop]."""
    assert decode(KEEPALIVE_FRAME + frame_ike(IKE)) == [
        (MessageKind.KEEPALIVE, b"\xff"),
        (MessageKind.IKE, IKE),
    ]


@pytest.mark.parametrize("message", ["00", "fe", "ffff", "0000", "ffffff", "000000"])
def test_short_message_is_unparseable(message: str) -> None:
    """One to three octets that are no keepalive are neither kind [9329-3-short]."""
    octets = bytes.fromhex(message)
    assert decode(frame_esp(octets) + frame_esp(ESP)) == [
        (MessageKind.UNPARSEABLE, octets),
        (MessageKind.ESP, ESP),
    ]


def test_short_ike_is_unparseable() -> None:
    """A marker needs 28 octets of IKE header behind it [9329-3-short]."""
    for size in range(28):
        octets = NON_ESP_MARKER + IKE[:size]
        assert decode(frame_esp(octets)) == [(MessageKind.UNPARSEABLE, octets)]
    assert decode(frame_ike(IKE[:28])) == [(MessageKind.IKE, IKE[:28])]


def test_shortest_esp_is_an_spi() -> None:
    """Four octets that are not zero are ESP; what is missing is ESP's concern."""
    assert decode(frame_esp(b"\xff" * 4)) == [(MessageKind.ESP, b"\xff" * 4)]


# --- Lengths that end the stream --------------------------------------------------


@pytest.mark.parametrize("length", [0, 1])
def test_fatal_length_ends_the_stream(length: int) -> None:
    """Length 0 or 1 fails with CONNECTION scope [9329-3.1-length]."""
    decoder = StreamDecoder(expects_prefix=False)
    octets = frame_ike(IKE) + bytes([0, length]) + frame_esp(ESP)
    assert decoder.feed(octets) == [(MessageKind.IKE, IKE)]
    assert isinstance(decoder.failure, LengthTooSmallError)
    assert decoder.failure.scope is Scope.CONNECTION
    assert str(decoder.failure) == f"Length is {length}"


@pytest.mark.parametrize("length", [0, 1])
def test_fatal_length_is_seen_when_cut(length: int) -> None:
    """The same when the Length comes octet by octet [9329-3.2-length]."""
    decoder = StreamDecoder(expects_prefix=False)
    assert decoder.feed(frame_esp(ESP) + b"\x00") == [(MessageKind.ESP, ESP)]
    assert decoder.pending == 1
    assert decoder.feed(bytes([length])) == []
    assert isinstance(decoder.failure, LengthTooSmallError)
    assert decoder.pending == 0


def test_nothing_comes_after_a_failure() -> None:
    """Octets after a failure are ignored, and the failure stays."""
    decoder = StreamDecoder(expects_prefix=False)
    decoder.feed(bytes(2))
    first = decoder.failure
    assert decoder.feed(frame_esp(ESP)) == []
    assert decoder.failure is first
    assert decoder.pending == 0


# --- the prefix -------------------------------------------------------------------


def test_nothing_is_parsed_before_the_prefix_is_whole() -> None:
    """The prefix may come octet by octet; then messages follow [9329-6.1-wait]."""
    decoder = StreamDecoder(expects_prefix=True)
    for octet in STREAM_PREFIX[:-1]:
        assert decoder.feed(bytes([octet])) == []
        assert not decoder.has_prefix
        assert decoder.feed(b"") == []
    assert decoder.feed(STREAM_PREFIX[-1:] + frame_esp(ESP)) == [(MessageKind.ESP, ESP)]
    assert decoder.has_prefix
    assert decoder.failure is None


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("whole", [True, False])
def test_wrong_prefix_fails_at_once(position: int, whole: bool) -> None:
    """The first wrong octet ends the stream [9329-6.1-noprefix]."""
    begin = STREAM_PREFIX[:position] + b"?"
    decoder = StreamDecoder(expects_prefix=True)
    if whole:
        assert decoder.feed(begin + frame_ike(IKE)) == []
    else:
        for octet in begin[:-1]:
            assert decoder.feed(bytes([octet])) == []
        assert decoder.failure is None
        assert decoder.feed(begin[-1:]) == []
    assert isinstance(decoder.failure, StreamPrefixError)
    assert decoder.failure.scope is Scope.CONNECTION
    assert f"begins with {begin.hex()}" in str(decoder.failure)
    assert decoder.feed(STREAM_PREFIX + frame_ike(IKE)) == []


def test_second_prefix_is_a_length() -> None:
    """The prefix comes once; again it is Length 0x494b [9329-4-once]."""
    decoder = StreamDecoder(expects_prefix=True)
    assert decoder.feed(STREAM_PREFIX * 2 + frame_ike(IKE)) == []
    assert decoder.pending == 6 + len(frame_ike(IKE))
    missing = 0x494B - decoder.pending
    ((kind, octets),) = decoder.feed(bytes(missing))
    assert kind is MessageKind.ESP
    assert octets.startswith(b"ETCP")
    assert len(octets) == 0x494B - 2


def test_responder_stream_has_no_prefix() -> None:
    """The TCP Responder's first octets are a Length [9329-4-originator]."""
    decoder = StreamDecoder(expects_prefix=False)
    assert decoder.has_prefix
    assert decoder.feed(frame_ike(IKE)) == [(MessageKind.IKE, IKE)]


# --- incomplete messages ------------------------------------------------------------


def test_pending_counts_what_is_held() -> None:
    """Pending octets are those of the incomplete message, Length included."""
    decoder = StreamDecoder(expects_prefix=False)
    frame = frame_ike(IKE)
    for count, octet in enumerate(frame[:-1], 1):
        assert decoder.feed(bytes([octet])) == []
        assert decoder.pending == count
    assert decoder.feed(frame[-1:]) == [(MessageKind.IKE, IKE)]
    assert decoder.pending == 0


def test_partial_message_is_discarded() -> None:
    """What a broken connection cut off is never completed [9329-6.1-partial]."""
    decoder = StreamDecoder(expects_prefix=False)
    frame = frame_esp(ESP)
    assert decoder.feed(frame + frame[:20]) == [(MessageKind.ESP, ESP)]
    assert decoder.discard() == 20
    assert decoder.pending == 0
    assert decoder.feed(frame[20:] + frame) == []
    assert decoder.failure is None
    assert decoder.discard() == 0


def test_partial_message_is_given_back() -> None:
    """Whoever doubts the boundary gets the octets, and the decoder no more."""
    decoder = StreamDecoder(expects_prefix=False)
    frame = frame_esp(ESP)
    assert decoder.feed(frame[:20]) == []
    assert decoder.give_back() == frame[:20]
    assert decoder.pending == 0
    assert decoder.feed(frame) == []
    assert decoder.give_back() == b""


@pytest.mark.parametrize("chunk", [1, 2, 3, 1448, 65534, 65535, 65536, 262144])
def test_longest_messages_in_chunks(chunk: int) -> None:
    """Messages of 65,533 octets come whole from chunks of any size."""
    packets = [bytes([number]) * MAX_MESSAGE for number in (1, 2, 3)]
    octets = frame_esp_batch(packets)
    decoder = StreamDecoder(expects_prefix=False)
    messages = []
    for at in range(0, len(octets), chunk):
        messages += decoder.feed(octets[at : at + chunk])
        assert decoder.pending < 65535
    assert messages == [(MessageKind.ESP, packet) for packet in packets]


# --- properties -----------------------------------------------------------------------


@given(expected_messages, st.booleans(), st.data())
def test_cutting_never_matters(
    messages: list[StreamMessage], has_prefix: bool, data: st.DataObject
) -> None:
    """Messages depend on the octets only, however cut [9329-3-segmentation]."""
    octets = (STREAM_PREFIX if has_prefix else b"") + octets_of(messages)
    cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=8).map(sorted))
    decoder = StreamDecoder(expects_prefix=has_prefix)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        found += decoder.feed(octets[start:end])
    assert found == messages
    assert decoder.failure is None
    assert decoder.pending == 0


@given(st.binary(max_size=400), st.booleans())
def test_any_octets_decode_the_same_one_by_one(octets: bytes, has_prefix: bool) -> None:
    """No input raises, and whole or octet by octet gives the same end."""
    whole = StreamDecoder(expects_prefix=has_prefix)
    single = StreamDecoder(expects_prefix=has_prefix)
    messages = whole.feed(octets)
    found = []
    for octet in octets:
        found += single.feed(bytes([octet]))
    assert found == messages
    assert repr(single.failure) == repr(whole.failure)
    assert single.pending == whole.pending


@given(ike_messages, esp_packets)
def test_framing_and_decoding_are_inverse(ike: bytes, esp: bytes) -> None:
    """What is framed decodes to itself (RFC 9329 §3.1, §3.2)."""
    octets = frame_ike(ike) + frame_esp(esp)
    assert octets == octets_of([(MessageKind.IKE, ike), (MessageKind.ESP, esp)])
    assert decode(octets) == [(MessageKind.IKE, ike), (MessageKind.ESP, esp)]


# --- runs ---------------------------------------------------------------------------


def test_esp_packets_of_one_size_and_spi_stay_together() -> None:
    """Until the size or the SPI is another; the last one may be under way."""
    same = [b"\1\1\1\1" + bytes([n]) * 20 for n in range(5)]
    other = b"\2\2\2\2" + bytes(20)
    longer = b"\2\2\2\2" + bytes(21)
    ike = bytes(4) + bytes(range(28))
    messages = [*same, other, longer, ike, same[0], same[1]]
    octets = frame_esp_batch(messages)
    decoder = StreamDecoder(expects_prefix=False)
    runs = decoder.feed_runs(octets[:-1])
    expected = [same, [other], [longer], [ike[4:]], [same[0]]]
    assert [list(run) for _, run in runs] == expected
    assert [len(run) for _, run in runs] == [5, 1, 1, 1, 1]
    assert [list(run) for _, run in decoder.feed_runs(octets[-1:])] == [[same[1]]]


@given(st.lists(st.sampled_from([0, 1, 3, 4, 24, 25, 40]), max_size=30), st.data())
def test_runs_are_the_messages(sizes: list[int], data: st.DataObject) -> None:
    """Wherever the stream is cut, and whatever follows what."""
    messages = [(b"\1\1\1\1" + bytes(40))[:size] for size in sizes]
    octets = frame_esp_batch(messages)
    cut = data.draw(st.integers(0, len(octets)))
    decoder = StreamDecoder(expects_prefix=False)
    runs = decoder.feed_runs(octets[:cut]) + decoder.feed_runs(octets[cut:])
    assert all(run for _, run in runs)
    assert [message for _, run in runs for message in run] == messages


def test_frames_are_a_sequence_of_packets() -> None:
    packets = [bytes([9, n]) + bytes(10) for n in range(6)]
    octets = b"before" + frame_esp_batch(packets) + b"behind"
    frames = EspFrames(octets, 6, 14, 6)
    assert list(frames) == packets
    assert frames[1:4] == packets[1:4]
    assert frames[-1] == packets[-1]
    with pytest.raises(IndexError):
        frames[6]
    assert frame_esp_runs([packets[:2], frames]) == frame_esp_batch(
        packets[:2] + packets
    )


def test_whole_frames_are_taken_apart() -> None:
    """What was framed here, IKE and ESP alike; the marker stays."""
    packets = [bytes([9, n]) + bytes(10 * n) for n in range(4)]
    octets = frame_esp_batch(packets) + frame_ike(IKE)
    assert list(frames_of(octets)) == [*packets, NON_ESP_MARKER + IKE]
    assert list(frames_of(b"")) == []
