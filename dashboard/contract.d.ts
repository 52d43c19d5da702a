// The messages between the server and the page. Generated from the server's types by `python -m contract`: do not edit.
// Times are ISO 8601 in UTC. The page's own types are in types.d.ts.

/** An id has the JSON type of its database column. */
export type Id = number | string;

/** Severities in ascending order. A site's own alarm system may use other severities. */
export type Severity = "info" | "warning" | "critical";

/** The quality of a reading. */
export type Quality = "good" | "stale" | "bad";

/** The state of a storehouse in the overview. */
export type StorehouseState = Severity | "stale" | "good" | "empty";

/** Roles in ascending order. Each role includes the permissions of the roles before it. */
export type Role = "watch" | "operate" | "configure";

/** The name of a set of predefined limits. */
export type Profile = "frozen" | "chilled" | "pharma_2_8" | "pharma_15_25" | "general";

/** A bucket: its start, and the minimum, maximum, mean and count of its good readings. */
export type Point = [string, number, number, number, number];

/** An owner of storehouses. */
export interface Organisation {
  org_id: Id;
  org_name: string;
}

/** Return the storehouses of an organisation. */
export interface Storehouses {
  org_id: Id;
}

/** A place with sensors. `time_zone` is the IANA name of its time zone, such as Asia/Shanghai. */
export interface Storehouse {
  store_house_id: Id;
  store_house_name: string;
  org_id: Id;
  time_zone: string;
}

/**
 * Watch a storehouse: receive its readings and alarms. Stop watching the previous storehouse.
 *
 * After a reconnect, a client sends its last `cursor` to receive the alarm transitions (changes of alarm states) that
 * it missed. The client must take this cursor from the answer to `register` or from an `alarms` event, and not from an
 * `envs` event. A pushed `envs` event can overtake an `alarms` event. The cursor of the `envs` event is then
 * the id of a transition that the client has not received yet.
 */
export interface Register {
  store_house_id: Id;
  cursor?: number | null;
}

/**
 * The newest reading of each sensor of a storehouse, at `time`. `stale` is true while the database does not answer.
 *
 * `unrecorded` is true while the server cannot record alarms.
 *
 * `cursor` is the id of the last alarm transition (change of an alarm's state). `reset` is true if the server cannot
 * send the transitions that the client missed. There are two possible reasons: the server does not know the cursor
 * that the client sent, or the client missed more than 10,000 transitions. Otherwise `reset` is absent.
 */
export interface Envs {
  store_house_id: Id;
  cursor: number;
  time: string;
  stale: boolean;
  unrecorded: boolean;
  envs: Env[];
  reset?: boolean;
}

/**
 * A sensor's newest reading.
 *
 * `value` is null if the reading is a fault, such as a value that is not a number or that no sensor can measure.
 * `value` and `time` are null if the sensor has no reading. `quality` is bad if the reading is a fault or does not
 * exist. It is stale if the reading is older than three times the sensor's interval between readings. Otherwise it is
 * good.
 */
export interface Env {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string;
  value: number | null;
  time: string | null;
  quality: Quality;
}

/**
 * Return the alarms of a storehouse that were open at `data_minute` or were raised later.
 *
 * `data_minute` is a number of minutes before now, or "YYYY-MM-DD HH:MM" in the storehouse's time zone.
 */
export interface QueryAlarms {
  store_house_id: Id;
  data_minute: number | string;
}

/**
 * An alarm. `cleared` is null while the alarm is open.
 *
 * Alarms that Storewatch raises have all fields. Alarms of a site's own system have only the fields up to `cleared`.
 * While an alarm is pending (waiting until its delay has passed), `raised` has the value of `since`.
 */
export interface Alarm {
  alarm_id: Id;
  store_house_id: Id;
  sensor_id: Id | null;
  sensor_name: string | null;
  metric: string | null;
  kind: string;
  severity: string;
  state: string;
  acknowledged: boolean;
  value: number | null;
  limit: number | null;
  raised: string;
  cleared: string | null;
  transition?: string;
  since?: string;
  peak?: number | null;
  limits?: Limit[];
  acknowledged_by?: string;
  acknowledged_at?: string;
  comment?: string;
  closed_by?: string;
  reason?: string;
  cause?: string;
  late?: boolean;
  silenced?: boolean;
  drill?: boolean;
}

/**
 * A limit in force for a sensor, with its delays and hysteresis.
 *
 * Every alarm episode stores a copy of its limits.
 */
export interface Limit {
  limit: number;
  severity: Severity;
  delay?: number;
  clear_delay?: number;
  hysteresis?: number;
  reopen?: number;
  within?: number;
}

/**
 * Acknowledge an alarm. The alarm stays open.
 *
 * `by` is the name of the person who acknowledges it. The name is required while access is open (no login is
 * required).
 */
export interface AckAlarm {
  alarm_id: Id;
  comment?: string | null;
  by?: string | null;
}

/** Close an alarm by hand. `reason` explains why, for example because the sensor was removed. */
export interface CloseAlarm {
  alarm_id: Id;
  reason: string;
  by?: string | null;
}

/**
 * Return the sensors of a storehouse with their positions and limits.
 *
 * With `since`, also return the earlier limits that were in force at or after the time `since`.
 */
export interface QuerySensors {
  store_house_id: Id;
  since?: string | null;
}

/**
 * A sensor with its limits.
 *
 * `interval_s` is the number of seconds between readings. It is null if the sensor reports only changes. `position`
 * contains x (from the left) and y (from the top) on the floor plan, each from 0 to 1. `past_limits` is present only
 * if the request contains `since`. It lists the limits that were in force from `since` until the last change of the
 * rules.
 */
export interface SensorAnswer {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string;
  interval_s: number | null;
  position: [number, number] | null;
  limits: ChartLimits;
  past_limits?: FormerChartLimits[];
}

/** The limits of a sensor that a chart shows. A limit that is not set is null. */
export interface ChartLimits {
  high: number | null;
  high_high: number | null;
  low: number | null;
  low_low: number | null;
}

/** The limits of a sensor that were in force from `start` to `end`. */
export interface FormerChartLimits {
  high: number | null;
  high_high: number | null;
  low: number | null;
  low_low: number | null;
  start: string;
  end: string;
}

/** Return all alarm rules, or only the rules that may apply to one storehouse. */
export interface QueryRules {
  store_house_id?: Id | null;
}

/**
 * The alarm rules in force, with default limits, profiles, recent changes of the rules, and maintenance.
 *
 * `rules` contains the rules as users wrote them. `defaults` contains, for each metric, the limits that apply if no
 * rule sets other limits. `maintenance` contains time spans in which alarms are muted. `revision` increases each time
 * the rules are saved.
 */
export interface Rules {
  rules: Rule[];
  defaults: Record<string, Record<string, unknown>>;
  profiles: Record<string, Record<string, unknown>>;
  changes: RuleChange[];
  maintenance: Maintenance[];
  revision: number;
}

/**
 * An alarm rule for the sensors in a scope.
 *
 * The rule may use a profile of predefined limits. The limits of the rule itself override the limits of the profile.
 */
export interface Rule {
  scope?: Scope;
  profile?: Profile | null;
  high?: Bound | number | string | null;
  high_high?: Bound | number | string | null;
  low?: Bound | number | string | null;
  low_low?: Bound | number | string | null;
  rate?: Bound | number | string | null;
  switch?: Bound | number | string | null;
  no_data?: Bound | number | string | null;
}

/**
 * The sensors to which a rule applies. A sensor must match every field that is set.
 *
 * A scope without any field matches all sensors.
 */
export interface Scope {
  store_house_id?: number | string | null;
  sensor_id?: number | string | null;
  sensor_name?: string | null;
  metric?: string | null;
}

/** A limit with its delays and hysteresis, in the format in which users write it in a rule. */
export interface Bound {
  limit?: number | string | null;
  severity?: Severity | null;
  delay?: number | string;
  clear_delay?: number | string;
  hysteresis?: number;
  reopen?: number | string;
  within?: number | string;
}

/** A change of the alarm rules: when it was made and by which user, and all rules before and after the change. */
export interface RuleChange {
  written: string;
  by: string;
  before: Rule[];
  after: Rule[];
}

/** A time span in which the alarms of a sensor, or of a whole storehouse, are muted. */
export interface Maintenance {
  maintenance_id: number;
  store_house_id: Id;
  sensor_id: Id | null;
  start: string;
  end: string;
  reason: string;
  by: string;
}

/**
 * Replace all alarm rules that the user may edit.
 *
 * If `revision` is given and the rules have been saved since that revision, the server refuses the event.
 */
export interface SaveRules {
  rules: Rule[];
  revision?: number | null;
  by?: string | null;
}

/**
 * Mute the alarms of a storehouse, or of one of its sensors, from `start` to `end`.
 *
 * If `maintenance_id` is given, replace the maintenance that has this id, for example to end it early.
 */
export interface SaveMaintenance {
  store_house_id: Id;
  start: string;
  end: string;
  reason: string;
  sensor_id?: Id | null;
  maintenance_id?: number | null;
  by?: string | null;
}

/**
 * Return the alarms that rules would have raised in a storehouse from `start` to `end`.
 *
 * The answer contains two results. One shows the alarms that would have been raised if `rules` had replaced all rules
 * in force. The other shows the alarms that the rules in force would have raised.
 */
export interface PreviewAlarms {
  store_house_id: Id;
  rules: Rule[];
  start: string;
  end: string;
}

/**
 * The alarms that alarm rules would have raised in a storehouse from `start` to `end`.
 *
 * The time `end` is not included. `sensors` compares the alarms of the proposed rules with those of the rules in
 * force. `rules` contains one element for each proposed rule, in the order of the request: the number of alarms that
 * this rule would have raised, and their total duration.
 */
export interface Preview {
  store_house_id: Id;
  start: string;
  end: string;
  rules: AlarmTotals[];
  sensors: PreviewedKind[];
}

/** The number of alarms that a rule would have raised, and their total duration in seconds. */
export interface AlarmTotals {
  count: number;
  duration_s: number;
}

/**
 * The alarms of one kind that alarm rules would have raised at one sensor.
 *
 * `proposed` contains the alarms that the proposed rules would have raised. `in_force` contains the alarms that the
 * rules in force would have raised.
 */
export interface PreviewedKind {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string;
  kind: string;
  proposed: AlarmSummary;
  in_force: AlarmSummary;
}

/**
 * Previewed alarms of one kind at one sensor: their number, durations in seconds, and the first 100 alarms.
 *
 * `duration_s` is the total duration of all alarms. `longest_s` is the duration of the longest alarm.
 */
export interface AlarmSummary {
  count: number;
  duration_s: number;
  longest_s: number;
  alarms: PreviewedAlarm[];
}

/**
 * An alarm that alarm rules would have raised in the time span of a preview.
 *
 * `cleared` is null if the alarm is still open at the end of this time span.
 */
export interface PreviewedAlarm {
  severity: Severity;
  raised: string;
  cleared: string | null;
  peak: number | null;
  limit: number;
}

/**
 * Return the history of one sensor of a storehouse, or of all its sensors by default.
 *
 * The history of each sensor consists of at most `points` buckets (time spans).
 */
export interface QueryEnvs {
  store_house_id: Id;
  start: string;
  end: string;
  sensor_id?: Id | null;
  points?: number;
}

/**
 * The history of a storehouse's sensors, in buckets (time spans) of `bucket_s` seconds.
 *
 * The first and the last bucket are complete: they also contain readings shortly before `start` and shortly after
 * `end`.
 */
export interface History {
  store_house_id: Id;
  start: string;
  end: string;
  bucket_s: number;
  sensors: Curve[];
}

/** The history of a sensor: a point for each bucket (time span). Buckets without a good reading are left out. */
export interface Curve {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string;
  points: Point[];
}

/**
 * The state of organisations and their storehouses at `time`.
 *
 * An organisation contains all its storehouses that the user may see. `stale` is true while the database does not
 * answer. `unrecorded` is true while the server cannot record alarms.
 */
export interface Overview {
  time: string;
  stale: boolean;
  unrecorded: boolean;
  organisations: OverviewOrganisation[];
}

/** An organisation, and a summary of each of its storehouses that the user may see. */
export interface OverviewOrganisation {
  org_id: Id;
  org_name: string;
  storehouses: OverviewStorehouse[];
}

/**
 * The summary of a storehouse in the overview.
 *
 * `state` is the first of these words that applies: critical, warning or info (an alarm with this severity is open),
 * stale (a sensor has no recent data or is faulty), empty (there are no sensors), good (all sensors are good).
 *
 * `envs` contains the newest reading of one sensor for each metric, for at most four metrics. For each metric, the
 * candidates are the good readings of sensors with an open alarm. If there are none, all good readings of the metric
 * are candidates. The server chooses the candidate whose value is furthest from the median of the metric's good
 * readings. If the metric has no good reading, the server chooses the newest reading of the metric.
 *
 * `spark` contains 24 hourly means from the first temperature sensor, or from the first sensor if no sensor measures
 * temperature. The mean of an hour without readings is null.
 */
export interface OverviewStorehouse {
  store_house_id: Id;
  store_house_name: string;
  time_zone: string;
  state: StorehouseState;
  envs: Env[];
  alarms: OpenAlarms;
  spark: (number | null)[];
}

/**
 * The number and the worst severity of a storehouse's open alarms. Pending alarms are not counted.
 *
 * `unacknowledged` is the number of open alarms that no user has acknowledged. `worst` is null if no alarm is open.
 */
export interface OpenAlarms {
  open: number;
  unacknowledged: number;
  worst: string | null;
}

/**
 * The user of this connection.
 *
 * `name` is empty while access is open (no login is required). `expires` is null if the user's access never expires.
 */
export interface Who {
  name: string;
  role: Role;
  expires: string | null;
}

/**
 * Transitions (changes of alarm states) in a storehouse.
 *
 * `alarms` contains one element for each transition, in order: the alarm as it was after the transition. `cursor` is
 * the id of the last transition.
 */
export interface Alarms {
  store_house_id: Id;
  cursor: number;
  alarms: Alarm[];
}

/**
 * The payload of the event `ask_error`: why the server refused an event.
 *
 * The server sends it to clients that request no acknowledgement.
 */
export interface AskError {
  event: string;
  code: string;
  message: string;
  field?: string | null;
  params?: Record<string, number | string>;
}

/** The payload of the event `ended`: the reason why the server closes the connection. */
export interface Ended {
  code: string;
  message: string;
}

/**
 * The payload of the event `ask_waiting`: a long question of the client waits for its turn.
 *
 * `event` is the name of the question. At position 1, the question is the next to start.
 */
export interface AskWaiting {
  event: string;
  position: number;
}

/** The reason why the server refused an event. `field` is the key of the invalid value in the payload, if any. */
export interface Refusal {
  code: string;
  message: string;
  field?: string | null;
  params?: Record<string, number | string>;
}

/** The server's acknowledgement of a question. */
export type Acknowledgement<Answer> = { ok: true; data: Answer } | { ok: false; error: Refusal };

/** The questions that the page asks, by event. */
export interface Events {
  orgs: { question: unknown; answer: Organisation[] };
  org: { question: unknown; answer: Organisation[] };
  /** Return the storehouses of an organisation. */
  storehouses: { question: Storehouses | Id; answer: Storehouse[] };
  /** Return the storehouses of an organisation. */
  storehouse: { question: Storehouses | Id; answer: Storehouse[] };
  /** Watch a storehouse: receive its readings and alarms. Stop watching the previous storehouse. */
  register: { question: Register; answer: Envs };
  unregister: { question: unknown; answer: null };
  /** Return the alarms of a storehouse that were open at `data_minute` or were raised later. */
  queryAlarms: { question: QueryAlarms; answer: Alarm[] };
  /**
   * Acknowledge an alarm. The alarm stays open.
   * Needs the role operate.
   */
  ackAlarm: { question: AckAlarm; answer: Alarm };
  /**
   * Close an alarm by hand. `reason` explains why, for example because the sensor was removed.
   * Needs the role operate.
   */
  closeAlarm: { question: CloseAlarm; answer: Alarm };
  /** Return the sensors of a storehouse with their positions and limits. */
  querySensors: { question: QuerySensors | Id; answer: SensorAnswer[] };
  /** Return all alarm rules, or only the rules that may apply to one storehouse. */
  queryRules: { question: QueryRules; answer: Rules };
  /**
   * Replace all alarm rules that the user may edit.
   * Needs the role configure.
   */
  saveRules: { question: SaveRules; answer: Rules };
  /**
   * Mute the alarms of a storehouse, or of one of its sensors, from `start` to `end`.
   * Needs the role operate.
   */
  saveMaintenance: { question: SaveMaintenance; answer: Maintenance };
  /**
   * Return the alarms that rules would have raised in a storehouse from `start` to `end`.
   * Needs the role configure.
   */
  previewAlarms: { question: PreviewAlarms; answer: Preview };
  /** Return the history of one sensor of a storehouse, or of all its sensors by default. */
  queryEnvs: { question: QueryEnvs; answer: History };
  overview: { question: unknown; answer: Overview };
  leaveOverview: { question: unknown; answer: null };
  whoami: { question: unknown; answer: Who };
  alive: { question: unknown; answer: null };
}

/** The pushes that the server sends, by event. */
export interface Pushes {
  /** The state of the watched storehouse. Sent after `register`, a new reading or a change of quality. */
  envs: Envs;
  /** All alarm transitions of the watched storehouse, in order. */
  alarms: Alarms;
  /** Sent to clients that watch the overview: the changed organisations, each complete. */
  overview: Overview;
  /** Sent to a user when the user's role or visibility has changed. */
  whoami: Who;
  /** A question was refused. */
  ask_error: AskError;
  /** The server is about to close the connection. `code` is the reason. */
  ended: Ended;
  /** A `queryEnvs` or `previewAlarms` waits, because other long questions are running. */
  ask_waiting: AskWaiting;
}
