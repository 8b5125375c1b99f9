"""Card-Data: framed entries, and nothing but them."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.keycards.carddata import compose_card_data, frame_entry, framed_size, split_card_data
from mensagod.keycards.entries import MAX_ENTRY, Entry
from mensagod.keycards.errors import BadKeycardData
from tests.keycards.cards import Organization, User, vectors

TEXTS: list[str] = vectors("keycards.json")["organization"] + vectors("keycards.json")["user"]


class CardDataTests(SynchronousTestCase):
    """Composing and taking apart."""

    @given(st.lists(st.sampled_from(TEXTS), max_size=8))
    @settings(max_examples=50, deadline=None)
    def test_round_trip(self, texts: list[str]) -> None:
        """Any entries come back, from their texts or from entries, and their sizes add up."""
        data = compose_card_data(texts)
        self.assertEqual(list(split_card_data(data)), texts)
        self.assertEqual(compose_card_data([Entry.from_text(text) for text in texts]), data)
        self.assertEqual(sum(framed_size(text) for text in texts), len(data.encode()))

    def test_size_in_bytes(self) -> None:
        """Sizes are of UTF-8."""
        text = User(Organization()).current.with_line("Name", "Se\u00f1or").text
        self.assertEqual(framed_size(text), len(frame_entry(text).encode()))

    def test_name_like_a_mark(self) -> None:
        """A name that looks like the end of an entry does not end it."""
        entry = User(Organization()).current.with_line("Name", "----- END ENTRY -----")
        self.assertEqual(list(split_card_data(compose_card_data([entry]))), [entry.text])

    def test_refused(self) -> None:
        """Anything before, between or after, and an entry without end or too long."""
        data = compose_card_data(TEXTS[:1])
        for bad in (
            " " + data,
            data + " ",
            data + "\r\n" + data,
            data[:-2],
            data.replace("\r\n", "\n"),
            data.replace("----- BEGIN", "-----BEGIN"),
            frame_entry("x" * (MAX_ENTRY + 1) + "\r\n"),
            frame_entry("no end of the line"),
        ):
            self.assertRaises(BadKeycardData, list, split_card_data(bad))

    @given(st.text(), st.integers(0, 100))
    @settings(deadline=None)
    def test_any_text(self, text: str, place: int) -> None:
        """No text raises anything but our condition."""
        data = compose_card_data(TEXTS[:1])
        for bad in (text, data[:place] + text + data[place:]):
            try:
                texts = list(split_card_data(bad))
            except BadKeycardData:
                continue
            self.assertEqual(compose_card_data(texts), bad)
