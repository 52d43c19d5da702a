"""Extracts the names, and the words of the comments and docstrings, from a Python file."""

import ast
import io
import tokenize
from collections.abc import Iterator

from lint.sources import Source
from lint.words import Role, Word, prose


def words(file: Source) -> Iterator[Word]:
    """Yield the file's identifiers and the words of its comments and docstrings."""
    for node in file.nodes:
        yield from _names(node)
        yield from _docstrings(node)
    for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
        if token.type == tokenize.COMMENT:
            yield from prose(token.string, token.start[0])


def _names(node: ast.AST) -> Iterator[Word]:
    match node:
        case ast.Name():
            yield Word(node.id, node.lineno, _role(node.ctx))
        case ast.Attribute():
            yield Word(node.attr, node.end_lineno or node.lineno, _role(node.ctx))
        case ast.keyword(arg=str(name)):
            yield Word(name, node.lineno, Role.USED)
        case ast.arg():
            yield Word(node.arg, node.lineno, Role.DEFINED)
        case ast.ImportFrom(module=str(module)):
            yield from (Word(name, node.lineno, Role.USED) for name in module.split("."))
        case ast.alias():
            yield from (Word(name, node.lineno, Role.USED) for name in node.name.split("."))
            if node.asname:
                yield Word(node.asname, node.lineno, Role.DEFINED)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield Word(name, node.lineno, Role.DEFINED)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from _definition(node)


def _definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[Word]:
    if node.name.startswith("test_"):
        # The name of a test is a sentence, so its words are prose.
        yield from prose(node.name.replace("_", " "), node.lineno)
    else:
        yield Word(node.name, node.lineno, Role.DEFINED)


def _role(context: ast.expr_context) -> Role:
    return Role.USED if isinstance(context, ast.Load) else Role.DEFINED


def _docstrings(node: ast.AST) -> Iterator[Word]:
    """Yield the words of a docstring. A bare string after a field also counts, because it documents the field."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        yield from prose(node.value.value, node.lineno)
