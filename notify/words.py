"""The words of the messages, a catalogue for each language; those of metrics are from `common/metric_registry.py`."""

from collections.abc import Mapping

from common.metric_registry import METRICS

LANGUAGES = ("zh", "en")

_PHRASES: dict[str, dict[str, str]] = {
    "en": {
        # the subject
        "single": "[{head}] {storehouse}: {alarm}",
        "several": "[{head}] {storehouse}: {count} alarms",
        "over": "cleared",
        "again": "{subject} (repeat)",
        # the text
        "header": "{storehouse} (times: {zone})",
        "raised": "Alarm: {where}: {alarm}, since {since}. {severity}.",
        "worsened": "Worse: {where}: {alarm}, since {since}. {severity}.",
        "reminded": "Not acknowledged: {where}: {alarm}, since {since}. {severity}.",
        "escalated": "Escalated, not acknowledged: {where}: {alarm}, since {since}. {severity}.",
        "cleared": "Back to normal: {where}: {alarm}, {since} to {cleared}. {severity}.",
        "closed": "Closed by {by} ({reason}): {where}: {alarm}, {since} to {cleared}. {severity}.",
        "withdrawn": "Withdrawn, readings that came late show that it was none: {where}: {alarm}, since {since}.",
        "more": "and {count} more",
        "before": "This was sent before; it may have reached you already.",
        # severities
        "info": "Info",
        "warning": "Warning",
        "critical": "Critical",
        # kinds
        "high": "too high: {value}, limit {limit}",
        "low": "too low: {value}, limit {limit}",
        "rate": "changing too fast: {value}, limit {limit}",
        "no_data": "no data",
        "switch": "in its alarming state",
        "delivery": "notices do not arrive there, after {value} attempts; they are tried again",
        "drill": "test alarm, nothing has happened",
        "other": "{kind}: {value}, limit {limit}",
        "metric": "{sensor} ({metric})",
        "whole": "the whole storehouse",
    },
    "zh": {
        "single": "【{head}】{storehouse}：{alarm}",
        "several": "【{head}】{storehouse}：{count} 条报警",
        "over": "已解除",
        "again": "{subject}（重复）",
        "header": "{storehouse}（时区：{zone}）",
        "raised": "报警：{where}：{alarm}，自 {since}。{severity}。",
        "worsened": "加重：{where}：{alarm}，自 {since}。{severity}。",
        "reminded": "未确认：{where}：{alarm}，自 {since}。{severity}。",
        "escalated": "无人确认，已升级：{where}：{alarm}，自 {since}。{severity}。",
        "cleared": "已恢复：{where}：{alarm}，{since} 至 {cleared}。{severity}。",
        "closed": "已由 {by} 关闭（{reason}）：{where}：{alarm}，{since} 至 {cleared}。{severity}。",
        "withdrawn": "已撤销，迟到的数据表明并未发生：{where}：{alarm}，自 {since}。",
        "more": "另有 {count} 条",
        "before": "此消息曾发送过，您可能已经收到。",
        "info": "提示",
        "warning": "警告",
        "critical": "严重",
        "high": "过高：{value}，限值 {limit}",
        "low": "过低：{value}，限值 {limit}",
        "rate": "变化过快：{value}，限值 {limit}",
        "no_data": "无数据",
        "switch": "处于报警状态",
        "delivery": "通知未能送达，已尝试 {value} 次，仍在重试",
        "drill": "测试报警，并未发生异常",
        "other": "{kind}：{value}，限值 {limit}",
        "metric": "{sensor}（{metric}）",
        "whole": "整个仓库",
    },
}

MARK = "演练 DRILL"
"""Marks a test alarm in both languages: its reader must not need to know which."""


def _metric_words(language: str) -> dict[str, str]:
    """Return the name of each metric, and under keys such as `door1` the words of switches."""
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
    """Return the catalogue of a language."""
    return WORDS[language]
