"""The messages of the load generator."""

import json
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from bench.messages import Letters, number_of, places
from bench.people import Person, letter
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.envelopes import read_tag
from mensagod.values.identity import WorkspaceID


def person() -> Person:
    """Make a user."""
    return {"workspace": str(WorkspaceID.random()), "public": str(EncryptionPair.generate().public)}


class LetterTests(SynchronousTestCase):
    """Envelopes and the requests that send them."""

    def setUp(self) -> None:
        self.key = str(EncryptionPair.generate().public)

    def test_size(self) -> None:
        """An envelope has about the size that is asked for."""
        for size in (1627, 4096, 100_000):
            text = letter(person(), person(), self.key, size)
            self.assertLess(abs(len(text) - size), 10)

    def test_numbers(self) -> None:
        """Each request has another message, which is an envelope and tells its number."""
        letters = Letters.like(letter(person(), person(), self.key, 1627), count(41))
        requests = [letters(), letters()]
        messages = [json.loads(request[3:])["Data"]["Message"].encode() for request in requests]
        self.assertEqual([number_of(message) for message in messages], [41, 42])
        self.assertEqual(letters.last, 42)
        self.assertEqual(read_tag(messages[0]), read_tag(messages[1]))


class PlacesTests(SynchronousTestCase):
    """Spreading clients over server processes."""

    def test_pairs(self) -> None:
        """Sixteen senders and recipients make all pairs of processes, equally often."""
        for ports in ([1], [1, 2], [1, 2, 3, 4]):
            pairs = [places(number, ports) for number in range(16)]
            expected = {(first, second) for first in ports for second in ports}
            self.assertEqual(set(pairs), expected)
            self.assertEqual({pairs.count(pair) for pair in pairs}, {16 // len(expected)})

    def test_first(self) -> None:
        """The first sender and its recipient are at different processes, if there are several."""
        self.assertEqual(places(0, [1, 2]), (1, 2))
