"""Messages that are never whole in memory (spec 01, *Frames*)."""

from collections.abc import AsyncIterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mensagod.status import Status
from mensagod.wire.frames import MAX_PAYLOAD, FrameDecoder, MessageEncoder, encode_message
from mensagod.wire.messages import LongResponse, Response

SIZES = st.one_of(
    st.integers(1, 300),
    st.sampled_from([MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD, 2 * MAX_PAYLOAD + 1]),
)


def content(size: int) -> bytes:
    return bytes(index % 251 for index in range(size))


class MessageEncoderTests(SynchronousTestCase):
    """Pieces of any size become the frames of one message."""

    @settings(max_examples=60, deadline=None)
    @given(SIZES, st.lists(st.integers(1, MAX_PAYLOAD * 2), max_size=6))
    def test_round_trip(self, size: int, cuts: list[int]) -> None:
        """Whatever the pieces, the frames are those of the whole message."""
        message = content(size)
        encoder, frames, at = MessageEncoder(size), b"", 0
        for cut in (*cuts, size):
            frames += b"".join(encoder.feed(message[at : at + cut]))
            at += cut
        encoder.finish()
        self.assertEqual(frames, encode_message(message))
        decoder = FrameDecoder(size)
        decoder.receive(frames)
        self.assertEqual(decoder.next_message(), message)

    def test_wrong_total(self) -> None:
        """More or fewer bytes than announced are a fault of ours, and never a message."""
        encoder = MessageEncoder(3)
        self.assertEqual(encoder.feed(b"ab"), [])
        self.assertRaises(ValueError, encoder.finish)
        self.assertRaises(ValueError, encoder.feed, b"cd")
        self.assertRaises(ValueError, MessageEncoder, 0)


class LongResponseTests(TestCase):
    """A response with a field that comes in pieces is the response with the whole field."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=6),
        st.dictionaries(st.sampled_from(["A", "B"]), st.text(st.characters(exclude_categories=["Cs"]))),
    )
    def test_equal(self, pieces: list[str], fields: dict[str, str]) -> None:
        """Byte for byte, with the size that was announced."""
        whole = Response(Status.OK, data={**fields, "Long": "".join(pieces)}).to_bytes()
        size = len(Response(Status.OK, data={"": "".join(pieces)}).to_bytes())
        size -= len(Response(Status.OK, data={"": ""}).to_bytes())

        async def come() -> AsyncIterator[str]:
            for piece in pieces:
                yield piece

        answer = LongResponse(Response(Status.OK, data=fields), "Long", size, come())
        self.assertEqual(answer.total, len(whole))
        self.assertEqual(self.collect(answer), whole)

    def collect(self, answer: LongResponse) -> bytes:
        found: list[bytes] = []

        async def gather() -> None:
            found.extend([part async for part in answer.parts()])

        work = gather()
        self.assertRaises(StopIteration, work.send, None)
        return b"".join(found)
