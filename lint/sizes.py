"""Finds functions, constructors and files that are too large. lint/sizes.yaml lists the exceptions with reasons."""

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from lint.script_tokens import tokens
from lint.sources import Problem, Source, load, matches

FUNCTION_LINES = 60
CONSTRUCTOR_PARAMETERS = 8
"""Maximum number of parameters of a constructor, without `self`."""
FILE_LINES = 450
HERE = "lint/sizes.yaml"


class Allowed(msgspec.Struct, forbid_unknown_fields=True):
    """An exception: a file, or the function `name` in the file, that may exceed the limits."""

    file: str
    reason: str
    name: str = ""


class Rules(msgspec.Struct, forbid_unknown_fields=True):
    """The content of lint/sizes.yaml. `unchecked` are patterns of files that are not checked."""

    unchecked: list[str]
    allowed: list[Allowed]


class Function(NamedTuple):
    """A function with its first line, its number of lines, and its number of parameters without `self`."""

    name: str
    line: int
    lines: int
    parameters: int = 0


def check(files: Sequence[Source], rules: Rules | None = None) -> Iterator[Problem]:
    """Yield a problem for each file, function or constructor that is too large, and for each unneeded exception."""
    rules = rules or load("sizes.yaml", Rules)
    allowed = {(exception.file, exception.name) for exception in rules.allowed}
    needed = set()
    for file in files:
        if file.suffix != ".md" and not matches(file.path, rules.unchecked):
            for name, problem in _too_large(file):
                if (file.path, name) in allowed:
                    needed.add((file.path, name))
                else:
                    yield problem
    for path, name in allowed - needed:
        yield Problem(HERE, 1, f"the exception for {name or 'all'} in {path} is not needed: remove it")


def _too_large(file: Source) -> Iterator[tuple[str, Problem]]:
    """Yield the name and the problem of each function that is too large.

    The name is empty if the whole file is too large.
    """
    lines = len(file.text.splitlines())
    if lines > FILE_LINES:
        yield "", Problem(file.path, 1, f"{lines} lines in a file: at most {FILE_LINES}")
    for function in functions(file):
        if function.lines > FUNCTION_LINES:
            text = f"{function.lines} lines in `{function.name}`: at most {FUNCTION_LINES}"
            yield function.name, Problem(file.path, function.line, text)
        if function.name == "__init__" and function.parameters > CONSTRUCTOR_PARAMETERS:
            text = f"{function.parameters} parameters of a constructor: at most {CONSTRUCTOR_PARAMETERS}"
            yield function.name, Problem(file.path, function.line, text)


def functions(file: Source) -> Iterator[Function]:
    """Yield the functions of a Python or JavaScript file. Other types of files are not parsed."""
    if file.suffix == ".py":
        yield from python_functions(file)
    elif file.suffix in (".js", ".mjs"):
        yield from script_functions(file)


def python_functions(file: Source) -> Iterator[Function]:
    """Yield the functions and methods of a Python file."""
    for node in file.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            named = [parameter for parameter in parameters if parameter.arg != "self"]
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(node.name, node.lineno, lines, len(named))


def script_functions(file: Source) -> Iterator[Function]:
    """Yield the functions of a JavaScript file that have a body in braces."""
    open_braces: list[tuple[str, int] | None] = []
    """For each open brace, None or the name and line of the function whose body starts at the brace."""
    heading: tuple[str, int] | None = None
    code = [token for token in tokens(file.text) if token.kind != "comment"]
    depth = 0
    """Number of open parentheses since the word `function`. A brace within them does not start the function's body."""
    for index, token in enumerate(code):
        if token.text == "function":
            heading, depth = (code[index + 1].text, token.line), 0
        elif token.text == "=>" and code[index + 1].text == "{":
            heading, depth = ("=>", token.line), 0
        elif token.kind == "mark" and token.text in "()":
            depth += 1 if token.text == "(" else -1
        elif token.kind == "mark" and token.text == "{":
            is_body = heading is not None and depth <= 0
            open_braces.append(heading if is_body else None)
            heading = None if is_body else heading
        elif token.kind == "mark" and token.text == "}" and open_braces:
            body = open_braces.pop()
            if body is not None:
                name, line = body
                yield Function(name, line, token.line - line + 1)
