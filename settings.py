"""settings.yaml and the environment become one frozen `Settings`.

The environment overrides single keys, two underscores going one level down:
`STOREWATCH_DATABASE__KIND=mysql`.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from errors import UsageError

PREFIX = "STOREWATCH_"
NOT_SETTINGS = {"STOREWATCH_CONFIG", "STOREWATCH_COLDSTORE"}

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
LISTS = {"allowed_origins", "trusted_proxies", "revoked"}
"""Keys that are lists with commas in the environment."""
SECRETS = {"password_file": "password", "url_file": "url", "secret_file": "secret", "public_key_file": "public_key"}
"""Keys that name a file, and the key whose value stands in it."""
Positive = Annotated[int, msgspec.Meta(ge=1)]


QUOTED = re.compile(r" (['\"])(?!<[a-z ]+>).{2,}\1", re.DOTALL)
"""What an error of YAML says in the file's own words; the kinds of its tokens are the library's."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=366)
MOST_NAME = 64
"""Characters in the name of a target, or of a user."""
LEAST_SECRET = 32
"""Bytes of a secret that things are signed with; fewer can be found by trying."""
LONG_SECRET = f"at least {LEAST_SECRET} bytes, such as `openssl rand -hex 32` prints"


def duration(text: str) -> timedelta:
    """Return what `text` says, such as 90s, 15m, 1.5h or 2d; raises ValueError if it says nothing, or too much."""
    found = re.fullmatch(r"([0-9]{1,8}(?:\.[0-9]+)?)([smhd])", text)
    span = timedelta(**{UNITS[found[2]]: float(found[1])}) if found else timedelta()
    if not timedelta() < span <= LONGEST:
        raise ValueError(f"{text!r} is no duration; write one like 90s, 15m, 1h or 2d, at most {LONGEST.days}d")
    return span


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the settings: its keys are known, and it never changes."""


class SubjectMap(Section, frozen=True):
    """Where one of our subjects lies in a site's own database."""

    table: str | None = None
    """A table or view; its columns are named by `columns`."""
    sql: str | None = None
    """A whole SELECT instead of a table; its columns bear our names, or those given in `columns`."""
    columns: dict[str, str] = {}
    """Our field: their column."""
    expressions: dict[str, str] = {}
    """Our field: an SQL expression over their columns."""
    time_zone: str | None = None
    """The zone of their times, an IANA name; without it they are UTC."""


class ReadingMap(SubjectMap, frozen=True):
    """Where the readings lie; they may stand several to a row."""

    wide: dict[str, str] = {}
    """Metric: the column that holds it, for rows with one column per metric."""
    late_window: str = "1h"
    """How late a reading may be committed and still be found: a number and s, m, h or d."""


class DatabaseMap(Section, frozen=True):
    """A site's own tables, by subject; a subject that is left out bears our names there."""

    organisation: SubjectMap | None = None
    storehouse: SubjectMap | None = None
    sensor: SubjectMap | None = None
    reading: ReadingMap | None = None
    alarm: SubjectMap | None = None


class Database(Section, frozen=True):
    """A database and how to reach it."""

    kind: Literal["sqlite", "mysql"] = "sqlite"
    """sqlite, or mysql (MariaDB too)."""
    path: str = "var/storewatch.db"
    """sqlite: the file."""
    host: str = "127.0.0.1"
    """mysql: the host."""
    port: Port = 3306
    """mysql: the port."""
    user: str = ""
    """mysql: the account; for a site's own tables one that may only read suffices."""
    password: str = ""
    """mysql: its password."""
    name: str = ""
    """mysql: the database."""
    map: DatabaseMap | None = None
    """A site's own tables; without it the tables are ours."""

    def __repr__(self) -> str:
        """Name the database without its password."""
        if self.kind == "sqlite":
            return f"sqlite {self.path}"
        return f"mysql {self.user}@{self.host}:{self.port}/{self.name}"


class Redis(Section, frozen=True):
    """The Redis through which several processes act as one."""

    host: str = "127.0.0.1"
    """The host."""
    port: Port = 6379
    """Its port."""
    password: str = ""
    """Its password."""

    def __repr__(self) -> str:
        """Name it without its password."""
        return f"redis {self.host}:{self.port}"


class Tls(Section, frozen=True):
    """Files of PEM with which we answer https instead of http; read again when they change."""

    certificate: str = ""
    """The certificate, and those between it and one that browsers know."""
    key: str = ""
    """Its private key, without a password."""


class Target(Section, frozen=True):
    """Somebody who is told of alarms, by a service that Apprise knows."""

    name: str = ""
    """What it is called in the log, in alarms and in our tables."""
    url: str = ""
    """Apprise's URL of it; it holds the secrets."""
    language: Literal["zh", "en"] | None = None
    """Default: that of all."""
    severity: Literal["info", "warning", "critical"] = "info"
    """The least severe alarm it is told of."""
    store_house_ids: list[int | str] | None = None
    """The storehouses it is told of. Default: all."""

    def __repr__(self) -> str:
        """Name it without its URL."""
        return f"target {self.name}"


class Notify(Section, frozen=True):
    """Who is told of our own alarms, and when. Spans: a number and s, m, h or d."""

    language: Literal["zh", "en"] = "zh"
    """Of the messages."""
    repeat: str = "10m"
    """How long nobody may acknowledge an alarm until it is told again."""
    escalate: str = "20m"
    """How long nobody may acknowledge an alarm until the next tier is told too."""
    group_wait: str = "5s"
    """How long a message waits for more of the same storehouse."""
    group_interval: str = "1m"
    """At least between two messages to the same target about the same storehouse."""
    tiers: list[list[Target]] = []
    """The targets that are told at once, those that are told next, and so on."""

    @property
    def targets(self) -> list[Target]:
        """Return the targets of all tiers."""
        return [target for tier in self.tiers for target in tier]


class AccessUser(Section, frozen=True):
    """Somebody who comes in with a name and a password."""

    name: str = ""
    """What they are called, here and in the audit."""
    password_hash: str = ""
    """What `python -m access password` makes of their password."""
    role: Literal["watch", "operate", "configure"] = "watch"
    """What they may do."""
    organisations: list[int | str] | None = None
    """The organisations they may see, whole. With neither list: everything."""
    storehouses: list[int | str] | None = None
    """The storehouses they may see, besides."""

    def __repr__(self) -> str:
        """Name them without their hash."""
        return f"user {self.name}"


class TokenKey(Section, frozen=True):
    """A key by which tokens (JWT) are believed."""

    algorithm: Literal["HS256", "RS256", "ES256"] = "HS256"
    """Of its tokens; whatever a token says of itself."""
    secret: str = ""
    """HS256: the secret, at least 32 bytes."""
    public_key: str = ""
    """RS256, ES256: the public key, PEM."""
    issuer: str | None = None
    """The `iss` that its tokens must have."""
    audience: str | None = None
    """The `aud` that its tokens must have."""

    def __repr__(self) -> str:
        """Name it without its secret."""
        return f"{self.algorithm} key of {self.issuer or 'any issuer'}"


class Session(Section, frozen=True):
    """How long who has logged in stays so."""

    secret: str = ""
    """What session cookies are signed with, at least 32 bytes; the same in all processes."""
    hours: Annotated[float, msgspec.Meta(gt=0, le=8784)] = 12.0
    """Hours from a login to the end of its session."""

    def __repr__(self) -> str:
        """Describe it without its secret."""
        return f"sessions of {self.hours:g} h"


class Access(Section, frozen=True):
    """Who may come in."""

    users: list[AccessUser] = []
    """Those who log in."""
    tokens: list[TokenKey] = []
    """The keys by which the tokens of programs are believed."""
    session: Session | None = None
    """The sessions of users."""
    revoked: list[str] = []
    """Names of those who may not come in any more, whatever they show; ids of single tokens (`jti`) and sessions."""

    def __repr__(self) -> str:
        """Count without secrets."""
        return f"access of {len(self.users)} users and {len(self.tokens)} keys"


class Alarms(Section, frozen=True):
    """Whether Storewatch judges readings itself."""

    judge: bool = True
    """Raise alarms by the rules; without it there are those of the site's own system alone."""
    default_rules: bool = True
    """Let the default rules of each metric count where no other rule speaks."""


DEMO = Database()
"""The embedded demo's: a SQLite file of ours."""


class Settings(Section, frozen=True):
    """All settings; each key with its unit and a sentence."""

    host: str = "0.0.0.0"  # noqa: S104 - a server for the site's browsers listens on every address
    """The address to listen on."""
    database: Database | None = None
    """The sensor database; without it, the embedded demo."""
    state: Database | None = None
    """Our own tables: alarm journal, leases. Default: the database itself where its tables are ours, else SQLite."""
    poll_interval: Seconds = 1.0
    """Seconds between two looks for new readings."""
    access: Literal["open"] | Access | None = None
    """Who may come in: open, or users and tokens. It must be set for any database but the demo's."""
    allowed_origins: list[str] = []
    """Origins of pages, besides our own, that may connect: scheme://host[:port]."""
    trusted_proxies: list[str] = []
    """Addresses, or networks such as 10.0.0.0/8, of proxies that are believed when they say who asks, and how."""
    tls: Tls | None = None
    """The certificate to answer https with; without it, http."""
    max_per_address: Positive = 10000
    """Connections that one address may have at once."""
    redis: Redis | None = None
    """For several processes: what crosses them goes through here."""
    alarms: Alarms | None = None
    """What Storewatch judges itself. Default: all, by its default rules too."""
    rules: list[dict[str, Any]] = []
    """The rules of our own alarms, until people save others."""
    notify: Notify | None = None
    """Who is told of our own alarms; without it, nobody but who watches."""
    max_payload: Positive = 65536
    """Bytes of the largest message a browser may send."""
    rate_limit: Seconds = 20.0
    """Events a second that one connection may send."""
    rate_burst: Positive = 40
    """Events that one connection may send at once before `rate_limit` counts."""
    max_unsent: Positive = 524288
    """Bytes that may wait for a browser that reads too slowly, before it is closed."""
    max_stuck: Seconds = 30.0
    """Seconds that a browser may take nothing while something waits for it, before it is closed."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least serious record that is logged."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or JSON for machines, one object a line."""

    @property
    def sensor_database(self) -> Database:
        """Where the readings are."""
        return self.database or DEMO

    @property
    def state_database(self) -> Database:
        """Where our own tables are."""
        ours = self.sensor_database.map is None
        return self.state or (self.sensor_database if ours else Database(path="var/state.db"))

    @property
    def own_alarms(self) -> Alarms:
        """What Storewatch judges itself."""
        return self.alarms or Alarms()

    @property
    def restricted(self) -> Access | None:
        """Who may come in; None: everybody."""
        return self.access if isinstance(self.access, Access) else None

    @property
    def is_demo(self) -> bool:
        """No database was named: the embedded demo."""
        return self.database is None


class Source:
    """The file the settings came from, to say in which line something stands."""

    def __init__(self, path: str | None, text: str = "") -> None:
        self.path = path
        self._root = yaml.compose(text, Loader=yaml.SafeLoader) if text else None

    def where(self, key: str) -> str:
        """`FILE:LINE KEY` for a dotted key, by the nearest part of it that the file has; without a file the key."""
        if self.path is None:
            return key
        line = self._line(key.split("."))
        return f"{self.path}:{line} {key}" if line else f"{self.path}: {key}"

    def _line(self, parts: list[str]) -> int | None:
        node, line = self._root, None
        for part in parts:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            found = next(((k, v) for k, v in pairs if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> tuple[Settings, Source]:
    """Read the settings from the file at `path` (None: no file), then the environment.

    Raises `UsageError` with the file, line and key at fault.
    """
    text = _read(path) if path else ""
    try:
        source = Source(path, text)
        tree = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: not valid YAML: {_fault(error)}") from None
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: must hold keys and values, such as `poll_interval: 1.0`")
    settings = _convert(_with_secrets(tree, source.where), source.where, strict=True)
    overrides = _overrides(environ)
    if overrides:
        # The file alone is right, so what is wrong now came from the environment.
        settings = _convert(_with_secrets(_merged(tree, overrides), _variable), _variable, strict=False)
    _check(settings, source)
    return settings, source


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the settings {path}: {getattr(error, 'strerror', None) or error}") from None


def _fault(error: Exception) -> str:
    """What is wrong with YAML, and where; not its text, as the library has it, for that may be a secret."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = error.problem or error.context or "it cannot be read"
    return QUOTED.sub("", problem) + place


def _with_secrets(tree: Any, where: Callable[[str], str], place: str = "") -> Any:
    """Return a part of the settings, at `place`, with the secrets that stand in files; raises `UsageError`."""
    if isinstance(tree, list):
        return [_with_secrets(part, where, place) for part in tree]
    if not isinstance(tree, dict):
        return tree
    found = {}
    for name, value in tree.items():
        key = f"{place}.{name}" if place else str(name)
        secret = SECRETS.get(name)
        if secret is None:
            found[name] = _with_secrets(value, where, key)
        elif tree.get(secret):
            raise UsageError(f"{where(key)}: give either {secret} or {name}, not both")
        else:
            found[secret] = _secret(value, where(key))
    return found


def _secret(path: object, where: str) -> str:
    try:
        text = Path(str(path)).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{where}: {path} holds no text in UTF-8") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise UsageError(f"{where}: {path} holds nothing")
    return secret


def _variable(key: str) -> str:
    """The variable of the environment that a dotted key is set by."""
    return PREFIX + key.upper().replace(".", "__")


def _convert(tree: dict[str, Any], where: Callable[[str], str], *, strict: bool) -> Settings:
    # Values of the environment are strings; strict=False turns "8000" into a number where one is wanted and,
    # unlike reading them as YAML, leaves the password 012 alone.
    try:
        return msgspec.convert(tree, Settings, strict=strict)
    except msgspec.ValidationError as error:
        # such as: Expected `str`, got `int` - at `$.database.map.reading.wide[...]`
        message, _, place = str(error).partition(" - at ")
        key = re.sub(r"^.*`\$\.?|\[.*|`$", "", place)
        if message.startswith("Object contains unknown field"):
            unknown = message.split("`")[1]
            key = f"{key}.{unknown}" if key else unknown
            message = "unknown key"
        raise UsageError(f"{where(key)}: {message}; docs/settings.md tells what there is") from None


def _overrides(environ: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        *parents, leaf = name.removeprefix(PREFIX).lower().split("__")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(f"{name}: {parent} is set as a single value too")
        node[leaf] = [part.strip() for part in value.split(",")] if leaf in LISTS else value
    return tree


def _merged(tree: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in overrides.items():
        below = merged.get(key)
        nested = isinstance(value, dict) and (below is None or isinstance(below, dict))
        merged[key] = _merged(below or {}, value) if nested else value
    return merged


def _check(settings: Settings, source: Source) -> None:
    """The rules that reach over several keys."""
    if settings.state is not None and settings.state.map is not None:
        raise UsageError(f"{source.where('state.map')}: these tables are ours, so there is nothing to map")
    _check_door(settings, source)
    if settings.notify is not None:
        _check_notify(settings.notify, source)
    if settings.restricted is not None:
        _check_access(settings.restricted, source)
    database = settings.database
    if database is None:
        return
    if settings.access is None:
        raise UsageError(
            f"{source.where('access')}: must be set for any database but the demo's; "
            "`access: open` lets everybody in who reaches the port; docs/access.md tells how to let in some"
        )
    if database.kind == "mysql" and not database.name:
        raise UsageError(f"{source.where('database.name')}: name the database to read")
    if database.map is not None:
        _check_map(database.map, source)


def _check_door(settings: Settings, source: Source) -> None:
    for proxy in settings.trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise UsageError(f"{source.where('trusted_proxies')}: {error}") from None
    if settings.tls is not None and not (settings.tls.certificate and settings.tls.key):
        raise UsageError(f"{source.where('tls')}: name the file of the certificate, and that of its key")


def _check_notify(notify: Notify, source: Source) -> None:
    for key in ("repeat", "escalate", "group_wait", "group_interval"):
        try:
            duration(getattr(notify, key))
        except ValueError as error:
            raise UsageError(f"{source.where(f'notify.{key}')}: {error}") from None
    where = source.where("notify.tiers")
    names = [target.name for target in notify.targets]
    if not names:
        raise UsageError(f"{where}: name at least one target")
    for target in notify.targets:
        if not 0 < len(target.name) <= MOST_NAME:
            raise UsageError(f"{where}: each target needs a name, of at most {MOST_NAME} characters")
        if not target.url:
            raise UsageError(f"{where}: the target {target.name!r} needs a url, one that Apprise knows")
        if names.count(target.name) > 1:
            raise UsageError(f"{where}: there are two targets {target.name!r}; give each a name of its own")


def _check_access(access: Access, source: Source) -> None:
    if not access.users and not access.tokens:
        raise UsageError(
            f"{source.where('access')}: name users or tokens, or nobody can come in; docs/access.md has both"
        )
    where = source.where("access.users")
    names = [user.name for user in access.users]
    for user in access.users:
        if not 0 < len(user.name) <= MOST_NAME:
            raise UsageError(f"{where}: each user needs a name, of at most {MOST_NAME} characters")
        if names.count(user.name) > 1:
            raise UsageError(f"{where}: there are two users {user.name!r}")
        if not user.password_hash.startswith("$argon2id$"):
            raise UsageError(f"{where}: {user.name!r} needs a password_hash; `python -m access password` makes one")
    if access.users and (access.session is None or len(access.session.secret.encode()) < LEAST_SECRET):
        raise UsageError(f"{source.where('access.session')}: users need a session.secret, {LONG_SECRET}")
    for key in access.tokens:
        where = source.where("access.tokens")
        needed, other = ("secret", "public_key") if key.algorithm == "HS256" else ("public_key", "secret")
        if not getattr(key, needed) or getattr(key, other):
            raise UsageError(f"{where}: {key.algorithm} needs a {needed}, or a {needed}_file, and nothing else")
        if key.secret and len(key.secret.encode()) < LEAST_SECRET:
            raise UsageError(f"{where}: this secret can be found by trying; take {LONG_SECRET}")


def _check_map(maps: DatabaseMap, source: Source) -> None:
    for subject in maps.__struct_fields__:
        subject_map: SubjectMap | None = getattr(maps, subject)
        if subject_map is None:
            continue
        where = source.where(f"database.map.{subject}")
        if subject_map.table and subject_map.sql:
            raise UsageError(f"{where}: give either table or sql, not both")
        if isinstance(subject_map, ReadingMap):
            try:
                duration(subject_map.late_window)
            except ValueError as error:
                raise UsageError(f"{source.where('database.map.reading.late_window')}: {error}") from None
            single = {"metric", "value"} & (set(subject_map.columns) | set(subject_map.expressions))
            if subject_map.wide and single:
                raise UsageError(f"{where}: wide tells metrics and values; leave out {' and '.join(sorted(single))}")
        twice = set(subject_map.columns) & set(subject_map.expressions)
        if twice:
            raise UsageError(f"{where}: {', '.join(sorted(twice))} stands in columns and in expressions")
