"""Texts in MySQL: an encoding that accepts invalid texts from the server, and the characters of each character set."""

import codecs
from collections.abc import Callable
from typing import Any

ENCODING = "storewatch_utf8mb4"
"""Name of the encoding for connections to MySQL and MariaDB. It is UTF-8 without errors.

MariaDB stores lone surrogates in `utf8mb4` columns, although they are no valid UTF-8. One such text must not make a
whole query fail. Bytes that are not valid UTF-8 are decoded as escapes such as `\\xed`. A lone surrogate in a statement
is encoded as `?`.
"""
PYTHON_ENCODINGS = {
    "ascii": "ascii",
    "latin1": "cp1252",  # MySQL's latin1 is Windows-1252
    "latin2": "iso8859_2",
    "cp1251": "cp1251",
    "koi8r": "koi8_r",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "big5": "big5",
    "sjis": "shift_jis",
    "euckr": "euc_kr",
}
"""For each character set of MySQL, Python's encoding with the same characters."""
ALL_CHARACTERS = {"utf8mb4", "utf16", "utf16le", "utf32", "gb18030", "binary"}
BASIC_PLANE = {"utf8", "utf8mb3", "ucs2"}
LAST_OF_BASIC_PLANE = "\uffff"


def check_for(charset: str) -> Callable[[str], bool]:
    """Return a function that returns whether a text consists of characters of this character set of MySQL.

    For an unknown character set, only ASCII texts count.
    """
    if charset in ALL_CHARACTERS:
        return lambda _text: True
    if charset in BASIC_PLANE:
        return lambda text: max(text, default="") <= LAST_OF_BASIC_PLANE
    encoding = PYTHON_ENCODINGS.get(charset, "ascii")

    def is_encodable(text: str) -> bool:
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return False
        return True

    return is_encodable


def _encode(text: str, _errors: str = "") -> tuple[bytes, int]:
    return codecs.utf_8_encode(text, "replace")


def _decode(encoded: Any, _errors: str = "") -> tuple[str, int]:
    return codecs.utf_8_decode(encoded, "backslashreplace", True)


def _find(name: str) -> codecs.CodecInfo | None:
    return codecs.CodecInfo(_encode, _decode, name=ENCODING) if name == ENCODING else None


codecs.register(_find)
