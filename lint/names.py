"""Names that mislead: lint/names.yaml lists them with the terms to use, and the exceptions with their reasons."""

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
    """Which names a word is not allowed in."""

    PART = "part"
    """Any that has it among its words, whoever defines it."""
    EXACT = "exact"
    """Any that is this word, upper and lower case as here."""
    DEFINED = "defined"
    """Any that is this word, of what we define ourselves, a module included; libraries may use it."""
    MODULE = "module"
    """A file or a folder."""


class Term(msgspec.Struct, forbid_unknown_fields=True):
    """Words, and what to use instead."""

    words: list[str]
    use: str
    where: Where = Where.PART
    prose: bool = False
    """Comments, docstrings and documents may not have them either."""


class Allowed(msgspec.Struct, forbid_unknown_fields=True):
    """Names that are right all the same; `files` are patterns such as `dashboard/*`."""

    names: list[str]
    reason: str
    files: tuple[str, ...] = ("*",)


class Rules(msgspec.Struct, forbid_unknown_fields=True):
    """What lint/names.yaml holds."""

    terms: list[Term]
    allowed: list[Allowed]


def check(files: Sequence[Source], rules: Rules | None = None) -> Iterator[Problem]:
    """Return each misleading name of each file once a line, and each exception that nothing needs any more."""
    checker = _Checker(rules or load("names.yaml", Rules))
    for file in files:
        yield from checker.check(file)
    yield from checker.unused()


class _Checker:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._terms = _by_word(rules.terms)
        self._verdicts: dict[tuple[str, Role], Sequence[tuple[str, Term]]] = {}
        """What is wrong with a word, for each that was met: most are met very often."""
        self._unused = {(rank, name) for rank, allowed in enumerate(rules.allowed) for name in allowed.names}

    def check(self, file: Source) -> Iterator[Problem]:
        """Return what is wrong in one file."""
        told = set()
        for word in _words(file):
            for forbidden, term in self._forbidden(word.text, word.role):
                if (word.line, word.text) not in told and not self._is_allowed(word.text, file.path):
                    told.add((word.line, word.text))
                    within = "" if forbidden == word.text else f" in `{word.text}`"
                    yield Problem(file.path, word.line, f"`{forbidden}`{within} misleads: use {term.use}")

    def unused(self) -> Iterator[Problem]:
        """Return the exceptions that nothing needed."""
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
