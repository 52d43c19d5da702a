"""The tables that are ours, in a database that is ours. Times are UTC."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from db.types import Instant

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_autoincrement": True}
# SQLite gives out the ids of deleted rows again unless told otherwise, and only its INTEGER counts by itself.
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _table(name: str, *items: sa.Column[Any] | sa.Index) -> sa.Table:
    return sa.Table(name, metadata, *items, **_OPTIONS)


organisation = _table(
    "organisation",
    sa.Column("org_id", _Id, primary_key=True),
    sa.Column("org_name", sa.String(255), nullable=False),
)

storehouse = _table(
    "storehouse",
    sa.Column("store_house_id", _Id, primary_key=True),
    sa.Column("store_house_name", sa.String(255), nullable=False),
    sa.Column("org_id", sa.ForeignKey("organisation.org_id"), nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False),  # IANA name
)

sensor = _table(
    "sensor",
    sa.Column("sensor_id", _Id, primary_key=True),
    sa.Column("store_house_id", sa.ForeignKey("storehouse.store_house_id"), nullable=False),
    sa.Column("sensor_name", sa.String(255), nullable=False),
    sa.Column("metric", sa.String(32), nullable=False),
    sa.Column("unit", sa.String(16)),
    sa.Column("interval_s", sa.Float),  # seconds between readings; none: it reports changes only
    sa.Column("position_x", sa.Float),  # on the floor plan, 0 (left) to 1
    sa.Column("position_y", sa.Float),  # 0 (top) to 1
)

# No unique key and no foreign key here: whatever a device writes is kept.
reading = _table(
    "reading",
    sa.Column("reading_id", _Id, primary_key=True),
    sa.Column("sensor_id", _Id, nullable=False),
    sa.Column("time", Instant, nullable=False),
    sa.Column("value", sa.Double),  # none: the sensor reported a fault
    sa.Index(None, "sensor_id", "time"),
)

alarm = _table(
    "alarm",
    sa.Column("alarm_id", _Id, primary_key=True),
    sa.Column("store_house_id", sa.ForeignKey("storehouse.store_house_id"), nullable=False),
    sa.Column("sensor_id", sa.ForeignKey("sensor.sensor_id")),
    sa.Column("metric", sa.String(32)),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("acknowledged", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("value", sa.Double),
    sa.Column("limit", sa.Double),
    sa.Column("raised", Instant, nullable=False),
    sa.Column("cleared", Instant),
    sa.Index(None, "store_house_id", "raised"),
    sa.Index(None, "store_house_id", "cleared"),
)

# The tables below are ours in any case, and in the `state` database.

_Key = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")  # JSON of an id: 5 or "A5"

# The unique key keeps two processes that both believe to have the lease from writing the same step of an alarm twice.
alarm_journal = _table(
    "alarm_journal",
    sa.Column("transition_id", _Id, primary_key=True),
    sa.Column("alarm_key", _Key, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),  # of this alarm, from 1
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("written", Instant, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("alarm", sa.Text, nullable=False),  # JSON, as browsers get it
    sa.Index(None, "alarm_key", "step", unique=True),
    sa.Index(None, "store_house_key", "transition_id"),
)

# Which process may do the work that only one process may do at a time.
lease = _table(
    "lease",
    sa.Column("lease_name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("expires", Instant, nullable=False),
    sa.Column("begun", Instant, nullable=False),  # when it was first held
    sa.Column("done", Instant, nullable=False),  # up to when the work is done
    sa.Column("term", sa.BigInteger, nullable=False, server_default="0"),  # counts the changes of holder
)

# The subject of an alarm, as JSON: [sensor_id, metric], or the store_house_id of a whole storehouse.
_Subject = sa.String(512).with_variant(mysql.VARCHAR(512, collation="utf8mb4_bin"), "mysql")

# The alarms that we judge ourselves. The two unique keys keep two processes that both believe to have the lease from
# writing an episode twice, and from having two open for the same sensor and kind.
episode = _table(
    "episode",
    sa.Column("episode_id", _Id, primary_key=True),
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("subject_key", _Subject, nullable=False),
    sa.Column("sensor_name", sa.String(255)),  # as it was then; none: of the whole storehouse
    sa.Column("metric", sa.String(255)),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("is_open", sa.Boolean),  # true, or none: a unique key takes two of these for different
    sa.Column("limits", sa.Text, nullable=False),  # JSON: those in force when it began, the mildest first
    sa.Column("level", sa.Integer, nullable=False),  # which of them is broken; the worst so far
    sa.Column("value", sa.Double),
    sa.Column("peak", sa.Double),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("raised", Instant),
    sa.Column("cleared", Instant),
    sa.Column("transition", sa.String(16), nullable=False),  # the last one
    sa.Column("step", sa.Integer, nullable=False),  # its number in the journal
    sa.Column("judged", Instant, nullable=False),  # the judge's time of its last change to it
    sa.Column("acknowledged_by", sa.String(255)),
    sa.Column("acknowledged_at", Instant),
    sa.Column("comment", sa.Text),
    sa.Column("closed_by", sa.String(255)),
    sa.Column("reason", sa.Text),
    sa.Column("cause", _Id),  # the episode_id of the alarm that this one is only a part of
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("silenced", sa.Boolean, nullable=False),
    sa.Column("drill", sa.Boolean, nullable=False),
    sa.Index(None, "subject_key", "kind", "since", unique=True),
    sa.Index(None, "subject_key", "kind", "is_open", unique=True),
    sa.Index(None, "store_house_key", "raised"),
    sa.Index(None, "store_house_key", "cleared"),
    sa.Index(None, "is_open"),
)

_Long = sa.Text(16_777_215)

# The rules that people saved; until somebody saves some, those of the settings are in force.
rule = _table(
    "rule",
    sa.Column("rule_id", _Id, primary_key=True),
    sa.Column("rule", sa.Text, nullable=False),  # JSON
)

rule_change = _table(
    "rule_change",
    sa.Column("change_id", _Id, primary_key=True),
    sa.Column("written", Instant, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("before", _Long, nullable=False),  # JSON: all rules
    sa.Column("after", _Long, nullable=False),
)

maintenance = _table(
    "maintenance",
    sa.Column("maintenance_id", _Id, primary_key=True),
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("sensor_key", _Key),  # none: the whole storehouse
    sa.Column("start", Instant, nullable=False),
    sa.Column("end", Instant, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("written", Instant, nullable=False),
    sa.Index(None, "end"),
)

# Snapshots of the judge's state, in parts; part 0 says that all are there, and up to which reading.
judge_snapshot = _table(
    "judge_snapshot",
    sa.Column("snapshot_key", sa.String(64), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("content", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
)

# Notices of our alarms to each target: written before they are sent, numbered so that none is written twice.
notice = _table(
    "notice",
    sa.Column("notice_id", _Id, primary_key=True),
    sa.Column("episode_id", _Id, nullable=False),
    sa.Column("target", _Key, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # of this alarm for this target, from 1
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("what", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("limit", sa.Double),
    sa.Column("alarm", sa.Text, nullable=False),  # JSON, as browsers get it
    sa.Column("since", Instant, nullable=False),  # from when on nobody has acknowledged it
    sa.Column("written", Instant, nullable=False),
    sa.Column("due", Instant, nullable=False),  # when it is to be sent, or tried again
    sa.Column("message_id", _Id),  # those of one message bear the id of its first
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # begun ones; without `sent`, who knows
    sa.Column("sent", Instant),
    sa.Index(None, "episode_id", "target", "number", unique=True),
    sa.Index(None, "sent", "due"),
    sa.Index(None, "store_house_key", "target", "sent"),
)

# Test alarms that somebody has requested.
drill = _table(
    "drill",
    sa.Column("drill_id", _Id, primary_key=True),
    sa.Column("sensor", sa.Text, nullable=False),  # JSON
    sa.Column("asked", Instant, nullable=False),
    sa.Column("ends", Instant, nullable=False),  # when it clears, acknowledged or not
    sa.Column("episode_id", _Id),  # none: not judged yet
)

# Rollups of our own readings: the lowest, the highest, the sum and the number of good ones in each bucket of time.
rollup = sa.Table(
    "rollup",
    metadata,
    sa.Column("bucket_s", sa.Integer, primary_key=True, autoincrement=False),  # how wide it is, in seconds
    sa.Column("sensor_id", _Id, primary_key=True, autoincrement=False),
    sa.Column("start", _Id, primary_key=True, autoincrement=False),  # seconds since 1970
    sa.Column("min", sa.Double, nullable=False),
    sa.Column("max", sa.Double, nullable=False),
    sa.Column("sum", sa.Double, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

rollup_position = sa.Table(
    "rollup_position",
    metadata,
    sa.Column("position_id", sa.Integer, primary_key=True, autoincrement=False),  # 1: there is but one
    sa.Column("reading_id", _Id, nullable=False),  # every reading up to this one is in the rollups
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

# The audit trail, a chain of hashes. Times are texts, so that the hashed bytes are those in the table.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("entry_id", _Id, primary_key=True, autoincrement=False),  # from 1, without a hole
    sa.Column("time", sa.String(32), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("before", _Long),  # JSON, as is `after`
    sa.Column("after", _Long),
    sa.Column("previous", sa.String(64), nullable=False),  # the hash of the entry before
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "action", "entry_id"),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("head_id", sa.Integer, primary_key=True, autoincrement=False),  # 1: there is but one
    sa.Column("entry_id", _Id, nullable=False),  # the last entry
    sa.Column("hash", sa.String(64), nullable=False),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)
