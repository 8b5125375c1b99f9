"""Timestamps, dates and numbers."""

from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.errors import BadValue
from mensagod.values.times import (
    format_date,
    format_timestamp,
    parse_date,
    parse_integer,
    parse_long,
    parse_timestamp,
    parse_unix_time,
)
from tests.refusing import RefusingCase

MOMENT = datetime(2024, 2, 29, 5, 6, 7, tzinfo=UTC)
few = settings(deadline=None)
number_like = st.text() | st.text("0123456789-+:TZ. _٣²\n", max_size=40)


class TimestampTests(RefusingCase):
    def test_both_forms(self) -> None:
        self.assertEqual(parse_timestamp("2024-02-29T05:06:07Z"), MOMENT)
        self.assertEqual(parse_timestamp("20240229T050607Z"), MOMENT)
        self.assertEqual(format_timestamp(MOMENT), "2024-02-29T05:06:07Z")

    def test_fractions_are_cut_and_zones_converted(self) -> None:
        early = datetime(1, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)
        self.assertEqual(format_timestamp(early), "0001-01-01T00:00:00Z")
        east = MOMENT.astimezone(timezone(timedelta(hours=9)))
        self.assertEqual(format_timestamp(east), "2024-02-29T05:06:07Z")

    def test_a_time_without_zone_is_a_fault(self) -> None:
        self.assertRaises(ValueError, format_timestamp, MOMENT.replace(tzinfo=None))

    def test_other_forms_are_refused(self) -> None:
        self.refuses(
            parse_timestamp,
            "",
            "2024-02-29",
            "2024-02-29T05:06:07",
            "2024-02-29 05:06:07Z",
            "2024-02-29t05:06:07z",
            "2024-02-29T05:06:07.0Z",
            "2024-02-29T05:06:07+00:00",
            "2024-02-29T05:06:07Z\n",
            "2024-02-29T050607Z",
            "20240229T05:06:07Z",
            "٢٠٢٤-02-29T05:06:07Z",
        )

    def test_times_that_do_not_exist_are_refused(self) -> None:
        self.refuses(
            parse_timestamp,
            "2023-02-29T00:00:00Z",
            "2024-02-29T24:00:00Z",
            "2024-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "20241301T000000Z",
        )

    @few
    @given(st.datetimes(timezones=st.just(UTC)))
    def test_round_trip(self, moment: datetime) -> None:
        text = format_timestamp(moment)
        self.assertEqual(parse_timestamp(text), moment.replace(microsecond=0))
        self.assertEqual(parse_timestamp(text.replace("-", "").replace(":", "")), parse_timestamp(text))


class DateTests(RefusingCase):
    def test_both_forms(self) -> None:
        self.assertEqual(parse_date("2024-02-29"), date(2024, 2, 29))
        self.assertEqual(parse_date("20240229"), date(2024, 2, 29))
        self.assertEqual(format_date(MOMENT), "2024-02-29")

    def test_refused(self) -> None:
        self.refuses(
            parse_date,
            "",
            "2023-02-29",
            "2024-2-3",
            "2024-0229",
            "2024-02-29\n",
            "0000-01-01",
            "2024-02-29T00:00:00Z",
        )

    @few
    @given(st.dates())
    def test_round_trip(self, day: date) -> None:
        self.assertEqual(parse_date(format_date(day)), day)


class NumberTests(RefusingCase):
    def test_ranges(self) -> None:
        self.assertEqual(parse_integer("0"), 0)
        self.assertEqual(parse_integer("2147483647"), 2**31 - 1)
        self.assertEqual(parse_long("9223372036854775807"), 2**63 - 1)
        self.assertEqual(parse_unix_time("0001700000000"), 1_700_000_000)
        self.refuses(parse_integer, "2147483648")
        self.refuses(parse_long, "9223372036854775808")
        self.refuses(parse_unix_time, "9223372036854775808")

    def test_only_ascii_digits(self) -> None:
        for parse in (parse_integer, parse_long, parse_unix_time):
            self.refuses(
                parse,
                "",
                " 1",
                "1 ",
                "1\n",
                "+1",
                "-1",
                "1_0",
                "0x1",
                "1.0",
                "1e3",
                "٣",
                "²",
                "9" * 1_000_000,
            )

    @few
    @given(number_like)
    def test_a_value_or_bad_value(self, text: str) -> None:
        """No parser of this module lets another error out."""
        for parse in (parse_timestamp, parse_date, parse_integer, parse_long, parse_unix_time):
            try:
                value = parse(text)
            except BadValue:
                continue
            self.assertTrue(text.isascii() and value is not None)

    @few
    @given(st.integers(0, 2**63 - 1))
    def test_round_trip(self, number: int) -> None:
        self.assertEqual(parse_long(str(number)), number)
