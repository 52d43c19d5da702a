"""The settings: every key of settings.yaml with its unit and default, and the checks over several keys.

`settings_file` reads the file and the environment.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec

import settings_file
from common.severity import Severity
from errors import UsageError
from settings_file import Source as Source

MAX_SPAN = timedelta(days=366)
"""The longest duration that a setting may name."""
MAX_NAME_LENGTH = 64
"""Characters in the name of a target, or of a user."""
MIN_SECRET_BYTES = 32
"""Bytes of a secret that things are signed with; a shorter one can be found by trying."""
LONG_SECRET = f"at least {MIN_SECRET_BYTES} bytes, such as `openssl rand -hex 32` prints"

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Parse a duration such as 90s, 15m, 1.5h or 2d; raises ValueError if it is none, or longer than `MAX_SPAN`."""
    match = re.fullmatch(r"([0-9]{1,8}(?:\.[0-9]+)?)([smhd])", text)
    span = timedelta(**{_UNITS[match[2]]: float(match[1])}) if match else timedelta()
    if not timedelta() < span <= MAX_SPAN:
        raise ValueError(f"{text!r} is no duration; write one like 90s, 15m, 1h or 2d, at most {MAX_SPAN.days}d")
    return span


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the settings: immutable, and unknown keys are errors."""


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
    """PEM files for https; they are read again when they change."""

    certificate: str = ""
    """The certificate, followed by its intermediate certificates."""
    key: str = ""
    """Its private key, without a password."""


class Target(Section, frozen=True):
    """Somebody who is notified of alarms, through a service that Apprise supports."""

    name: str = ""
    """What it is called in the log, in alarms and in our tables."""
    url: str = ""
    """Apprise's URL of it; it holds the secrets."""
    language: Literal["zh", "en"] | None = None
    """Default: that of all."""
    severity: Severity = "info"
    """The least severe alarm it is told of."""
    store_house_ids: list[int | str] | None = None
    """The storehouses it is told of. Default: all."""

    def __repr__(self) -> str:
        """Name it without its URL."""
        return f"target {self.name}"


class Notify(Section, frozen=True):
    """Who is notified of our own alarms, and when. Durations: a number and s, m, h or d."""

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
    """A user who logs in with a name and a password."""

    name: str = ""
    """What they are called, here and in the audit."""
    password_hash: str = ""
    """The hash that `python -m access password` prints of their password."""
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
    """A key that verifies tokens (JWT)."""

    algorithm: Literal["HS256", "RS256", "ES256"] = "HS256"
    """The algorithm of its tokens, whatever a token's own header says."""
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
    """Login sessions of users."""

    secret: str = ""
    """The secret that signs session cookies, at least 32 bytes; the same in all processes."""
    hours: Annotated[float, msgspec.Meta(gt=0, le=8784)] = 12.0
    """Lifetime of a login session, in hours."""

    def __repr__(self) -> str:
        """Describe it without its secret."""
        return f"sessions of {self.hours:g} h"


class Access(Section, frozen=True):
    """Who has access: users with passwords, and programs with tokens."""

    users: list[AccessUser] = []
    """Those who log in."""
    tokens: list[TokenKey] = []
    """The keys that verify the tokens of programs."""
    session: Session | None = None
    """The sessions of users."""
    revoked: list[str] = []
    """Names of users without access any more; ids of single tokens (`jti`) and sessions."""

    def __repr__(self) -> str:
        """Count without secrets."""
        return f"access of {len(self.users)} users and {len(self.tokens)} keys"


class Alarms(Section, frozen=True):
    """Whether Storewatch raises alarms itself."""

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
    """Poll interval: seconds between two polls of the database for new readings."""
    access: Literal["open"] | Access | None = None
    """Who has access: "open", or users and tokens. It must be set for any database but the demo's."""
    allowed_origins: list[str] = []
    """Origins of pages, besides our own, that may connect: scheme://host[:port]."""
    trusted_proxies: list[str] = []
    """Addresses, or networks such as 10.0.0.0/8, of proxies whose X-Forwarded headers we trust."""
    tls: Tls | None = None
    """The certificate for https; without it we serve http."""
    max_per_address: Positive = 10000
    """Connections that one address may have at once."""
    redis: Redis | None = None
    """The message bus between several processes."""
    alarms: Alarms | None = None
    """Whether Storewatch raises alarms itself. Default: it does, by its default rules too."""
    rules: list[dict[str, Any]] = []
    """The rules of our own alarms, until others are saved on the page."""
    notify: Notify | None = None
    """Who is notified of our own alarms; without it, only the pages show them."""
    max_payload: Positive = 65536
    """Bytes of the largest message a browser may send."""
    rate_limit: Seconds = 20.0
    """Events a second that one connection may send."""
    rate_burst: Positive = 40
    """Events that one connection may send at once before `rate_limit` counts."""
    max_unsent: Positive = 524288
    """Bytes that may wait for a slow browser before it is disconnected."""
    max_stuck: Seconds = 30.0
    """Seconds that a browser may accept no data while some waits for it, before it is disconnected."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level that is logged."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or JSON for machines, one object per line."""

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
        """The settings of our own alarms."""
        return self.alarms or Alarms()

    @property
    def restricted(self) -> Access | None:
        """Who has access; None: everybody."""
        return self.access if isinstance(self.access, Access) else None

    @property
    def is_demo(self) -> bool:
        """Whether this is the embedded demo: no database is named."""
        return self.database is None


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> tuple[Settings, Source]:
    """Read the settings from the file at `path` (None: no file), then the environment, and check them.

    Raises `UsageError` with the file, line and key at fault.
    """
    settings, source = settings_file.read(path, environ, Settings)
    _check(settings, source)
    return settings, source


def _check(settings: Settings, source: Source) -> None:
    """Check what depends on several keys; raises `UsageError`."""
    if settings.state is not None and settings.state.map is not None:
        raise UsageError(f"{source.where('state.map')}: these tables are ours, so there is nothing to map")
    _check_network(settings, source)
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


def _check_network(settings: Settings, source: Source) -> None:
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
        if not 0 < len(target.name) <= MAX_NAME_LENGTH:
            raise UsageError(f"{where}: each target needs a name, of at most {MAX_NAME_LENGTH} characters")
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
        if not 0 < len(user.name) <= MAX_NAME_LENGTH:
            raise UsageError(f"{where}: each user needs a name, of at most {MAX_NAME_LENGTH} characters")
        if names.count(user.name) > 1:
            raise UsageError(f"{where}: there are two users {user.name!r}")
        if not user.password_hash.startswith("$argon2id$"):
            raise UsageError(f"{where}: {user.name!r} needs a password_hash; `python -m access password` makes one")
    if access.users and (access.session is None or len(access.session.secret.encode()) < MIN_SECRET_BYTES):
        raise UsageError(f"{source.where('access.session')}: users need a session.secret, {LONG_SECRET}")
    for key in access.tokens:
        where = source.where("access.tokens")
        needed, other = ("secret", "public_key") if key.algorithm == "HS256" else ("public_key", "secret")
        if not getattr(key, needed) or getattr(key, other):
            raise UsageError(f"{where}: {key.algorithm} needs a {needed}, or a {needed}_file, and nothing else")
        if key.secret and len(key.secret.encode()) < MIN_SECRET_BYTES:
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
