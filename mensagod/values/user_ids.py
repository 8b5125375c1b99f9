"""The Unicode rules of user IDs (spec 02, *User IDs*)."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mensagod.errors import BadValue

MAX_LENGTH: Final = 64

# A code point decomposes into at most four, and lower-casing never shortens a text. So the normal form of a
# longer text is longer than MAX_LENGTH.
_MAX_INPUT: Final = 4 * MAX_LENGTH

_PLAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_FORBIDDEN: Final = frozenset(' /\\"')
_NEUTRAL: Final = frozenset({"Common", "Inherited"})
_MIXABLE: Final = frozenset({"Latin", "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo"})

# The ranges of Unicode's Default_Ignorable_Code_Point, and the blank Braille pattern.
_INVISIBLE: Final = frozenset(
    chr(code)
    for first, last in (
        (0xAD, 0xAD),
        (0x34F, 0x34F),
        (0x61C, 0x61C),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x200B, 0x200F),
        (0x202A, 0x202E),
        (0x2060, 0x206F),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFEFF, 0xFEFF),
        (0xFFA0, 0xFFA0),
        (0xFFF0, 0xFFF8),
        (0x1BCA0, 0x1BCA3),
        (0x1D173, 0x1D17A),
        (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
)


def normal_form(text: str) -> str:
    """Give the normal form of a user ID: NFC of the lower-cased NFC of ``text``.

    :raises BadValue: if the text has no stable normal form, if that is not 1 to 64 code points long, or if it
        has a character or a dot that is not allowed. Private-use code points count as not printable.
    """
    if len(text) <= MAX_LENGTH and _PLAIN.fullmatch(text):
        return text
    if len(text) > _MAX_INPUT:
        raise BadValue("a user ID has at most 64 characters")
    normal = _fold(text)
    if _fold(normal) != normal:
        raise BadValue("a user ID must have a stable normal form")
    if not 1 <= len(normal) <= MAX_LENGTH:
        raise BadValue("a user ID has 1 to 64 characters")
    if not normal.isprintable() or not _FORBIDDEN.isdisjoint(normal):
        raise BadValue("a user ID has only printable characters, no blank, slash, backslash or quote")
    if normal.startswith(".") or normal.endswith(".") or ".." in normal:
        raise BadValue("a user ID has single dots only, none at either end")
    return normal


def is_all_visible(text: str) -> bool:
    """Tell whether a name has no invisible characters and does not begin with a mark."""
    return _INVISIBLE.isdisjoint(text) and not unicodedata.category(text[0]).startswith("M")


def skeleton(text: str) -> str:
    """Give the form in which names are compared for confusion: NFKC, case-folded, NFKC."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def is_single_script(text: str) -> bool:
    """Tell whether the scripts of the letters of ``text`` may be mixed in one user ID.

    Marks and letter numbers count as letters. Common and Inherited may be mixed with every script; Latin,
    Han, Hiragana, Katakana, Hangul and Bopomofo may be mixed with each other.
    """
    if text.isascii():
        return True
    script = script_lookup()
    scripts = {script(character) for character in text if _is_letter(character)}
    scripts -= _NEUTRAL
    return len(scripts) <= 1 or scripts <= _MIXABLE


@lru_cache(maxsize=1)
def script_lookup() -> Callable[[str], str]:
    """Give the function that finds a character's script; the first call loads its tables.

    The tables take almost a megabyte, which a server with only ASCII names never needs. A server that starts
    as root calls this before it changes account (spec 06, *Configuration*).
    """
    import unicodedataplus  # noqa: PLC0415

    lookup: Callable[[str], str] = unicodedataplus.script
    return lookup


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Nl"
