"""Delivery tags: spellings, versions and everything that is refused (spec 05, *Delivery tag*)."""

import json
from datetime import UTC, datetime

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from tests.delivery.samples import TAG, tags


def with_members(**changes: object) -> str:
    """Give the text of a tag with some members changed, or left out where the change is ``None``."""
    members: dict[str, object] = json.loads(str(TAG)) | changes
    return json.dumps({name: value for name, value in members.items() if value is not None})


class SpellingTests(SynchronousTestCase):
    """The newest names are written, the older ones are read."""

    def test_newest_form(self) -> None:
        """A tag is written with exactly the members of the newest form, in their order."""
        members = json.loads(str(TAG))
        expected = ["receiver", "sender", "type", "date", "payloadKey", "keyHash", "version"]
        self.assertEqual(list(members), expected)
        self.assertIn('"version":1.0}', str(TAG))

    def test_optional_members(self) -> None:
        """``subType`` stands before the version, as in the reference; ``sendTime`` comes last."""
        tag = evolve(TAG, sub_type="devrequest", send_time=TAG.date)
        self.assertEqual(list(json.loads(str(tag)))[-3:], ["subType", "version", "sendTime"])
        self.assertEqual(DeliveryTag.from_text(str(tag)), tag)

    def test_older_names(self) -> None:
        """Names in the spelling of the drafts are read as the newest ones."""
        tag = evolve(TAG, sub_type="note", send_time=TAG.date)
        older = {name[0].upper() + name[1:]: value for name, value in json.loads(str(tag)).items()}
        self.assertEqual(DeliveryTag.from_text(json.dumps(older)), tag)

    def test_any_case(self) -> None:
        """Names are matched without regard to case."""
        shouted = {name.upper(): value for name, value in json.loads(str(TAG)).items()}
        self.assertEqual(DeliveryTag.from_text(json.dumps(shouted)), TAG)

    def test_no_letters_but_ascii(self) -> None:
        """The Kelvin sign is no k: such a name is that of an unknown member."""
        text = with_members(keyHash=None, KeyHash="BLAKE2B-256:x")
        with self.assertRaises(BadEnvelope):
            DeliveryTag.from_text(text)

    def test_unknown_members(self) -> None:
        """Members that nobody knows are ignored, whatever they hold."""
        self.assertEqual(DeliveryTag.from_text(with_members(x=[1, {"y": None}], z=1e9)), TAG)

    def test_types(self) -> None:
        """Both spellings of both types are read."""
        for text, expected in (
            ("User", MessageType.USER),
            ("usermessage", MessageType.USER),
            ("System", MessageType.SYSTEM),
            ("sysmessage", MessageType.SYSTEM),
        ):
            self.assertIs(DeliveryTag.from_text(with_members(type=text)).type, expected)

    def test_versions(self) -> None:
        """The version is the number 1.0 or its text."""
        for version in (1.0, 1, "1.0", "1"):
            self.assertEqual(DeliveryTag.from_text(with_members(version=version)), TAG)

    def test_older_times(self) -> None:
        """Times are read in the older form too."""
        tag = DeliveryTag.from_text(with_members(date="20240321T120000Z", sendTime="20240401T000000Z"))
        self.assertEqual(tag.date, TAG.date)
        self.assertEqual(tag.send_time, datetime(2024, 4, 1, tzinfo=UTC))

    def test_empty_optional(self) -> None:
        """An optional member that is null or empty counts as missing."""
        text = str(TAG).replace('"version"', '"subType":"","sendTime":null,"version"')
        self.assertEqual(DeliveryTag.from_text(text), TAG)


class RefusalTests(SynchronousTestCase):
    """Whatever is not a tag is :class:`BadEnvelope`."""

    def assert_refused(self, text: str) -> None:
        """The text is no tag."""
        self.assertRaises(BadEnvelope, DeliveryTag.from_text, text)

    def test_missing_members(self) -> None:
        """Each member but ``subType`` and ``sendTime`` must be there."""
        for name in json.loads(str(TAG)):
            self.assert_refused(with_members(**{name: None}))

    def test_bad_values(self) -> None:
        """A value that is not of its type is refused, in optional members too."""
        bad: list[dict[str, object]] = [
            {"receiver": "no cryptostring"},
            {"sender": 5},
            {"payloadKey": ["CURVE25519:x"]},
            {"keyHash": "BLAKE2B-256:short"},
            {"keyHash": "MD5:abcdefghijklmnopqrst"},
            {"type": "system"},
            {"type": "SDF"},
            {"date": "yesterday"},
            {"sendTime": "2024-02-30T00:00:00Z"},
            {"subType": "a\nb"},
            {"subType": "\ud800"},
            {"subType": {}},
            {"version": 2.0},
            {"version": "1.1"},
            {"version": True},
            {"version": {}},
        ]
        for changes in bad:
            self.assert_refused(with_members(**changes))

    def test_repeated_members(self) -> None:
        """A member that stands twice is refused, also in another case, unknown or deep inside."""
        for extra in ('"type":"User"', '"TYPE":"System"', '"x":1,"X":1', '"x":{"y":1,"y":2}'):
            self.assert_refused(str(TAG)[:-1] + f",{extra}}}")

    def test_not_json(self) -> None:
        """Texts that only look like a JSON object are refused."""
        for text in ("", "[]", "null", "{", str(TAG) + "x", str(TAG)[:-1] + ",}", '{"x":NaN}', '{"x":\\[}'):
            self.assert_refused(text)

    def test_nesting(self) -> None:
        """Deep nesting is refused before it is parsed; brackets inside of a string do not count."""
        for bomb in ("[" * 60_000, '{"x":' * 10_000, "[" * 17 + "]" * 17):
            self.assert_refused(str(TAG)[:-1] + f',"x":{bomb}}}')
        text = with_members(x='\\"' + "[" * 1000)
        self.assertEqual(DeliveryTag.from_text(text), TAG)

    def test_long_numbers(self) -> None:
        """Numbers that would take long to read are refused."""
        for number in ("9" * 60_000, "0." + "1" * 60_000):
            self.assert_refused(str(TAG)[:-1] + f',"x":{number}}}')


class PropertyTests(SynchronousTestCase):
    """What holds for all tags and all texts."""

    @given(tags)
    @settings(deadline=None)
    def test_round_trip(self, tag: DeliveryTag) -> None:
        """What is written is read again as the same."""
        self.assertEqual(DeliveryTag.from_text(str(tag)), tag)

    @given(
        st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists), st.data()
    )
    @settings(deadline=None)
    def test_any_value(self, value: object, data: st.DataObject) -> None:
        """With any JSON as the value of a member a tag is read or refused with our error."""
        name = data.draw(st.sampled_from([*json.loads(str(TAG)), "subType", "sendTime"]))
        try:
            tag = DeliveryTag.from_text(with_members(**{name: value}))
        except BadEnvelope:
            return
        self.assertEqual(DeliveryTag.from_text(str(tag)), tag)
