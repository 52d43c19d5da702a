"""Texts that are too long: truncates them for display, or replaces them with a shorter text that is just as unique."""

import hashlib
from typing import Any

LONGEST_TEXT = 255
"""Maximum number of characters of a name, metric, unit or other text that people read. It is the width of the columns
for such texts."""
DIGEST_CHARACTERS = 32


def truncated(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return the text if it has at most `longest` characters. Otherwise return its start, with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def shortened(text: str, longest: int) -> str:
    """Return the text if it has at most `longest` characters. Otherwise return its start and a checksum of the text.

    The same text always gives the same result, and two different texts give different results. Use this function for
    ids and keys, which are compared, and `truncated` for texts that people read.
    """
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:DIGEST_CHARACTERS]
    return f"{text[: longest - DIGEST_CHARACTERS - 1]}~{digest}"


def plain(value: Any) -> str:
    """Return a database value as a text. Decode the bytes of a binary column; bytes that are not UTF-8 are escaped."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
