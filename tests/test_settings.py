"""The settings and the command line: accepted values, and the error messages for other values."""

import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

import settings
from ask.subjects import FIELDS
from errors import UsageError
from settings import (
    Access,
    AccessUser,
    Alarms,
    Database,
    DatabaseMap,
    Notify,
    ReadingMap,
    Redis,
    Section,
    Session,
    Settings,
    SubjectMap,
    Target,
    Tls,
    TokenKey,
    load,
)
from tests.support.command import run
from tests.support.documents import KEY_AND_DEFAULT
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST, free_port
from tests.support.serving import ROOT, Serve

VALID = """\
host: 127.0.0.1
access: open
database:
  kind: mysql
  name: site
  user: reader
  password: "012"
  map:
    reading:
      table: 温湿度记录
      columns: {sensor_id: 传感器编号}
      wide:
        pm2.5: 细颗粒物
poll_interval: 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(VALID, encoding="utf-8")
    return path


def load_error(path: Path | str | None, text: str | None = None, **environ: str) -> str:
    """Return the error message for a settings file with this text. FILE replaces the path of the file."""
    if text is not None:
        Path(str(path)).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load(None if path is None else str(path), environ)
    assert "\n" not in str(refused.value)
    return str(refused.value).replace(str(path), "FILE")


def test_a_file_is_read(config: Path) -> None:
    loaded, _ = load(str(config), {})
    assert loaded.database is not None
    assert loaded.database.map is not None
    assert loaded.database.map.reading is not None
    assert loaded.database.map.reading.wide == {"pm2.5": "细颗粒物"}
    assert (loaded.poll_interval, loaded.rate_limit, loaded.is_demo) == (2.0, 20.0, False)


def test_without_a_file_the_settings_are_the_demo() -> None:
    loaded, _ = load(None, {})
    assert loaded == Settings()
    assert loaded.is_demo


def test_the_environment_overrides_individual_keys_and_keeps_strings(config: Path) -> None:
    environ = {
        "STOREWATCH_DATABASE__PASSWORD": "012",
        "STOREWATCH_DATABASE__USER": "null",
        "STOREWATCH_DATABASE__PORT": "3307",
        "STOREWATCH_POLL_INTERVAL": "0.5",
        "STOREWATCH_ALLOWED_ORIGINS": "http://a:1, https://b",
        "STOREWATCH_CONFIG": "elsewhere.yaml",
        "OTHER": "1",
    }
    loaded, _ = load(str(config), environ)
    assert loaded.database is not None
    assert (loaded.database.password, loaded.database.user, loaded.database.port) == ("012", "null", 3307)
    assert (loaded.database.name, loaded.poll_interval) == ("site", 0.5)
    assert loaded.allowed_origins == ["http://a:1", "https://b"]


def test_the_environment_alone_can_set_a_database() -> None:
    loaded, _ = load(None, {"STOREWATCH_DATABASE__PATH": "own.db", "STOREWATCH_ACCESS": "open"})
    assert loaded.database == Database(path="own.db")


USER = "{name: a, password_hash: $argon2id$}"
LONG = "x" * 32
REFUSED = {
    # the text of the settings file: the start of the error message
    "poll_intervall: 1": "FILE:1 poll_intervall: unknown key",
    "host: x\ndatabase:\n  pasword: x": "FILE:3 database.pasword: unknown key",
    "database:\n  map:\n    readings: {}": "FILE:3 database.map.readings: unknown key",
    "database:\n  map:\n    reading:\n      tabel: x": "FILE:4 database.map.reading.tabel: unknown key",
    "poll_interval: fast": "FILE:1 poll_interval: Expected `float`, got `str`",
    "poll_interval: 0": "FILE:1 poll_interval: Expected `float` > 0.0",
    'max_payload: "65536"': "FILE:1 max_payload: Expected `int`, got `str`",
    "database:\n  password: 012": "FILE:2 database.password: Expected `str`, got `int`",
    "database:\n  port: 65536": "FILE:2 database.port: Expected `int` <= 65535",
    "database:\n  kind: oracle": "FILE:2 database.kind: Invalid enum value 'oracle'",
    "database:\n  map:\n    reading:\n      wide:\n        a: 3": "FILE:4 database.map.reading.wide: Expected `str`",
    "database:\n  map:\n    reading:\n      wide: {1: a}": "FILE:4 database.map.reading.wide: Expected `str`",
    "database:\n  map:\n    sensor:": "FILE: access: required if database",
    "\nallowed_origins: [1]": "FILE:2 allowed_origins: Expected `str`, got `int`",
    "trusted_proxies: [10.0.0.300]": "FILE:1 trusted_proxies: '10.0.0.300' does not appear to be an IPv4",
    "access: closed": "FILE:1 access: Invalid enum value 'closed'",
    "access: {}": "FILE:1 access: must contain users or tokens, otherwise nobody has access",
    "access:\n  usres: []": "FILE:2 access.usres: unknown key",
    "access:\n  users: [{name: a, role: king}]": "FILE:2 access.users: Invalid enum value 'king'",
    "access:\n  users: [{role: watch}]": "FILE:2 access.users: each user needs a name",
    "access:\n  users: [{name: a, password_hash: secret}]": "FILE:2 access.users: 'a' needs a password_hash; `python",
    f"access:\n  users: [{USER}, {USER}]": "FILE:2 access.users: two users have the name 'a'",
    f"access:\n  users: [{USER}]": "FILE:1 access.session: users need session.secret, at least 32 bytes",
    f"access:\n  users: [{USER}]\n  session: {{secret: short}}": "FILE:3 access.session: users need session.secret",
    f"access:\n  users: [{USER}]\n  session: {{hours: 0}}": "FILE:3 access.session.hours: Expected `float` > 0.0",
    "access:\n  tokens: [{algorithm: none}]": "FILE:2 access.tokens: Invalid enum value 'none'",
    "access:\n  tokens: [{}]": "FILE:2 access.tokens: HS256 needs secret or secret_file, without public_key",
    "access:\n  tokens: [{secret: short}]": "FILE:2 access.tokens: the secret is too short",
    f"access:\n  tokens: [{{algorithm: ES256, secret: {LONG}}}]": "FILE:2 access.tokens: ES256 needs public_key",
    "database: {}": "FILE: access: required if database is set; `access: open`",
    "access: open\ndatabase:\n  kind: mysql": "FILE:2 database.name: required for mysql",
    "notify: {}": "FILE:1 notify.tiers: must contain at least one target",
    "notify:\n  tiers: [[{name: a, url: u}], [{name: a, url: v}]]": "FILE:2 notify.tiers: two targets have the name",
    "notify:\n  tiers: [[{url: u}]]": "FILE:2 notify.tiers: each target needs a name",
    "notify:\n  tiers: [[{name: a}]]": "FILE:2 notify.tiers: the target 'a' needs a url",
    "notify:\n  repeat: soon": "FILE:2 notify.repeat: 'soon' is not a valid duration",
    "- a": "FILE: must be a mapping of keys to values",
    "a: [": "FILE: not valid YAML: ",
    "a: b: c": "FILE: not valid YAML: ",
    "a: !!python/object:os.system x": "FILE: not valid YAML: ",
}


@pytest.mark.parametrize("text", REFUSED)
def test_an_invalid_file_is_refused_with_line_and_key(text: str, tmp_path: Path) -> None:
    message = load_error(tmp_path / "settings.yaml", text)
    assert message.startswith(REFUSED[text])


MAP = "access: open\ndatabase:\n  path: x\n  map:\n    reading:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("      late_window: an hour", "FILE:6 database.map.reading.late_window: 'an hour' is not a valid duration"),
        ("      late_window: 0s", "FILE:6 database.map.reading.late_window: '0s' is not a valid duration"),
        ("      late_window: 99999999999d", "FILE:6 database.map.reading.late_window: '99999999999d' is not a valid"),
        ("      late_window: 367d", "FILE:6 database.map.reading.late_window: '367d' is not a valid duration"),
        ("      table: a\n      sql: b", "FILE:5 database.map.reading: set either table or sql"),
        (
            "      columns: {time: a}\n      expressions: {time: b}",
            "FILE:5 database.map.reading: time is in both columns and expressions",
        ),
        (
            "      columns: {value: a}\n      wide: {temperature: b}",
            "FILE:5 database.map.reading: wide already maps metric and value; remove value",
        ),
    ],
)
def test_an_invalid_map_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert load_error(tmp_path / "settings.yaml", MAP + text).startswith(message)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("STOREWATCH_POL_INTERVAL", "1", "STOREWATCH_POL_INTERVAL: unknown key"),
        ("STOREWATCH_POLL_INTERVAL", "fast", "STOREWATCH_POLL_INTERVAL: Expected `float`"),
        ("STOREWATCH_DATABASE__PORT", "99999", "STOREWATCH_DATABASE__PORT: Expected `int` <= 65535"),
        ("STOREWATCH_DATABASE", "x", "STOREWATCH_DATABASE: Expected `object | null`, got `str`"),
    ],
)
def test_an_invalid_variable_is_named(variable: str, value: str, message: str, config: Path) -> None:
    assert load_error(config, **{variable: value}).startswith(message)


def test_a_variable_cannot_be_both_value_and_parent() -> None:
    message = load_error(None, STOREWATCH_DATABASE="x", STOREWATCH_DATABASE__KIND="mysql")
    assert message == (
        "STOREWATCH_DATABASE__KIND: another variable sets database as a single value; remove one of them"
    )


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    assert load_error(tmp_path / "none.yaml") == "cannot read the settings file FILE: No such file or directory"
    assert load_error(tmp_path) == "cannot read the settings file FILE: Is a directory"
    (tmp_path / "gbk.yaml").write_bytes("host: 仓库".encode("gbk"))
    assert load_error(tmp_path / "gbk.yaml").startswith("cannot read the settings file FILE: 'utf-8' codec can't")


def test_an_empty_file_means_the_demo(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("# nothing yet\n")
    assert load(str(tmp_path / "settings.yaml"), {})[0].is_demo


def test_no_repr_shows_a_password(config: Path) -> None:
    loaded, _ = load(str(config), {f"STOREWATCH_{kind}__PASSWORD": "secret" for kind in ("DATABASE", "REDIS")})
    assert "secret" not in f"{loaded!r} {loaded.database!r} {loaded.redis!r} {loaded} {loaded.database} {loaded.redis}"


def test_secrets_can_be_read_from_files(config: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p@ss 词\n", encoding="utf-8")
    where = str(tmp_path / "secret")
    notify = f"notify: {{tiers: [[{{name: a, url_file: {where}}}]]}}\n"
    config.write_text(f"redis: {{password_file: {where}}}\n{notify}", encoding="utf-8")
    named = {"STOREWATCH_DATABASE__PASSWORD_FILE": where, "STOREWATCH_ACCESS": "open"}
    loaded, _ = load(str(config), named)
    assert loaded.redis is not None
    assert loaded.database is not None
    assert loaded.notify is not None
    assert {loaded.redis.password, loaded.database.password, loaded.notify.targets[0].url} == {"p@ss 词"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis:\n  password_file: none", "FILE:2 redis.password_file: cannot read none: No such file or directory"),
        ("redis:\n  password_file: /", "FILE:2 redis.password_file: cannot read /: Is a directory"),
        ("redis:\n  password_file: /dev/null", "FILE:2 redis.password_file: /dev/null is empty"),
        ("redis: {password: a, password_file: b}", "FILE:1 redis.password_file: set either password or password_file"),
        ("tls: {certificate: a}", "FILE:1 tls: set both certificate and key"),
    ],
)
def test_a_missing_secret_or_certificate_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert load_error(tmp_path / "settings.yaml", text).startswith(message)


@pytest.mark.parametrize(
    "text",
    ["password: *planted", 'password: "planted', "password: 'planted' planted", "password: !planted x", "%planted: x",
     "password: @planted", "redis: {password: planted", "redis: {password: 1, passwd: planted}", "access: [planted]"],
)  # fmt: skip
def test_an_error_message_quotes_no_values_of_the_file(text: str, tmp_path: Path) -> None:
    assert "planted" not in load_error(tmp_path / "settings.yaml", text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("90s", timedelta(seconds=90)), ("1.5h", timedelta(minutes=90)), ("2d", timedelta(days=2))],
)
def test_a_duration_is_a_number_and_a_unit(text: str, meant: timedelta) -> None:
    assert settings.duration(text) == meant


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1 h", "1h30m", "１h", "1w", "1e3s", "0.0s"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid duration"):
        settings.duration(text)


def error_line_of(cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a command that cannot start. Return the single line that the command writes to stderr."""
    done = run(cwd, *arguments, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storewatch: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("storewatch: ").strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the argument port is missing: give the port to listen on, such as 8000; usage: "),
        (["80a"], "argument port: '80a' is not a port; use a number from 0 to 65535; usage: "),
        (["65536"], "argument port: '65536' is not a port"),
        (["-1"], "argument port: '-1' is not a port"),
        (["8000", "8001"], "unrecognized arguments: 8001; usage: "),
        (["8000", "--daemon"], "unrecognized arguments: --daemon; usage: "),
        (["8000", "--config"], "argument --config: expected one argument"),
        (["8000", "--config", "none.yaml"], "cannot read the settings file none.yaml: No such file or directory"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    assert error_line_of(tmp_path, *arguments, env={"COLUMNS": "20"}).startswith(message)


@pytest.mark.slow
def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        error_line = error_line_of(tmp_path, str(port), env={"STOREWATCH_HOST": HOST})
    assert error_line == f"cannot listen on 127.0.0.1 port {port}: Address already in use; use another port"


@pytest.mark.slow
def test_an_unavailable_address_is_reported_in_one_line(tmp_path: Path) -> None:
    assert error_line_of(tmp_path, "0", env={"STOREWATCH_HOST": "192.0.2.1"}).startswith(
        "cannot listen on 192.0.2.1 port 0: "
    )
    assert error_line_of(tmp_path, "0", env={"STOREWATCH_HOST": "no.such.invalid"}).startswith(
        "cannot listen on no.such.inv"
    )


@pytest.mark.slow
def test_the_environment_can_name_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1")
    assert error_line_of(tmp_path, "0", env={"STOREWATCH_CONFIG": "other.yaml"}).startswith(
        "other.yaml:1 a: unknown key"
    )


@pytest.fixture(scope="module", params=["", "map: {}"], ids=["own tables", "site's tables"])
def mapped(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(mariadb: MariaDB, tmp_path: Path, mapped: str) -> Iterator[dict[str, str]]:
    """Create a database and a settings file. Return the environment variables for the connection."""
    name = f"refusing_{free_port()}"
    mariadb.create_database(name)
    (tmp_path / "settings.yaml").write_text(f"access: open\ndatabase:\n  kind: mysql\n  {mapped}\n")
    environment = {f"STOREWATCH_DATABASE__{key.upper()}": str(value) for key, value in mariadb.settings(name).items()}
    yield environment
    mariadb.execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("PASSWORD", "wrong", "Access denied for user"),
        ("USER", "stranger", "Access denied for user"),
        ("NAME", "nowhere", "denied for user"),
    ],
)
@pytest.mark.parametrize("how", ["0", "--check"])
def test_wrong_database_settings_are_reported_in_one_line(
    how: str, key: str, value: str, message: str, database: dict[str, str], tmp_path: Path
) -> None:
    error_line = error_line_of(
        tmp_path, how, "--config", "settings.yaml", env=database | {f"STOREWATCH_DATABASE__{key}": value}
    )
    assert error_line.startswith("database: cannot ")
    assert message in error_line
    assert database["STOREWATCH_DATABASE__PASSWORD"] not in error_line


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("PORT", "1", "Can't connect to MySQL server on '127.0.0.1'"),
        ("HOST", "no.such.invalid", "Can't connect to MySQL server on 'no.such.invalid'"),
    ],
)
def test_the_check_reports_an_unreachable_database_in_one_line(
    key: str, value: str, message: str, database: dict[str, str], tmp_path: Path
) -> None:
    environment = database | {f"STOREWATCH_DATABASE__{key}": value}
    error_line = error_line_of(tmp_path, "--check", "--config", "settings.yaml", env=environment)
    assert error_line.startswith("database: cannot ")
    assert message in error_line


@pytest.mark.slow
def test_a_missing_site_database_is_reported_and_not_created(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("access: open\ndatabase: {path: none.db, map: {}}")
    error_line = error_line_of(tmp_path, "0", "--config", "settings.yaml")
    assert error_line == (
        "database: cannot open sqlite none.db: unable to open database file; "
        "check that the file exists, and that this process may use it and its folder"
    )
    assert not (tmp_path / "none.db").exists()


@pytest.mark.slow
def test_a_folder_error_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error_line = error_line_of(
        tmp_path, "0", env={"STOREWATCH_DATABASE__PATH": "file/own.db", "STOREWATCH_ACCESS": "open"}
    )
    assert error_line == "database.path: cannot create the folder file: File exists"


@pytest.mark.slow
async def test_stdout_contains_only_the_ready_line(serve: Serve) -> None:
    async with serve() as server:
        assert re.fullmatch(r"Storewatch: http://127\.0\.0\.1:\d+/\n", server.output())


DOCUMENTATION = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def default(field: msgspec.structs.FieldInfo) -> str:
    """Return the default of a settings key in the form in which the documentation shows it."""
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    shown = str(value).lower() if isinstance(value, bool) else value
    return "none" if value is None else '`""`' if value == "" else f"`{shown}`"


@pytest.mark.parametrize(
    "section",
    [
        Settings,
        Database,
        DatabaseMap,
        SubjectMap,
        ReadingMap,
        Redis,
        Tls,
        Alarms,
        Notify,
        Target,
        Access,
        AccessUser,
        TokenKey,
        Session,
    ],
)
def test_every_key_is_documented(section: type[Section]) -> None:
    documented = set(KEY_AND_DEFAULT.findall(DOCUMENTATION))
    keys = {(field.name, default(field)) for field in msgspec.structs.fields(section)}
    assert keys - documented == set()


def test_every_mappable_field_is_documented() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| (.*) \|$", DOCUMENTATION, re.MULTILINE))
    wrong = [
        (name, key)
        for name, fields in FIELDS.items()
        for key, needed in fields.items()
        if (f"**`{key}`**" in rows[name]) is not needed or f"`{key}`" not in rows[name]
    ]
    assert wrong == []


def test_the_documented_examples_are_valid_settings(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCUMENTATION, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        path = tmp_path / "settings.yaml"
        path.write_text(example, encoding="utf-8")
        assert load(str(path), {})[0].database is not None
