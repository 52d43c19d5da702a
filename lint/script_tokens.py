"""Splits a JavaScript, TypeScript or C file into tokens."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<comment> //[^\n]* | /\*.*?\*/ )
    | (?P<string> "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    | (?P<pattern> / (?: \\. | \[ (?: \\. | [^\]\\\n] )* \] | [^/\\\[\n] )+ / [a-z]* )
    | (?P<name> [A-Za-z_$][\w$]* )
    | (?P<number> \d[\w.]* )
    | (?P<space> \s+ )
    | (?P<mark> => | -> | \?\. | \.\.\. | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ENDS_VALUE = re.compile(r"[\w$)\]}]$")
"""Matches a token after which a slash means a division, unless `_BEFORE_PATTERN` contains the token.

After any other token, a slash starts a regular expression.
"""
_BEFORE_PATTERN = {"return", "typeof", "case", "in", "of", "await", "yield"}


class Token(NamedTuple):
    """A token other than white space; `kind` is `comment`, `string`, `pattern`, `name`, `number` or `mark`."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a text.

    For a template string, yield only the tokens of the code in each `${}`. A `{` token comes before them, and a `}`
    token after them.
    """
    yield from _Scan(text).tokens()


class _Scan:
    """Splits one text into tokens, from start to end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._previous = ""
        self._braces: list[int] = []
        """For each `${` that is not closed yet, the number of open braces within it."""

    def tokens(self) -> Iterator[Token]:
        while self._position < len(self._text):
            if self._text[self._position] == "`":
                self._step("`")
                yield from self._template()
                continue
            token = self._token()
            self._step(token.text)
            if token.kind == "space":
                continue
            yield token
            if token.kind != "comment":
                self._previous = token.text
            if token.kind == "mark" and self._braces:
                yield from self._brace(token.text)

    def _token(self) -> Token:
        match = _TOKEN.match(self._text, self._position)
        divides = _ENDS_VALUE.search(self._previous) and self._previous not in _BEFORE_PATTERN
        if match is None or (match.lastgroup == "pattern" and divides):
            return Token("mark", self._text[self._position], self._line)
        return Token(match.lastgroup or "", match[0], self._line)

    def _brace(self, mark: str) -> Iterator[Token]:
        """Count an opening or closing brace in the code of a template string.

        After the brace that ends the code, continue with the text of the template string.
        """
        if mark == "{":
            self._braces[-1] += 1
        elif mark == "}" and self._braces[-1]:
            self._braces[-1] -= 1
        elif mark == "}":
            self._braces.pop()
            yield from self._template()

    def _template(self) -> Iterator[Token]:
        """Skip the text of a template string, up to the end of the string or to the next `${`.

        If the next code starts, yield a `{` token for its `${`.
        """
        while self._position < len(self._text):
            if self._text.startswith("${", self._position):
                self._step("${")
                self._braces.append(0)
                self._previous = "{"
                yield Token("mark", "{", self._line)
                return
            mark = self._text[self._position]
            self._step(self._text[self._position : self._position + 2] if mark == "\\" else mark)
            if mark == "`":
                self._previous = ")"
                return

    def _step(self, text: str) -> None:
        self._line += text.count("\n")
        self._position += len(text)
