"""The rules of frames, case by case and against the vectors (spec 01, *Frames*)."""

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import CommandError
from mensagod.status import Status
from mensagod.wire.frames import FrameDecoder, FrameFault, MessageTooLarge, encode_message
from tests.wire.vectors import drain, load

LOGGED_IN = 26_000_000


def frames_of(stream: bytes) -> list[list[int]]:
    """The type and length of each frame."""
    frames, at = [], 0
    while at < len(stream):
        length = int.from_bytes(stream[at + 1 : at + 3], "big")
        frames.append([stream[at], length])
        at += 3 + length
    return frames


def fed(data: bytes, limit: int = LOGGED_IN) -> FrameDecoder:
    """A decoder that has received ``data``."""
    decoder = FrameDecoder(limit)
    decoder.receive(data)
    return decoder


class VectorTests(SynchronousTestCase):
    """The streams of the spec and of the newest reference."""

    def check(self, message: bytes, stream_digest: str, frames: list[list[int]]) -> None:
        stream = encode_message(message)
        self.assertEqual(sha256(stream).hexdigest(), stream_digest)
        self.assertEqual(frames_of(stream), frames)
        self.assertEqual(drain(fed(stream)), [message])

    def test_messages_of_the_spec(self) -> None:
        """Each message has the frames that the spec gives it."""
        for vector in load("wire.json")["messages"]:
            idle = vector["name"] == "idle"
            message = b'{"Action":"IDLE","Data":{}}' if idle else b"x" * vector["length"]
            self.assertEqual(sha256(message).hexdigest(), vector["sha256_of_message"])
            self.check(message, vector["sha256_of_stream"], vector["frames"])

    def test_messages_of_the_reference(self) -> None:
        """Each message has the frames that the reference sends and takes."""
        for vector in load("reference-wire.json")["messages"]:
            message = bytes(i % 251 for i in range(vector["payload_length"]))
            frames = [[frame["type"], frame["length"]] for frame in vector["frames"]]
            self.assertEqual(sha256(message).hexdigest(), vector["payload_sha256"])
            self.check(message, vector["stream_sha256"], frames)

    def test_broken_streams(self) -> None:
        """Each is a 400 that ends the connection, at the latest with its last byte."""
        infos = {
            "unknown type": "Unknown frame type 49",
            "reserved type": "Unknown frame type 54",
            "length over 65532": "Frame of 65533 bytes, longer than 65532",
            "final without start": "Part of a multipart message without its start",
            "middle without start": "Part of a multipart message without its start",
            "start inside a multipart message": "New message inside a multipart message",
            "single inside a multipart message": "New message inside a multipart message",
            "total is not a number": "Total of a multipart message is not a number",
            "total is negative": "Total of a multipart message is not a number",
            "total has Unicode digits": "Total of a multipart message is not a number",
            "empty middle": "Empty part of a multipart message",
            "parts shorter than the total": "Parts of a multipart message do not add up to its total",
        }
        vectors = load("wire.json")["broken_streams"]
        self.assertEqual({vector["why"] for vector in vectors}, set(infos))
        for vector in vectors:
            fault = self.assertRaises(FrameFault, fed(bytes.fromhex(vector["hex"])).next_message)
            self.assertEqual((fault.status, fault.close), (Status.BAD_REQUEST, True))
            self.assertEqual(fault.info, infos[vector["why"]])

    def test_empty_message(self) -> None:
        """Like the reference, the encoder refuses an empty message."""
        self.assertEqual(load("reference-wire.json")["empty_message"], "EmptyDataException")
        self.assertRaises(ValueError, encode_message, b"")


class FaultTests(SynchronousTestCase):
    """What a header or a total shows to be wrong is refused at once."""

    def refused(self, hexed: str, limit: int = LOGGED_IN) -> CommandError:
        fault: CommandError = self.assertRaises(CommandError, fed(bytes.fromhex(hexed), limit).next_message)
        self.assertTrue(fault.close)
        return fault

    def test_totals(self) -> None:
        """A total is ASCII digits, a bounded number of them, and more than nothing."""
        for digits in ("", "0", "00000", "+70000", " 70000", "70000\n", "7_0000", "0x11170", "7e4", "1" * 21):
            fault = self.refused("33" + len(digits).to_bytes(2, "big").hex() + digits.encode().hex())
            self.assertEqual(fault.info, "Total of a multipart message is not a number")

    def test_leading_zeros(self) -> None:
        """A total with leading zeros is the same number, and one that fits a single frame is no fault."""
        self.assertEqual(drain(fed(b"\x33\0\x040003\x34\0\x02ab\x35\0\x01c")), [b"abc"])

    def test_middle_that_leaves_nothing(self) -> None:
        """A middle that reaches the total is refused by its header: its final would be empty."""
        fault = self.refused("330001" + b"3".hex() + "340003")
        self.assertEqual(fault.info, "Parts of a multipart message do not add up to its total")

    def test_overshoot(self) -> None:
        """A part beyond the total is refused by its header."""
        for kind in ("34", "35"):
            fault = self.refused("330001" + b"3".hex() + kind + "0004")
            self.assertIsInstance(fault, FrameFault)

    def test_empty_final(self) -> None:
        """A final part is never empty."""
        self.assertEqual(self.refused("33000133350000").info, "Empty part of a multipart message")

    def test_total_over_the_limit(self) -> None:
        """A total over the limit is a 414 before any part arrives."""
        fault = self.refused("330005" + b"65533".hex(), limit=65532)
        self.assertIsInstance(fault, MessageTooLarge)
        self.assertEqual(
            (fault.status, fault.info), (414, "Message of 65533 bytes is over the limit of 65532")
        )

    def test_single_over_the_limit(self) -> None:
        """A single frame over the limit is a 414 as soon as its header is there."""
        self.assertIsInstance(self.refused("320065", limit=100), MessageTooLarge)
        self.assertEqual(drain(fed(b"\x32\0\x64" + bytes(100), limit=100)), [bytes(100)])

    def test_stays_faulted(self) -> None:
        """After a fault nothing is kept and the same fault comes again."""
        decoder = fed(bytes.fromhex("3300053730303030340002414231"))
        decoder.receive(bytes.fromhex("0000"))
        fault = self.assertRaises(FrameFault, decoder.next_message)
        decoder.receive(encode_message(b"{}"))
        self.assertIs(self.assertRaises(FrameFault, decoder.next_message), fault)
        self.assertEqual((decoder.buffered, decoder.held, decoder.mid_message), (0, 0, False))
        self.assertEqual(decoder.take_raw(10), b"")

    def test_messages_before_a_fault(self) -> None:
        """What was whole before a fault is still given."""
        decoder = fed(encode_message(b"{}") + b"GET / HTTP/1.1\r\n")
        self.assertEqual(decoder.next_message(), b"{}")
        self.assertRaises(FrameFault, decoder.next_message)


class StateTests(SynchronousTestCase):
    """What the decoder says of itself."""

    def test_counts(self) -> None:
        """``held`` counts parts put aside, ``buffered`` these and what is unread."""
        decoder = fed(b"")
        for data, held, buffered, inside in (
            (b"\x33\0", 0, 2, True),
            (b"\x015", 0, 0, True),
            (b"\x34\0\x03abc", 3, 3, True),
            (b"\x35\0", 3, 5, True),
        ):
            decoder.receive(data)
            self.assertIsNone(decoder.next_message())
            self.assertEqual((decoder.held, decoder.buffered, decoder.mid_message), (held, buffered, inside))
        decoder.receive(b"\x02de")
        self.assertEqual(drain(decoder), [b"abcde"])
        self.assertEqual((decoder.held, decoder.buffered, decoder.mid_message), (0, 0, False))

    def test_empty_single(self) -> None:
        """An empty single frame is a message: no request, but the stream goes on."""
        self.assertEqual(drain(fed(b"\x32\0\0" + encode_message(b"{}"))), [b"", b"{}"])

    def test_limit_changes_between_messages(self) -> None:
        """A new limit holds from the next message on, even for bytes that are there already."""
        decoder = fed(encode_message(b"{}") + encode_message(bytes(70000)), limit=65532)
        self.assertEqual(decoder.next_message(), b"{}")
        decoder.max_message = 70000
        self.assertEqual(decoder.next_message(), bytes(70000))


class RawTests(SynchronousTestCase):
    """Raw data between messages (spec 01, *Raw data phases*)."""

    def test_raw_then_frames(self) -> None:
        """Frames resume right after the last raw byte, wherever the pieces were cut."""
        decoder = fed(encode_message(b"{}") + b"raw")
        self.assertEqual(decoder.next_message(), b"{}")
        self.assertEqual(decoder.take_raw(5), b"raw")
        decoder.receive(b"23" + encode_message(b"[]"))
        self.assertEqual(decoder.take_raw(2), b"23")
        self.assertEqual(drain(decoder), [b"[]"])
        self.assertEqual((decoder.take_raw(1), decoder.buffered), (b"", 0))

    def test_not_inside_a_message(self) -> None:
        """Raw data cannot begin while a multipart message is open."""
        decoder = fed(b"\x33\0\x015\x34\0\x01a")
        self.assertIsNone(decoder.next_message())
        self.assertRaises(RuntimeError, decoder.take_raw, 3)
