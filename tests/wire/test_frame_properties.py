"""What holds for every stream of bytes (spec 01, *Frames*)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.wire.frames import FrameDecoder, FrameFault, MessageTooLarge, encode_message
from tests.wire.vectors import drain, read_pieces

#: A frame that is not whole: its header and at most this much of its payload.
FRAME = 65535
#: Small, so that generated streams reach it.
LIMIT = 40

quick = settings(max_examples=150, deadline=None)


def frame(kind: int, payload: bytes) -> bytes:
    return bytes((kind,)) + len(payload).to_bytes(2, "big") + payload


def multipart(parts: list[bytes]) -> bytes:
    """A multipart message of given parts."""
    frames = [frame(51, b"%d" % sum(map(len, parts)))]
    frames += [frame(52, part) for part in parts[:-1]]
    return b"".join([*frames, frame(53, parts[-1])])


payloads = st.binary(max_size=20)
frames = st.builds(
    frame, st.sampled_from([50, 51, 52, 53, 53, 54]), payloads | st.sampled_from([b"9", b"30", b"77"])
)
wholes = st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5).map(multipart)
streams = st.lists(frames | wholes | st.binary(max_size=5), max_size=8).map(b"".join)


@st.composite
def cut(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """Bytes, and the same bytes in pieces."""
    data = draw(whole)
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return data, [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


class StreamTests(SynchronousTestCase):
    """However it was cut, whatever it holds."""

    @given(cut(streams))
    @quick
    def test_cuts_do_not_matter(self, stream: tuple[bytes, list[bytes]]) -> None:
        """A stream gives the same messages and the same fault however it is cut."""
        whole, pieces = stream
        expected = read_pieces([whole], LIMIT)
        self.assertEqual(read_pieces(pieces, LIMIT), expected)
        self.assertEqual(read_pieces([bytes((byte,)) for byte in whole], LIMIT), expected)

    @given(st.binary(max_size=200) | streams, st.integers(1, 7))
    @quick
    def test_bounded(self, stream: bytes, step: int) -> None:
        """Any bytes give messages or our fault, and what is kept has a bound."""
        decoder = FrameDecoder(LIMIT)
        for at in range(0, len(stream), step):
            decoder.receive(stream[at : at + step])
            try:
                for message in drain(decoder):
                    self.assertLessEqual(len(message), LIMIT)
            except (FrameFault, MessageTooLarge) as fault:
                self.assertTrue(fault.close)
                self.assertEqual(decoder.buffered, 0)
            self.assertLessEqual(decoder.held, LIMIT)
            self.assertLessEqual(decoder.buffered, LIMIT + 3)

    @given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 200_000))
    @quick
    def test_round_trip(self, messages: list[bytes], size: int) -> None:
        """What was encoded comes back, small or in parts, and nothing stays behind."""
        messages.append(b"m" * size)
        decoder = FrameDecoder(200_000)
        decoder.receive(b"".join(map(encode_message, messages)))
        self.assertEqual(drain(decoder), messages)
        self.assertEqual((decoder.buffered, decoder.mid_message), (0, False))

    @given(
        st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=30)), max_size=6), st.integers(1, 40)
    )
    @quick
    def test_raw_between_messages(self, phases: list[tuple[bool, bytes]], step: int) -> None:
        """Raw bytes and messages by turns come out as they went in."""
        stream = b"".join(data if raw else encode_message(data) for raw, data in phases)
        pieces = iter([stream[at : at + step] for at in range(0, len(stream), step)])
        decoder = FrameDecoder(LIMIT)
        for raw, data in phases:
            taken = b""
            while taken != data:
                more = decoder.take_raw(len(data) - len(taken)) if raw else decoder.next_message()
                taken += more or b""
                if not more:
                    decoder.receive(next(pieces))
        self.assertEqual(decoder.buffered, 0)


class SizeTests(SynchronousTestCase):
    """Large messages, and many tiny parts."""

    def test_large_message(self) -> None:
        """A message of the largest size comes back from pieces as the network gives them."""
        message = bytes(26_000_000)
        stream = encode_message(message)
        messages, fault = read_pieces(
            [stream[at : at + 65536] for at in range(0, len(stream), 65536)], 26_000_000
        )
        self.assertEqual((messages == [message], fault), (True, None))

    def test_kept_of_a_large_message(self) -> None:
        """While a large message arrives, never more is kept than it has brought and one frame."""
        stream = encode_message(bytes(1_000_000))
        decoder = FrameDecoder(1_000_000)
        for at in range(0, len(stream) - 1000, 1000):
            decoder.receive(stream[at : at + 1000])
            self.assertIsNone(decoder.next_message())
            self.assertLessEqual(decoder.buffered, min(at + 1000, decoder.held + FRAME))

    def test_tiny_parts(self) -> None:
        """Parts of one byte are joined like any others."""
        parts = [b"x"] * 20_000
        self.assertEqual(read_pieces([multipart(parts)], 20_000), ([b"".join(parts)], None))

    def test_pipelined(self) -> None:
        """Many messages in one piece come out one by one, also when a fault follows."""
        stream = encode_message(b"{}") * 1000 + b"\0\0\0"
        messages, fault = read_pieces([stream], LIMIT)
        self.assertEqual((len(messages), fault), (1000, "400 Unknown frame type 0"))

    def test_pipelined_one_at_a_time(self) -> None:
        """A caller that takes one message per piece gets them all, in order."""
        decoder = FrameDecoder(LIMIT)
        sent = [b"%d" % number for number in range(100)]
        decoder.receive(b"".join(map(encode_message, sent[:50])))
        got = []
        for message in sent[50:]:
            decoder.receive(encode_message(message))
            got.append(decoder.next_message())
        self.assertEqual(got + drain(decoder), sent)
