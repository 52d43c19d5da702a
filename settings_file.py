"""Reads the settings from a YAML file, from files that contain secrets, and from environment variables.

An environment variable overrides one key. Two underscores separate nested keys: `STOREWATCH_DATABASE__KIND=mysql`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from errors import UsageError

PREFIX = "STOREWATCH_"
"""Prefix of the environment variables that override settings."""
OTHER_VARIABLES = {"STOREWATCH_CONFIG", "STOREWATCH_COLDSTORE"}
"""Environment variables that start with `PREFIX` but are not settings."""
LISTS = {"allowed_origins", "trusted_proxies", "revoked"}
"""Settings keys whose environment variables contain a comma-separated list."""
SECRETS = {"password_file": "password", "url_file": "url", "secret_file": "secret", "public_key_file": "public_key"}
"""Settings keys that contain the path of a file, each with the settings key that gets the content of this file."""

_QUOTED = re.compile(r" (['\"])(?!<[a-z ]+>).{2,}\1", re.DOTALL)
"""Matches quoted text in a YAML error message, but not the quoted name of a token type, such as '<block end>'."""

T = TypeVar("T", bound=msgspec.Struct)
Where = Callable[[str], str]
"""A function that describes a dotted key in an error message: with file and line, or as an environment variable."""


class Source:
    """The file from which the settings were read. It finds the line of a key."""

    def __init__(self, path: str | None, text: str = "") -> None:
        self.path = path
        self._root = yaml.compose(text, Loader=yaml.SafeLoader) if text else None

    def where(self, key: str) -> str:
        """Return `FILE:LINE KEY` for a dotted key. If there is no settings file, return only the key.

        If the file does not contain the key, use the line of the nearest parent key.
        """
        if self.path is None:
            return key
        line = self._line(key.split("."))
        return f"{self.path}:{line} {key}" if line else f"{self.path}: {key}"

    def _line(self, parts: list[str]) -> int | None:
        node, line = self._root, None
        for part in parts:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            pair = next(((key, value) for key, value in pairs if key.value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        return line


def read(path: str | None, environ: Mapping[str, str], struct: type[T]) -> tuple[T, Source]:
    """Return the settings as a `struct`, and the `Source` that knows the line of each key in the file.

    The settings come from the file at `path` (None for no file). Environment variables in `environ` override them.
    Raise `UsageError` with the file, line and key (or environment variable) if a setting is invalid.
    """
    text = _read_text(path) if path else ""
    try:
        source = Source(path, text)
        tree = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: not valid YAML: {_yaml_problem(error)}") from None
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: must be a mapping of keys to values, such as `poll_interval: 1.0`")
    settings = _convert(_with_secrets(tree, source.where), struct, source.where, strict=True)
    overrides = _overrides(environ)
    if overrides:
        # The file alone is valid, so any later error is in the environment variables.
        merged = _with_secrets(_merge(tree, overrides), _variable)
        settings = _convert(merged, struct, _variable, strict=False)
    return settings, source


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the settings file {path}: {getattr(error, 'strerror', None) or error}") from None


def _yaml_problem(error: Exception) -> str:
    """Return a description and the position of a YAML error.

    Leave out text quoted from the file, which may be a secret.
    """
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    position = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = error.problem or error.context or "cannot be parsed"
    return _QUOTED.sub("", problem) + position


def _with_secrets(tree: Any, where: Where, parent: str = "") -> Any:
    """Return `tree` with each path of a secret file replaced by the content of the file.

    `tree` contains the settings below the key `parent`. Raise `UsageError` if a file cannot be read, or if a secret is
    set both directly and with a file.
    """
    if isinstance(tree, list):
        return [_with_secrets(part, where, parent) for part in tree]
    if not isinstance(tree, dict):
        return tree
    completed = {}
    for name, value in tree.items():
        key = f"{parent}.{name}" if parent else str(name)
        secret = SECRETS.get(name)
        if secret is None:
            completed[name] = _with_secrets(value, where, key)
        elif tree.get(secret):
            raise UsageError(f"{where(key)}: set either {secret} or {name}, not both")
        else:
            completed[secret] = _read_secret(value, where(key))
    return completed


def _read_secret(path: object, where: str) -> str:
    try:
        text = Path(str(path)).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{where}: {path} is not a text file in UTF-8") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise UsageError(f"{where}: {path} is empty")
    return secret


def _variable(key: str) -> str:
    """Return the name of the environment variable that overrides a dotted key."""
    return PREFIX + key.upper().replace(".", "__")


def _convert(tree: dict[str, Any], struct: type[T], where: Where, *, strict: bool) -> T:
    # Values of environment variables are strings. strict=False converts "8000" to a number if the key needs a number.
    # If the values were parsed as YAML, the password 012 would be changed.
    try:
        return msgspec.convert(tree, struct, strict=strict)
    except msgspec.ValidationError as error:
        # for example: Expected `str`, got `int` - at `$.database.map.reading.wide[...]`
        message, _, json_path = str(error).partition(" - at ")
        key = re.sub(r"^.*`\$\.?|\[.*|`$", "", json_path)
        if message.startswith("Object contains unknown field"):
            unknown = message.split("`")[1]
            key = f"{key}.{unknown}" if key else unknown
            message = "unknown key"
        raise UsageError(f"{where(key)}: {message}; see docs/settings.md") from None


def _overrides(environ: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        *parents, leaf = name.removeprefix(PREFIX).lower().split("__")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(f"{name}: another variable sets {parent} as a single value; remove one of them")
        node[leaf] = [part.strip() for part in value.split(",")] if leaf in LISTS else value
    return tree


def _merge(tree: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in overrides.items():
        below = merged.get(key)
        is_nested = isinstance(value, dict) and (below is None or isinstance(below, dict))
        merged[key] = _merge(below or {}, value) if is_nested else value
    return merged
