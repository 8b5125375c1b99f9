"""The Unicode rules of user IDs (spec 02, *User IDs*)."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mensagod.errors import BadValue

MAX_LENGTH: Final = 64

# No code point decomposes into more than four, and lower-casing never shortens a
# text: what is longer than this cannot have a normal form within MAX_LENGTH.
_MAX_INPUT: Final = 4 * MAX_LENGTH

_PLAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_FORBIDDEN: Final = frozenset(' /\\"')
_NEUTRAL: Final = frozenset({"Common", "Inherited"})
_MIXABLE: Final = frozenset({"Latin", "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo"})


def normal_form(text: str) -> str:
    """Give the normal form of a user ID: NFC of the lower-cased NFC of ``text``.

    :raises BadValue: if the text has no stable normal form, is not 1 to 64 code
        points long in it, or has a character or a dot where none may be. Private-use
        code points count as not printable.
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


def is_single_script(text: str) -> bool:
    """Tell whether the letters of ``text`` are of scripts that go together in one user ID.

    Marks and letter-like numbers count as letters. Common and Inherited go with
    everything; Latin, Han, Hiragana, Katakana, Hangul and Bopomofo go with each other.
    """
    if text.isascii():
        return True
    script = script_lookup()
    scripts = {script(character) for character in text if _is_letter(character)}
    scripts -= _NEUTRAL
    return len(scripts) <= 1 or scripts <= _MIXABLE


@lru_cache(maxsize=1)
def script_lookup() -> Callable[[str], str]:
    """Give the function that tells a character's script, loading its tables the first time.

    They are most of a megabyte, which a server whose names are all ASCII never needs. One
    that starts as root calls this before it changes account (spec 06, *Configuration*).
    """
    import unicodedataplus  # noqa: PLC0415

    lookup: Callable[[str], str] = unicodedataplus.script
    return lookup


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Nl"
