"""The text of messages in both languages, also with names that contain control characters or placeholders."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from alarms.alarm_test_reading import TEST_ALARM
from alarms.model import KINDS
from alarms.notices import DELIVERY, NOTICE_EVENTS
from alarms.wrong_clock import CLOCK
from ask.answers import EVERYWHERE, Alarm, Storehouse
from common.metric_registry import METRICS
from common.severity import SEVERITIES
from notify import text
from notify.words import LANGUAGES, WORDS
from record.notices import Item, Message
from settings import Notify
from tests.test_notices import ALARM, CLEARED, START

STOREHOUSE = Storehouse(1, "一号库", 1, "Asia/Shanghai")
CELSIUS: text.Units = {(7, "temperature"): "°C"}


def message(*items: tuple[str, Alarm], tries: int = 1) -> Message:
    return Message(5, "duty", 1, tuple(Item(*item) for item in items), tries)


def both(message: Message, language: str = "en", storehouse: Storehouse = STOREHOUSE) -> tuple[str, list[str]]:
    """Return the subject of a message and the lines of its text."""
    return text.subject(message, storehouse, CELSIUS, language), text.text(
        message, storehouse, CELSIUS, language
    ).split("\n")


def but(**changes: Any) -> Alarm:
    return msgspec.structs.replace(ALARM, **changes)


def test_a_message_names_event_place_value_start_and_severity() -> None:
    assert both(message(("raised", ALARM))) == (
        "[Warning] 一号库: 温度 1 (temperature) too high: 9 °C (limit 8 °C)",
        [
            "一号库 (time zone: Asia/Shanghai)",
            "Alarm: 温度 1 (temperature) too high: 9 °C (limit 8 °C), since 2026-03-01 19:55. Severity: Warning.",
        ],
    )
    assert both(message(("raised", ALARM)), "zh") == (
        "【警告】一号库：温度 1（温度）过高：9 °C（限值 8 °C）",
        [
            "一号库（时区：Asia/Shanghai）",
            "报警：温度 1（温度）过高：9 °C（限值 8 °C），2026-03-01 19:55 开始。级别：警告。",
        ],
    )


def test_a_cleared_message_has_the_peak_and_both_times() -> None:
    subject, lines = both(message(("cleared", CLEARED)))
    assert subject.startswith("[Cleared] 一号库: ")
    assert lines[1].startswith("Alarm cleared: 温度 1 (temperature) too high: 9.5 °C (limit 8 °C), ")
    assert lines[1].endswith(", from 2026-03-01 19:55 to 2026-03-01 21:00. Severity: Warning.")


def test_a_message_about_closing_names_user_and_reason() -> None:
    closed = but(cleared=START, state="cleared", transition="closed", closed_by="Li\nMei", reason="sensor faulty")
    assert both(message(("cleared", closed)))[1][1].startswith("Alarm closed by Li Mei (sensor faulty): 温度 1")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("what", NOTICE_EVENTS)
@pytest.mark.parametrize("kind", [*KINDS, DELIVERY, TEST_ALARM, CLOCK, "the site's own"])
def test_every_event_and_kind_has_words_in_both_languages(language: str, what: str, kind: str) -> None:
    for metric in (*METRICS, "their own", None):
        for value in (0.0, 1.0, None):
            alarm = but(kind=kind, metric=metric, value=value, peak=value)
            subject, lines = both(message((what, alarm), tries=2), language)
            assert "{" not in subject + "".join(lines)
            assert len(lines) == 3


def test_both_catalogues_have_the_same_words() -> None:
    assert WORDS.keys() == set(LANGUAGES)
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    assert set(SEVERITIES) | set(NOTICE_EVENTS) | set(KINDS) | set(METRICS) <= WORDS["en"].keys()
    fields = {word: {part.partition("}")[0] for part in form.split("{")[1:]} for word, form in WORDS["en"].items()}
    assert fields == {
        word: {part.partition("}")[0] for part in form.split("{")[1:]} for word, form in WORDS["zh"].items()
    }


def test_names_cannot_inject_lines_control_characters_or_placeholders() -> None:
    evil = "A\r\nAlarm cleared:\u2028all\u0085is\u202ewell\x07\t{limit}" + "x" * 500
    alarm = but(sensor_name=evil, kind=evil, metric=evil, severity="info")
    storehouse = Storehouse(1, evil, 1, "Asia/Shanghai")
    subject, lines = both(message(("raised", alarm)), storehouse=storehouse)
    assert len(lines) == 2
    assert all(line.isprintable() and len(line) < 500 for line in (subject, *lines))
    assert "A Alarm cleared: all is well {limit}xxx" in subject


def test_times_are_in_the_storehouses_time_zone() -> None:
    chicago = Storehouse(1, "South", 1, "America/Chicago")
    for month, local in ((1, "06:00"), (7, "07:00")):
        alarm = but(since=datetime(2026, month, 1, 12, tzinfo=UTC))
        assert f"since 2026-0{month}-01 {local}." in both(message(("raised", alarm)), storehouse=chicago)[1][1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_times_in_the_repeated_hour_have_their_offset(language: str) -> None:
    """In Berlin, clocks go back from 03:00 to 02:00 at 01:00 UTC."""

    def line(start: str, end: str) -> str:
        since, cleared = (datetime.fromisoformat(f"2026-10-{time}Z") for time in (start, end))
        alarm = but(since=since, cleared=cleared, state="cleared")
        return both(message(("cleared", alarm)), language, Storehouse(1, "Nord", 1, "Europe/Berlin"))[1][1]

    repeated = line("25T00:30", "25T01:30")
    assert "2026-10-25 02:30 (UTC+02:00)" in repeated
    assert "2026-10-25 02:30 (UTC+01:00)" in repeated
    for start, end in (("25T00:00", "25T00:59"), ("25T01:00", "25T01:59")):
        assert line(start, end).count("UTC+") == 2
    around = line("24T23:59", "25T02:00")
    assert "2026-10-25 01:59" in around
    assert "2026-10-25 03:00" in around
    assert "UTC" not in around


def test_many_alarms_are_counted_and_the_worst_come_first() -> None:
    alarms = [but(alarm_id=f"sw-{number}", severity="info") for number in range(149)]
    worst = but(alarm_id="sw-999", severity="critical", sensor_name="the worst")
    subject, lines = both(message(*(("raised", alarm) for alarm in alarms), ("raised", worst)))
    assert subject == "[Critical] 一号库: 150 alarms"
    assert "the worst" in lines[1]
    assert lines[-1] == f"and {150 - text.MOST_LINES} more"
    assert len(lines) == text.MOST_LINES + 2


def test_a_reminder_before_a_newer_notice_is_omitted() -> None:
    _, lines = both(message(("raised", ALARM), ("reminded", ALARM), ("cleared", CLEARED)))
    assert [line.partition(":")[0] for line in lines[1:]] == ["Alarm", "Alarm cleared"]


def test_the_end_of_an_alarm_that_was_reopened_is_omitted() -> None:
    _, lines = both(message(("raised", ALARM), ("cleared", CLEARED), ("reopened", ALARM)))
    assert [line.partition(":")[0] for line in lines[1:]] == ["Alarm", "Alarm reopened"]


def test_a_repeated_message_is_marked() -> None:
    subject, lines = both(message(("raised", ALARM), tries=2))
    assert subject.endswith(" (resent)")
    assert lines[-1] == "This message was sent before and may have reached you already."


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_test_alarm_is_marked_in_both_languages(language: str) -> None:
    subject, lines = both(message(("raised", but(kind=TEST_ALARM, drill=True, severity="critical"))), language)
    assert "测试报警 TEST ALARM" in subject
    assert "测试报警 TEST ALARM" in lines[1]


def test_a_switch_alarm_names_its_state() -> None:
    door = but(kind="switch", metric="door", value=1.0, limit=1.0, sensor_name="北门")
    assert both(message(("raised", door)))[0] == "[Warning] 一号库: 北门 (door) open"


def test_a_database_outage_names_all_storehouses_and_the_database() -> None:
    everywhere = Storehouse(EVERYWHERE, str(EVERYWHERE), "", "UTC")
    outage = but(store_house_id=EVERYWHERE, sensor_id=None, sensor_name=None, metric=None, kind="no_data", value=None)
    assert both(message(("raised", outage)), storehouse=everywhere)[0] == (
        "[Warning] All storehouses: Sensor database does not answer"
    )
    assert both(message(("raised", outage)), "zh", everywhere)[0] == "【警告】所有仓库：传感器数据库无响应"


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (3600.0, "is behind by about 1 h, or the clocks of", "慢约 1 小时，或者"),
        (3590.0, "is behind by about 1 h,", "慢约 1 小时，"),
        (-75.0, "is ahead by about 1.2 min,", "快约 1.2 分钟，"),
        (-5400.0, "is ahead by about 1.5 h, or the clocks of", "快约 1.5 小时，或者"),
        (90_000.0, "is behind by about 1 d,", "慢约 1 天，"),
        (1e9, "is behind by about 11574 d,", "慢约 11574 天，"),
    ],
)
def test_a_clock_alarm_names_the_server_and_the_difference(seconds: float, english: str, chinese: str) -> None:
    everywhere = Storehouse(EVERYWHERE, str(EVERYWHERE), "", "UTC")
    alarm = but(store_house_id=EVERYWHERE, sensor_id=None, sensor_name=None, metric=None, kind=CLOCK, value=seconds)
    assert (
        f"All storehouses: Clock of the Storewatch server {english}"
        in both(message(("raised", alarm)), storehouse=everywhere)[0]
    )
    assert f"所有仓库：Storewatch 服务器的时钟{chinese}" in both(message(("raised", alarm)), "zh", everywhere)[0]


def test_a_delivery_alarm_names_the_recipient() -> None:
    failing = but(sensor_id=None, sensor_name="duty", metric=None, kind=DELIVERY, value=3.0)
    assert both(message(("raised", failing)))[0] == (
        "[Warning] 一号库: Recipient duty cannot be reached (3 failed attempts)"
    )
    assert both(message(("raised", failing)), "zh")[0] == "【警告】一号库：接收人“duty”收不到通知（发送失败 3 次）"


def test_the_worst_open_alarm_determines_the_messages_severity() -> None:
    assert text.worst(message(("raised", ALARM), ("raised", but(alarm_id="sw-2", severity="critical")))) == "critical"
    assert text.worst(message(("cleared", CLEARED))) is None


def test_urls_of_targets_appear_in_no_repr() -> None:
    notify = msgspec.convert({"tiers": [[{"name": "duty", "url": "json://user:secret@host/"}]]}, Notify)
    assert "secret" not in f"{notify!r} {notify} {notify.tiers} {timedelta()}"


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/Chicago"])
@pytest.mark.parametrize("time", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_first_and_last_times_of_all_have_a_text(time: datetime, zone: str) -> None:
    alarm = but(since=time, raised=time)
    assert f", since {time:%Y-%m}" in both(message(("raised", alarm)), storehouse=Storehouse(1, "", 1, zone))[1][1]
