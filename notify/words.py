"""The texts of messages in each language. The names of metrics come from `common/metric_registry.py`."""

from collections.abc import Mapping

from common.metric_registry import METRICS

LANGUAGES = ("zh", "en")

_PHRASES: dict[str, dict[str, str]] = {
    "en": {
        # subject
        "single": "[{head}] {storehouse}: {where} {alarm}",
        "several": "[{head}] {storehouse}: {count} alarms",
        "over": "Cleared",
        "again": "{subject} (resent)",
        "unrecorded_subject": "{subject} (not recorded)",
        "everywhere": "All storehouses",
        # text
        "header": "{storehouse} (time zone: {zone})",
        "raised": "Alarm: {where} {alarm}, since {since}. Severity: {severity}.",
        "worsened": "Alarm worsened: {where} {alarm}, since {since}. Severity: {severity}.",
        "reopened": "Alarm reopened: {where} {alarm}, first since {since}. Severity: {severity}.",
        "reminded": "Reminder, not acknowledged: {where} {alarm}, since {since}. Severity: {severity}.",
        "escalated": "Escalated, not acknowledged: {where} {alarm}, since {since}. Severity: {severity}.",
        "cleared": "Alarm cleared: {where} {alarm}, from {since} to {cleared}. Severity: {severity}.",
        "closed": "Alarm closed by {by} ({reason}): {where} {alarm}, from {since} to {cleared}. Severity: {severity}.",
        "withdrawn": "False alarm: {where} {alarm}, since {since}. Late readings show that all was normal.",
        "more": "and {count} more",
        "before": "This message was sent before and may have reached you already.",
        "unrecorded": "Not recorded: Storewatch cannot write to its database. The dashboard does not show these alarms "
        "until it can.",
        # severities
        "info": "Info",
        "warning": "Warning",
        "critical": "Critical",
        # kinds
        "high": "too high: {value} (limit {limit})",
        "low": "too low: {value} (limit {limit})",
        "rate": "changing too fast: {value} (limit {limit})",
        "no_data": "sends no data",
        "no_answer": "does not answer",
        "switch": "in alarm state",
        "delivery": "cannot be reached ({value} failed attempts)",
        "clock_behind": "is behind by about {span}, or the clocks of the sensors or the database are ahead",
        "clock_ahead": "is ahead by about {span}, or the clocks of the sensors or the database are behind",
        "clock": "is wrong",
        "days": "{count} d",
        "hours": "{count} h",
        "minutes": "{count} min",
        "drill": "test only, nothing is wrong",
        "other": "{kind}: {value} (limit {limit})",
        # places
        "metric": "{sensor} ({metric})",
        "whole": "Whole storehouse",
        "database": "Sensor database",
        "server_clock": "Clock of the Storewatch server",
        "recipient": "Recipient {name}",
    },
    "zh": {
        "single": "【{head}】{storehouse}：{where}{alarm}",
        "several": "【{head}】{storehouse}：{count} 条报警",
        "over": "已解除",
        "again": "{subject}（重发）",
        "unrecorded_subject": "{subject}（未记录）",
        "everywhere": "所有仓库",
        "header": "{storehouse}（时区：{zone}）",
        "raised": "报警：{where}{alarm}，{since} 开始。级别：{severity}。",
        "worsened": "报警加重：{where}{alarm}，{since} 开始。级别：{severity}。",
        "reopened": "报警再次触发：{where}{alarm}，最初于 {since} 开始。级别：{severity}。",
        "reminded": "重复通知，尚未确认：{where}{alarm}，{since} 开始。级别：{severity}。",
        "escalated": "升级通知，无人确认：{where}{alarm}，{since} 开始。级别：{severity}。",
        "cleared": "报警已解除：{where}{alarm}，{since} 至 {cleared}。级别：{severity}。",
        "closed": "{by} 已手动解除报警（{reason}）：{where}{alarm}，{since} 至 {cleared}。级别：{severity}。",
        "withdrawn": "误报：{where}{alarm}，{since} 开始。迟到的读数表明当时一切正常。",
        "more": "另有 {count} 条",
        "before": "本消息此前已发送过，您可能已经收到。",
        "unrecorded": "未记录：Storewatch 无法写入数据库。恢复之前，监控页面不显示以上报警。",
        "info": "提示",
        "warning": "警告",
        "critical": "严重",
        "high": "过高：{value}（限值 {limit}）",
        "low": "过低：{value}（限值 {limit}）",
        "rate": "变化过快：{value}（限值 {limit}）",
        "no_data": "无数据",
        "no_answer": "无响应",
        "switch": "处于报警状态",
        "delivery": "收不到通知（发送失败 {value} 次）",
        "clock_behind": "慢约 {span}，或者传感器或数据库的时钟偏快",
        "clock_ahead": "快约 {span}，或者传感器或数据库的时钟偏慢",
        "clock": "不准",
        "days": "{count} 天",
        "hours": "{count} 小时",
        "minutes": "{count} 分钟",
        "drill": "仅为测试，未发生异常",
        "other": "{kind}：{value}（限值 {limit}）",
        "metric": "{sensor}（{metric}）",
        "whole": "整个仓库",
        "database": "传感器数据库",
        "server_clock": "Storewatch 服务器的时钟",
        "recipient": "接收人“{name}”",
    },
}

MARK = "测试报警 TEST ALARM"
"""Mark of test alarms in messages. It is in Chinese and English, so that every reader understands it."""


def _metric_words(language: str) -> dict[str, str]:
    """Return the words for metrics in this language.

    The result contains the name of each metric under the metric's key, and words for the states of switches under keys
    such as `door1`.
    """
    names = {key: getattr(metric.name_in_messages, language) for key, metric in METRICS.items()}
    switches = {
        f"{key}{value}": getattr(term, language)
        for key, metric in METRICS.items()
        for value, term in enumerate(metric.switch_words_in_messages or ())
    }
    return names | switches


WORDS: Mapping[str, Mapping[str, str]] = {
    language: phrases | _metric_words(language) for language, phrases in _PHRASES.items()
}


def words(language: str) -> Mapping[str, str]:
    """Return the texts of messages in this language, by key."""
    return WORDS[language]
