"""Storewatch's own tables. Times are in UTC."""

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
# Without `sqlite_autoincrement`, SQLite reuses the ids of deleted rows. SQLite increments only an INTEGER key.
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
    sa.Column("interval_s", sa.Float),  # seconds between readings; null: the sensor reports only changes
    sa.Column("position_x", sa.Float),  # position on the floor plan, from 0 (left) to 1 (right)
    sa.Column("position_y", sa.Float),  # from 0 (top) to 1 (bottom)
)

# The table has no unique key and no foreign key, so that no reading of a device is rejected.
reading = _table(
    "reading",
    sa.Column("reading_id", _Id, primary_key=True),
    sa.Column("sensor_id", _Id, nullable=False),
    sa.Column("time", Instant, nullable=False),
    sa.Column("value", sa.Double),  # null: the sensor reported a fault
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

# The tables below are always in the `state` database, even if the sensor database has a site's own tables.

LONGEST_KEY = 255
# JSON of an id, such as 5 or "A5". If it is too long, `common.texts.shortened` shortens it.
_Key = sa.String(LONGEST_KEY).with_variant(mysql.VARCHAR(LONGEST_KEY, collation="utf8mb4_bin"), "mysql")

# The unique key prevents duplicate steps if two processes both assume that they hold the lease.
alarm_journal = _table(
    "alarm_journal",
    sa.Column("transition_id", _Id, primary_key=True),
    sa.Column("alarm_key", _Key, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),  # number of the alarm's transition, from 1
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("written", Instant, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("alarm", sa.Text, nullable=False),  # JSON, as in answers
    sa.Index(None, "alarm_key", "step", unique=True),
    sa.Index(None, "store_house_key", "transition_id"),
)

# A lease allows one process at a time to do a job.
lease = _table(
    "lease",
    sa.Column("lease_name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("expires", Instant, nullable=False),
    sa.Column("begun", Instant, nullable=False),  # time when a process first held the lease
    sa.Column("done", Instant, nullable=False),  # time up to which the work is done
    sa.Column("term", sa.BigInteger, nullable=False, server_default="0"),  # how many times the holder has changed
)

LONGEST_SUBJECT = 512
# The subject of an alarm, as JSON: [sensor_id, metric], or store_house_id for an alarm of a whole storehouse. If it is
# too long, `common.texts.shortened` shortens it.
_Subject = sa.String(LONGEST_SUBJECT).with_variant(mysql.VARCHAR(LONGEST_SUBJECT, collation="utf8mb4_bin"), "mysql")

# The alarms that Storewatch judges. If two processes both assume that they hold the lease, the two unique keys prevent
# a duplicate episode, and a second open episode of the same subject and kind.
episode = _table(
    "episode",
    sa.Column("episode_id", _Id, primary_key=True),
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("subject_key", _Subject, nullable=False),
    sa.Column("sensor_name", sa.String(255)),  # the name when the alarm started; null: an alarm of a whole storehouse
    sa.Column("metric", sa.String(255)),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("is_open", sa.Boolean),  # true or null, because a unique key allows several nulls
    sa.Column("limits", sa.Text, nullable=False),  # JSON: the limits in force when the alarm started, the mildest first
    sa.Column("level", sa.Integer, nullable=False),  # index in `limits` of the worst limit violated so far
    sa.Column("value", sa.Double),
    sa.Column("peak", sa.Double),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("raised", Instant),
    sa.Column("cleared", Instant),
    sa.Column("transition", sa.String(16), nullable=False),  # the last transition
    sa.Column("step", sa.Integer, nullable=False),  # number of the alarm's last transition, as in the journal
    sa.Column("judged", Instant, nullable=False),  # time of the judge's last change of the episode
    sa.Column("acknowledged_by", sa.String(255)),
    sa.Column("acknowledged_at", Instant),
    sa.Column("comment", sa.Text),
    sa.Column("closed_by", sa.String(255)),
    sa.Column("reason", sa.Text),
    sa.Column("cause", _Id),  # episode_id of the larger alarm that includes this one
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("silenced", sa.Boolean, nullable=False),
    sa.Column("drill", sa.Boolean, nullable=False),
    sa.Column("ids", sa.Text),  # JSON: [store_house_id, sensor's key or null]; null: the key columns contain all ids
    sa.Index(None, "subject_key", "kind", "since", unique=True),
    sa.Index(None, "subject_key", "kind", "is_open", unique=True),
    sa.Index(None, "store_house_key", "raised"),
    sa.Index(None, "store_house_key", "cleared"),
    sa.Index(None, "is_open"),
)

_Long = sa.Text(16_777_215)

# The saved alarm rules. Until a user saves rules, the rules of the settings are in force.
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
    sa.Column("sensor_key", _Key),  # null: the whole storehouse
    sa.Column("start", Instant, nullable=False),
    sa.Column("end", Instant, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("written", Instant, nullable=False),
    sa.Column("ids", sa.Text),  # JSON: [store_house_id, sensor_id or null]; null: the key columns contain all ids
    sa.Index(None, "end"),
)

# Snapshots of the judge's states, in parts. Part 0 marks the snapshot as complete. It contains the position of the last
# reading. The key "site" has the last known state of the site instead.
judge_snapshot = _table(
    "judge_snapshot",
    sa.Column("snapshot_key", sa.String(64), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("content", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
)

# Notices of Storewatch's alarms to each target. They are written before they are sent; the unique number prevents
# duplicates.
notice = _table(
    "notice",
    sa.Column("notice_id", _Id, primary_key=True),
    sa.Column("episode_id", _Id, nullable=False),
    sa.Column("target", _Key, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # counts the notices of this alarm to this target, from 1
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("what", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("limit", sa.Double),
    sa.Column("alarm", sa.Text, nullable=False),  # JSON, as in answers
    sa.Column("since", Instant, nullable=False),  # time since which the alarm has been unacknowledged
    sa.Column("written", Instant, nullable=False),
    sa.Column("due", Instant, nullable=False),  # time of the next attempt to send the notice
    sa.Column("message_id", _Id),  # id of the first notice in the same message
    # Number of attempts to send the notice. An attempt may have arrived even if `sent` is null.
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("sent", Instant),
    sa.Index(None, "episode_id", "target", "number", unique=True),
    sa.Index(None, "sent", "due"),
    sa.Index(None, "store_house_key", "target", "sent"),
)

# Test alarms that users have requested.
drill = _table(
    "drill",
    sa.Column("drill_id", _Id, primary_key=True),
    sa.Column("sensor", sa.Text, nullable=False),  # JSON
    sa.Column("asked", Instant, nullable=False),
    sa.Column("ends", Instant, nullable=False),  # time when the test alarm clears, acknowledged or not
    sa.Column("episode_id", _Id),  # null: the judge has not judged the test reading yet
)

# Rollups of the table `reading`: the minimum, maximum, sum and count of the good readings in each bucket.
rollup = sa.Table(
    "rollup",
    metadata,
    sa.Column("bucket_s", sa.Integer, primary_key=True, autoincrement=False),  # width of the bucket, in seconds
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
    sa.Column("position_id", sa.Integer, primary_key=True, autoincrement=False),  # always 1: there is only one row
    sa.Column("reading_id", _Id, nullable=False),  # all readings up to this id are in the rollups
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

# The audit trail, a hash chain. Times are texts, so that the hash covers the stored bytes.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("entry_id", _Id, primary_key=True, autoincrement=False),  # from 1, without gaps
    sa.Column("time", sa.String(32), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("before", _Long),  # JSON, like `after`
    sa.Column("after", _Long),
    sa.Column("previous", sa.String(64), nullable=False),  # hash of the previous entry
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "action", "entry_id"),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("head_id", sa.Integer, primary_key=True, autoincrement=False),  # always 1: there is only one row
    sa.Column("entry_id", _Id, nullable=False),  # id of the last entry
    sa.Column("hash", sa.String(64), nullable=False),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)
