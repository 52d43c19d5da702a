"""Defines every key of the settings with its unit and default, and checks rules that involve several keys.

`settings_file` reads the settings file and the environment variables.
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
"""Maximum value of a duration in the settings."""
MAX_NAME_LENGTH = 64
"""Maximum length of the name of a notification target or of a user, in characters."""
MIN_SECRET_BYTES = 32
"""Minimum length of a signing secret, in bytes. A shorter secret could be found by a brute-force search."""
LONG_SECRET = f"at least {MIN_SECRET_BYTES} bytes long; `openssl rand -hex 32` prints one"

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Parse a duration such as 90s, 15m, 1.5h or 2d. Raise ValueError if it is malformed, zero or above `MAX_SPAN`."""
    match = re.fullmatch(r"([0-9]{1,8}(?:\.[0-9]+)?)([smhd])", text)
    span = timedelta(**{_UNITS[match[2]]: float(match[1])}) if match else timedelta()
    if not timedelta() < span <= MAX_SPAN:
        raise ValueError(f"{text!r} is not a valid duration; use 90s, 15m, 1h or 2d, at most {MAX_SPAN.days}d")
    return span


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base class of the sections of the settings. Sections are immutable, and unknown keys are errors."""


class SubjectMap(Section, frozen=True):
    """The mapping of one subject (such as sensors or alarms) to a table of the site's database."""

    table: str | None = None
    """Table or view with the data of the subject (such as sensors). Default: the table with the subject's name."""
    sql: str | None = None
    """SELECT statement to use instead of a table or view."""
    columns: dict[str, str] = {}
    """The name of the site's column for each field of Storewatch, keyed by field. Default: the name of the field."""
    expressions: dict[str, str] = {}
    """SQL expressions that compute fields from the site's columns, keyed by Storewatch's name of the field."""
    time_zone: str | None = None
    """IANA name of the time zone of the subject's times. Default: UTC."""


class ReadingMap(SubjectMap, frozen=True):
    """The mapping of readings to a table of the site's database. A row may contain several readings, one per column."""

    wide: dict[str, str] = {}
    """Used for a table with one column per metric. Maps each metric to the column that contains the metric's values."""
    late_window: str = "1h"
    """Maximum delay from a reading's time to its commit, as a duration such as 1h.

    Storewatch does not find readings that are committed later. If new rows always get a higher `reading_id`, the delay
    starts when Storewatch finds a reading with a higher id.
    """


class DatabaseMap(Section, frozen=True):
    """The mapping of each subject to the site's tables.

    If a subject is not mapped, Storewatch reads it from the table with the subject's name. If `alarm` is not mapped,
    Storewatch shows no alarms of the site's own system.
    """

    organisation: SubjectMap | None = None
    storehouse: SubjectMap | None = None
    sensor: SubjectMap | None = None
    reading: ReadingMap | None = None
    alarm: SubjectMap | None = None


class Database(Section, frozen=True):
    """The connection parameters of a database."""

    kind: Literal["sqlite", "mysql"] = "sqlite"
    """Database system: sqlite, or mysql for MySQL and MariaDB."""
    path: str = "var/storewatch.db"
    """Path of the SQLite database file. Used by the kind sqlite."""
    host: str = "127.0.0.1"
    """Host of the database server. Used by the kind mysql."""
    port: Port = 3306
    """Port of the database server. Used by the kind mysql."""
    user: str = ""
    """Account on the database server (mysql). An account with read access is sufficient for a site's own tables."""
    password: str = ""
    """Password of the account on the database server (mysql)."""
    name: str = ""
    """Name of the database on the server (mysql)."""
    map: DatabaseMap | None = None
    """Mapping of the site's own tables. If None, the database contains Storewatch's own tables."""

    def __repr__(self) -> str:
        """Return a description without the password."""
        if self.kind == "sqlite":
            return f"sqlite {self.path}"
        return f"mysql {self.user}@{self.host}:{self.port}/{self.name}"


class Redis(Section, frozen=True):
    """The connection parameters of the Redis server that passes events between processes."""

    host: str = "127.0.0.1"
    """Host of the Redis server."""
    port: Port = 6379
    """Port of the Redis server."""
    password: str = ""
    """Password of the Redis server."""

    def __repr__(self) -> str:
        """Return a description without the password."""
        return f"redis {self.host}:{self.port}"


class Tls(Section, frozen=True):
    """The PEM files for https. The server reloads them when they change."""

    certificate: str = ""
    """Path of the file that contains the certificate, followed by the intermediate certificates."""
    key: str = ""
    """Path of the file that contains the private key. The key must not be protected with a password."""


class Target(Section, frozen=True):
    """A target (recipient) of notifications, reached through a service that Apprise supports."""

    name: str = ""
    """Unique name of the target in the log, in alarms and in Storewatch's own tables."""
    url: str = ""
    """Apprise URL of the target. It contains secrets."""
    language: Literal["zh", "en"] | None = None
    """Language of the target's notifications. Default: `notify.language`."""
    severity: Severity = "info"
    """Lowest severity. The target is not notified of alarms with a lower severity."""
    store_house_ids: list[int | str] | None = None
    """Ids of storehouses. The target is notified only of alarms in these storehouses. Default: all storehouses."""

    def __repr__(self) -> str:
        """Return a description without the URL."""
        return f"target {self.name}"


class Notify(Section, frozen=True):
    """How people are notified of the alarms that Storewatch raises. Durations are texts such as 90s, 15m, 1h or 2d."""

    language: Literal["zh", "en"] = "zh"
    """Language of the notifications of targets that set no language."""
    repeat: str = "10m"
    """Interval at which notifications of an alarm are repeated until somebody acknowledges the alarm."""
    escalate: str = "20m"
    """Time after which an alarm that nobody has acknowledged is escalated to the next tier (list of targets)."""
    group_wait: str = "5s"
    """Delay before a notification is sent, so that it can include further alarms of the same storehouse."""
    group_interval: str = "1m"
    """Minimum interval between two notifications to the same target about the same storehouse."""
    tiers: list[list[Target]] = []
    """Lists (tiers) of targets. The first is notified at once. Each escalation of an alarm notifies the next tier."""

    @property
    def targets(self) -> list[Target]:
        """Return the notification targets of all tiers."""
        return [target for tier in self.tiers for target in tier]


class AccessUser(Section, frozen=True):
    """A user who logs in with a user name and a password."""

    name: str = ""
    """User name. It is also recorded in alarms and in the audit trail."""
    password_hash: str = ""
    """Hash of the user's password, as printed by `python -m access password`."""
    role: Literal["watch", "operate", "configure"] = "watch"
    """Role of the user. Each role includes the rights of the roles before it.

    watch: view. operate: acknowledge and close alarms, set maintenance. configure: edit rules.
    """
    organisations: list[int | str] | None = None
    """Ids of organisations that the user may see. If this and `storehouses` are both None, the user sees everything."""
    storehouses: list[int | str] | None = None
    """Ids of storehouses that the user may see in addition to the storehouses of `organisations`."""

    def __repr__(self) -> str:
        """Return a description without the password hash."""
        return f"user {self.name}"


class TokenKey(Section, frozen=True):
    """A key that verifies tokens (JWT)."""

    algorithm: Literal["HS256", "RS256", "ES256"] = "HS256"
    """Algorithm with which the tokens are signed. A token whose header names another algorithm is not accepted."""
    secret: str = ""
    """Secret with which the tokens are signed, at least 32 bytes long. Used by HS256."""
    public_key: str = ""
    """Public key that verifies the tokens, in PEM format. Used by RS256 and ES256."""
    issuer: str | None = None
    """Required value of the claim `iss` in the tokens. If None, `iss` is not checked."""
    audience: str | None = None
    """Required value of the claim `aud` in the tokens. If None, `aud` is not checked."""

    def __repr__(self) -> str:
        """Return a description without the secret."""
        return f"{self.algorithm} key of {self.issuer or 'any issuer'}"


class Session(Section, frozen=True):
    """The settings of login sessions."""

    secret: str = ""
    """Secret with which session cookies are signed, at least 32 bytes long. It must be the same in all processes."""
    hours: Annotated[float, msgspec.Meta(gt=0, le=8784)] = 12.0
    """Lifetime of a login session, in hours."""

    def __repr__(self) -> str:
        """Return a description without the secret."""
        return f"sessions of {self.hours:g} h"


class Access(Section, frozen=True):
    """Access control: users with passwords, and programs with tokens."""

    users: list[AccessUser] = []
    """Users who log in with a password."""
    tokens: list[TokenKey] = []
    """Keys with which the server verifies the tokens of programs."""
    session: Session | None = None
    """Settings of login sessions. Required if `users` is not empty."""
    revoked: list[str] = []
    """Users and programs (by name), tokens (by `jti`) and sessions (by id) that no longer have access."""

    def __repr__(self) -> str:
        """Return a description without secrets."""
        return f"access of {len(self.users)} users and {len(self.tokens)} keys"


class Alarms(Section, frozen=True):
    """How Storewatch evaluates alarm rules."""

    judge: bool = True
    """Whether Storewatch evaluates alarm rules. If false, only the site's own system raises alarms."""
    default_rules: bool = True
    """Whether the default rules apply. A default limit applies only if no other rule sets the same limit."""


DEMO = Database()
"""The database of the embedded demo: a SQLite file with Storewatch's own tables."""


class Settings(Section, frozen=True):
    """The top-level settings."""

    host: str = "0.0.0.0"  # noqa: S104 - a server for the site's browsers listens on every address
    """Address on which the server listens. The default means all addresses of the machine."""
    database: Database | None = None
    """The sensor database. If None, the embedded demo runs."""
    state: Database | None = None
    """Database for Storewatch's own tables. Default: `database` if it has no `map`, otherwise var/state.db."""
    poll_interval: Seconds = 1.0
    """Interval between two polls for new readings, in seconds."""
    access: Literal["open"] | Access | None = None
    """Access control: "open" gives everybody access; `Access` lists users and tokens. Required if `database` is set."""
    allowed_origins: list[str] = []
    """Origins (scheme://host[:port]) of other websites whose pages may connect, besides the dashboard's own origin."""
    trusted_proxies: list[str] = []
    """Addresses or networks (such as 10.0.0.0/8) of the proxies whose X-Forwarded headers the server trusts."""
    tls: Tls | None = None
    """Certificate for https. If None, the server uses http."""
    max_per_address: Positive = 10000
    """Maximum number of connections per client address."""
    redis: Redis | None = None
    """Redis server through which other processes and programs send events to clients of this process. Default: none."""
    alarms: Alarms | None = None
    """How Storewatch evaluates alarm rules. By default it evaluates them, and the default rules apply."""
    rules: list[dict[str, Any]] = []
    """Initial alarm rules. They are ignored once rules have been saved on the dashboard."""
    notify: Notify | None = None
    """How people are notified of the alarms that Storewatch raises. If None, only the dashboard shows the alarms."""
    max_payload: Positive = 65536
    """Maximum size of a message from a client, in bytes."""
    rate_limit: Seconds = 20.0
    """Number of events per second that a connection may send on average."""
    rate_burst: Positive = 40
    """Number of events that a connection may send in one burst, before `rate_limit` applies."""
    max_unsent: Positive = 524288
    """The server closes a connection that has more than this number of unsent bytes.

    Up to 16 MiB of answers to the client's own requests are not counted.
    """
    max_stuck: Seconds = 30.0
    """Time in seconds after which the server closes a connection whose client accepts none of the waiting data."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level of the messages that are logged."""
    log_format: Literal["text", "json"] = "text"
    """Format of the log: text for lines that are easy to read, json for one JSON object per line."""

    @property
    def sensor_database(self) -> Database:
        """The database that contains the readings."""
        return self.database or DEMO

    @property
    def state_database(self) -> Database:
        """The database that contains Storewatch's own tables."""
        ours = self.sensor_database.map is None
        return self.state or (self.sensor_database if ours else Database(path="var/state.db"))

    @property
    def own_alarms(self) -> Alarms:
        """The settings `alarms`, with defaults for missing keys."""
        return self.alarms or Alarms()

    @property
    def restricted(self) -> Access | None:
        """The access control settings. None if everybody has access."""
        return self.access if isinstance(self.access, Access) else None

    @property
    def is_demo(self) -> bool:
        """Whether the server runs the embedded demo, because `database` is not set."""
        return self.database is None


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> tuple[Settings, Source]:
    """Read the settings from the file at `path` (None for no file) and from environment variables, and check them.

    Raise `UsageError` with the file, line and key (or environment variable) if a setting is invalid.
    """
    settings, source = settings_file.read(path, environ, Settings)
    _check(settings, source)
    return settings, source


def _check(settings: Settings, source: Source) -> None:
    """Check rules that involve several keys. Raise `UsageError` if one of them is violated."""
    if settings.state is not None and settings.state.map is not None:
        raise UsageError(f"{source.where('state.map')}: Storewatch's own tables cannot be mapped; remove the key")
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
            f"{source.where('access')}: required if database is set; `access: open` gives access to everybody who "
            "reaches the port; docs/access.md explains users and tokens"
        )
    if database.kind == "mysql" and not database.name:
        raise UsageError(f"{source.where('database.name')}: required for mysql; set it to the name of the database")
    if database.map is not None:
        _check_map(database.map, source)


def _check_network(settings: Settings, source: Source) -> None:
    for proxy in settings.trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise UsageError(f"{source.where('trusted_proxies')}: {error}") from None
    if settings.tls is not None and not (settings.tls.certificate and settings.tls.key):
        raise UsageError(f"{source.where('tls')}: set both certificate and key")


def _check_notify(notify: Notify, source: Source) -> None:
    for key in ("repeat", "escalate", "group_wait", "group_interval"):
        try:
            duration(getattr(notify, key))
        except ValueError as error:
            raise UsageError(f"{source.where(f'notify.{key}')}: {error}") from None
    where = source.where("notify.tiers")
    names = [target.name for target in notify.targets]
    if not names:
        raise UsageError(f"{where}: must contain at least one target")
    for target in notify.targets:
        if not 0 < len(target.name) <= MAX_NAME_LENGTH:
            raise UsageError(f"{where}: each target needs a name of at most {MAX_NAME_LENGTH} characters")
        if not target.url:
            raise UsageError(f"{where}: the target {target.name!r} needs a url in Apprise's format")
        if names.count(target.name) > 1:
            raise UsageError(f"{where}: two targets have the name {target.name!r}; names must be unique")


def _check_access(access: Access, source: Source) -> None:
    if not access.users and not access.tokens:
        raise UsageError(
            f"{source.where('access')}: must contain users or tokens, otherwise nobody has access; see docs/access.md"
        )
    where = source.where("access.users")
    names = [user.name for user in access.users]
    for user in access.users:
        if not 0 < len(user.name) <= MAX_NAME_LENGTH:
            raise UsageError(f"{where}: each user needs a name of at most {MAX_NAME_LENGTH} characters")
        if names.count(user.name) > 1:
            raise UsageError(f"{where}: two users have the name {user.name!r}; names must be unique")
        if not user.password_hash.startswith("$argon2id$"):
            raise UsageError(f"{where}: {user.name!r} needs a password_hash; `python -m access password` prints one")
    if access.users and (access.session is None or len(access.session.secret.encode()) < MIN_SECRET_BYTES):
        raise UsageError(f"{source.where('access.session')}: users need session.secret, {LONG_SECRET}")
    for key in access.tokens:
        where = source.where("access.tokens")
        needed, other = ("secret", "public_key") if key.algorithm == "HS256" else ("public_key", "secret")
        if not getattr(key, needed) or getattr(key, other):
            raise UsageError(f"{where}: {key.algorithm} needs {needed} or {needed}_file, without {other}")
        if key.secret and len(key.secret.encode()) < MIN_SECRET_BYTES:
            raise UsageError(f"{where}: the secret is too short; it must be {LONG_SECRET}")


def _check_map(maps: DatabaseMap, source: Source) -> None:
    for subject in maps.__struct_fields__:
        subject_map: SubjectMap | None = getattr(maps, subject)
        if subject_map is None:
            continue
        where = source.where(f"database.map.{subject}")
        if subject_map.table and subject_map.sql:
            raise UsageError(f"{where}: set either table or sql, not both")
        if isinstance(subject_map, ReadingMap):
            try:
                duration(subject_map.late_window)
            except ValueError as error:
                raise UsageError(f"{source.where('database.map.reading.late_window')}: {error}") from None
            single = {"metric", "value"} & (set(subject_map.columns) | set(subject_map.expressions))
            if subject_map.wide and single:
                raise UsageError(f"{where}: wide already maps metric and value; remove {' and '.join(sorted(single))}")
        twice = set(subject_map.columns) & set(subject_map.expressions)
        if twice:
            raise UsageError(f"{where}: {', '.join(sorted(twice))} is in both columns and expressions; remove one")
