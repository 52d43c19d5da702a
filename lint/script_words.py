"""Extracts the names and the comment words from a JavaScript, TypeScript or C file."""

from collections.abc import Iterator

from lint.script_tokens import Token, tokens
from lint.sources import Source
from lint.words import Role, Word, prose

_BEFORE_PROPERTY = (".", "?.", "->")


def words(file: Source) -> Iterator[Word]:
    """Yield the file's identifiers and the words of its comments. Skip strings and regular expressions."""
    code: list[Token] = []
    for token in tokens(file.text):
        if token.kind == "comment":
            yield from prose(token.text, token.line)
        else:
            code.append(token)
    edge = Token("mark", "", 0)
    for before, token, after in zip([edge, *code], code, [*code[1:], edge], strict=False):
        if token.kind == "name":
            # The name of a property (`row.place`, `{place: 1}`) may come from a library or from the server.
            is_key = after.text == ":" and before.text in ("{", ",")
            is_property = is_key or before.text in _BEFORE_PROPERTY
            yield Word(token.text, token.line, Role.USED if is_property else Role.DEFINED)
