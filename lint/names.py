"""Finds misleading names. lint/names.yaml lists the forbidden words, the terms to use instead, and the exceptions."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePosixPath

import msgspec

from lint import python_words, script_words
from lint.sources import Problem, Source, load, matches
from lint.words import Role, Word, parts, prose

SCRIPTS = (".js", ".mjs", ".ts", ".c")
HERE = "lint/names.yaml"


class Where(StrEnum):
    """The kind of names in which a word is forbidden."""

    PART = "part"
    """The word is forbidden in any name that contains it, even if a library defines the name."""
    EXACT = "exact"
    """Any name that equals the word is forbidden. Upper and lower case count as different."""
    DEFINED = "defined"
    """The project may not define this word as a name or use it as the name of a module.

    The project may use a library's name that equals the word.
    """
    MODULE = "module"
    """A file or folder may not have the word as its name."""


class Term(msgspec.Struct, forbid_unknown_fields=True):
    """Forbidden words, and the term to use instead of them."""

    words: list[str]
    use: str
    where: Where = Where.PART
    prose: bool = False
    """Whether the words of the term are also forbidden in comments, docstrings and documents."""


class Allowed(msgspec.Struct, forbid_unknown_fields=True):
    """Names that are allowed as an exception in some files. `files` are patterns such as `dashboard/*`."""

    names: list[str]
    reason: str
    files: tuple[str, ...] = ("*",)


class Rules(msgspec.Struct, forbid_unknown_fields=True):
    """The content of lint/names.yaml."""

    terms: list[Term]
    allowed: list[Allowed]


def check(files: Sequence[Source], rules: Rules | None = None) -> Iterator[Problem]:
    """Yield a problem for each line on which a misleading name occurs, and one for each unneeded exception."""
    checker = _Checker(rules or load("names.yaml", Rules))
    for file in files:
        yield from checker.check(file)
    yield from checker.unused()


class _Checker:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._terms = _by_word(rules.terms)
        self._verdicts: dict[tuple[str, Role], Sequence[tuple[str, Term]]] = {}
        """The forbidden words found in each name checked so far. They are kept because most names occur many times."""
        self._unused = {(rank, name) for rank, allowed in enumerate(rules.allowed) for name in allowed.names}

    def check(self, file: Source) -> Iterator[Problem]:
        """Yield the problems of one file."""
        told = set()
        for word in _words(file):
            for forbidden, term in self._forbidden(word.text, word.role):
                if (word.line, word.text) not in told and not self._is_allowed(word.text, file.path):
                    told.add((word.line, word.text))
                    within = "" if forbidden == word.text else f" in `{word.text}`"
                    yield Problem(file.path, word.line, f"`{forbidden}`{within} misleads: use {term.use}")

    def unused(self) -> Iterator[Problem]:
        """Yield a problem for each exception that is not needed."""
        for rank, name in self._unused:
            files = ", ".join(self._rules.allowed[rank].files)
            yield Problem(HERE, 1, f"the exception for `{name}` in {files} is not needed: remove it")

    def _forbidden(self, text: str, role: Role) -> Sequence[tuple[str, Term]]:
        if (text, role) not in self._verdicts:
            self._verdicts[text, role] = [
                (candidate, term)
                for candidate in {text, text.lstrip("_"), *parts(text)}
                for term in self._terms.get(candidate, ())
                if _applies(term, candidate, text, role)
            ]
        return self._verdicts[text, role]

    def _is_allowed(self, name: str, path: str) -> bool:
        is_allowed = False
        for rank, allowed in enumerate(self._rules.allowed):
            if name in allowed.names and matches(path, allowed.files):
                self._unused.discard((rank, name))
                is_allowed = True
        return is_allowed


def _applies(term: Term, candidate: str, text: str, role: Role) -> bool:
    if role is Role.PROSE:
        return term.prose
    is_whole = candidate == text.lstrip("_")
    match term.where:
        case Where.PART:
            return True
        case Where.EXACT:
            return is_whole
        case Where.DEFINED:
            return is_whole and role in (Role.DEFINED, Role.MODULE)
        case Where.MODULE:
            return is_whole and role is Role.MODULE


def _by_word(terms: Sequence[Term]) -> Mapping[str, list[Term]]:
    terms_of: dict[str, list[Term]] = {}
    for term in terms:
        for word in term.words:
            terms_of.setdefault(word, []).append(term)
    return terms_of


def _words(file: Source) -> Iterator[Word]:
    for name in PurePosixPath(file.path).with_suffix("").parts:
        yield Word(name, 1, Role.MODULE)
    if file.suffix == ".py":
        yield from python_words.words(file)
    elif file.suffix in SCRIPTS:
        yield from script_words.words(file)
    elif file.suffix == ".md":
        yield from prose(file.text, 1)
