// The messages between the server and the page. Generated from the server's types by `python -m contract`: do not edit.
// Times are ISO 8601 in UTC. Types of the page's own are in types.d.ts.

/** An id keeps the JSON type that its column has. */
export type Id = number | string;

/** From the mildest to the worst; the alarms of a site's own system may have other words. */
export type Severity = "info" | "warning" | "critical";

/** Of a reading. */
export type Quality = "good" | "stale" | "bad";

/** Of a storehouse in the overview. */
export type StorehouseState = Severity | "stale" | "good" | "empty";

/** Each may do what those before it may. */
export type Role = "watch" | "operate" | "configure";

/** Ready limits, by name. */
export type Profile = "frozen" | "chilled" | "pharma_2_8" | "pharma_15_25" | "general";

/** A bucket of time: its start; of its good readings the lowest, highest, mean, and the number. */
export type Point = [string, number, number, number, number];

/** An owner of storehouses. */
export interface Organisation {
  org_id: Id;
  org_name: string;
}

/** The storehouses of an organisation. */
export interface Storehouses {
  org_id: Id;
}

/** A place with sensors; `time_zone` is an IANA name. */
export interface Storehouse {
  store_house_id: Id;
  store_house_name: string;
  org_id: Id;
  time_zone: string;
}

/**
 * Watch a storehouse, instead of the one watched before.
 *
 * `cursor` is the last one seen, for a browser that comes back after a lost connection.
 */
export interface Register {
  store_house_id: Id;
  cursor?: number | null;
}

/**
 * A storehouse as it stands at `time`; `stale`: the server has lost its database.
 *
 * `cursor` is the id of the last alarm transition. `reset` stands there, true, when the cursor that the browser
 * brought along is not known: what it missed cannot be told.
 */
export interface Envs {
  store_house_id: Id;
  cursor: number;
  time: string;
  stale: boolean;
  envs: Env[];
  reset?: boolean;
}

/**
 * A sensor's newest reading.
 *
 * `value` and `time` are null where there is none. `quality`: good, stale (older than three of the sensor's
 * intervals) or bad (a fault, not a number, no reading at all).
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
 * The alarms of a storehouse that were open, or raised, since `data_minute`.
 *
 * Minutes back from now, or "YYYY-MM-DD HH:MM" in the storehouse's zone.
 */
export interface QueryAlarms {
  store_house_id: Id;
  data_minute: number | string;
}

/**
 * An alarm; `cleared` is null while it is open.
 *
 * What comes after `cleared` stands there for the alarms that Storewatch judges, not for those of a site's own system.
 * `raised` of one that is pending is the time of its first reading out of limits.
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

/** One limit in force, with its delays and hysteresis; each episode has a copy. */
export interface Limit {
  limit: number;
  severity: Severity;
  delay?: number;
  clear_delay?: number;
  hysteresis?: number;
  reopen?: number;
  within?: number;
}

/** Somebody, `by` name, has seen an alarm; that does not clear it. */
export interface AckAlarm {
  alarm_id: Id;
  comment?: string | null;
  by?: string | null;
}

/** Clear an alarm by hand, for a `reason` such as a sensor that is faulty or was removed. */
export interface CloseAlarm {
  alarm_id: Id;
  reason: string;
  by?: string | null;
}

/** The sensors of a storehouse, with their places and limits; the limits that were, too, back to `since`. */
export interface QuerySensors {
  store_house_id: Id;
  since?: string | null;
}

/**
 * A sensor. `interval_s`: null where it reports changes only. `position`: on the floor plan, 0 to 1 each.
 *
 * `past_limits` stands there for who has asked since when: those before the last change of the rules.
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

/** The limits in force, as a chart has them; null where there is none. */
export interface ChartLimits {
  high: number | null;
  high_high: number | null;
  low: number | null;
  low_low: number | null;
}

/** The limits that were in force from `start` to `end`. */
export interface FormerChartLimits {
  high: number | null;
  high_high: number | null;
  low: number | null;
  low_low: number | null;
  start: string;
  end: string;
}

/** The rules of our alarms, or those that may hold in one storehouse. */
export interface QueryRules {
  store_house_id?: Id | null;
}

/**
 * The rules in force, as people wrote them; what counts where none says otherwise; and the newest changes.
 *
 * `revision` grows with each change.
 */
export interface Rules {
  rules: Rule[];
  defaults: Record<string, Record<string, unknown>>;
  profiles: Record<string, Record<string, unknown>>;
  changes: RuleChange[];
  maintenance: Maintenance[];
  revision: number;
}

/** What applies to the sensors of a scope: a profile, and bounds that override it. */
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

/** The sensors to which a rule applies: those that match all of its fields. Without any field: the whole site. */
export interface Scope {
  store_house_id?: number | string | null;
  sensor_id?: number | string | null;
  sensor_name?: string | null;
  metric?: string | null;
}

/** One limit and its terms, as people write them. */
export interface Bound {
  limit?: number | string | null;
  severity?: Severity | null;
  delay?: number | string;
  clear_delay?: number | string;
  hysteresis?: number;
  reopen?: number | string;
  within?: number | string;
}

/** A change of the rules: who made it, when, and all rules before and after. */
export interface RuleChange {
  written: string;
  by: string;
  before: Rule[];
  after: Rule[];
}

/** A time in which nobody is to be disturbed by a sensor, or by a whole storehouse. */
export interface Maintenance {
  maintenance_id: number;
  store_house_id: Id;
  sensor_id: Id | null;
  start: string;
  end: string;
  reason: string;
  by: string;
}

/** Let these rules hold from now on, instead of all that there are; only if those are still of that `revision`. */
export interface SaveRules {
  rules: Rule[];
  revision?: number | null;
  by?: string | null;
}

/**
 * From `start` to `end` nobody is to be disturbed by a storehouse, or by one of its sensors.
 *
 * With `maintenance_id` this holds instead of that one, which may so be ended early.
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

/** Which alarms these rules would have raised in a storehouse from `start` to `end`, had they been all there are. */
export interface PreviewAlarms {
  store_house_id: Id;
  rules: Rule[];
  start: string;
  end: string;
}

/** Which alarms would have been raised from `start` on and before `end`; `rules`: by each of those proposed. */
export interface Preview {
  store_house_id: Id;
  start: string;
  end: string;
  rules: AlarmTotals[];
  sensors: PreviewedKind[];
}

/** How many alarms, and for how many seconds in all. */
export interface AlarmTotals {
  count: number;
  duration_s: number;
}

/** The alarms of a kind at a sensor: those of the proposed rules, and those of the rules in force. */
export interface PreviewedKind {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string;
  kind: string;
  proposed: AlarmSummary;
  in_force: AlarmSummary;
}

/** How many alarms, for how many seconds in all, the longest, and the first 100 of them. */
export interface AlarmSummary {
  count: number;
  duration_s: number;
  longest_s: number;
  alarms: PreviewedAlarm[];
}

/** An alarm as rules would have raised it; `cleared` is null where it is not over at the end of the span. */
export interface PreviewedAlarm {
  severity: Severity;
  raised: string;
  cleared: string | null;
  peak: number | null;
  limit: number;
}

/** The history of a storehouse's sensors, or of one of them, in at most `points` buckets of time each. */
export interface QueryEnvs {
  store_house_id: Id;
  start: string;
  end: string;
  sensor_id?: Id | null;
  points?: number;
}

/** The curves of a storehouse, in buckets of `bucket_s` seconds: those that `start` and `end` lie in are whole. */
export interface History {
  store_house_id: Id;
  start: string;
  end: string;
  bucket_s: number;
  sensors: Curve[];
}

/** A sensor's history; buckets without a good reading are left out. */
export interface Curve {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string;
  points: Point[];
}

/** Organisations as they stand at `time`, each of them whole; `stale`: the server has lost its database. */
export interface Overview {
  time: string;
  stale: boolean;
  organisations: OverviewOrganisation[];
}

/** The summaries of an organisation's storehouses. */
export interface OverviewOrganisation {
  org_id: Id;
  org_name: string;
  storehouses: OverviewStorehouse[];
}

/**
 * The summary of a storehouse, for the overview.
 *
 * `state`, the worst first: critical, warning, info (an alarm is open), stale (a sensor has no recent data, or is
 * faulty), good, empty (no sensors). `envs`: of each metric the reading that says most, at most four. `spark`: of the
 * first temperature sensor, else of the first, the means of the last 24 hours, null where there are none.
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

/** How many alarms are open, how many of them nobody has acknowledged, and the worst one's severity. */
export interface OpenAlarms {
  open: number;
  unacknowledged: number;
  worst: string | null;
}

/** Who asks: without a name, anybody, for access is open; `expires` null: never. */
export interface Who {
  name: string;
  role: Role;
  expires: string | null;
}

/** The transitions of a storehouse's alarms, in their order; `cursor` is the id of the last. */
export interface Alarms {
  store_house_id: Id;
  cursor: number;
  alarms: Alarm[];
}

/** The event `ask_error`: a refusal, for browsers that ask without acknowledgement. */
export interface AskError {
  event: string;
  code: string;
  message: string;
  field?: string | null;
}

/** The event `ended`: why the server ends the connection. */
export interface Ended {
  code: string;
  message: string;
}

/** Why a question was refused; `field` is the key of the payload at fault. */
export interface Refusal {
  code: string;
  message: string;
  field?: string | null;
}

/** The acknowledgement of a question. */
export type Acknowledgement<Answer> = { ok: true; data: Answer } | { ok: false; error: Refusal };

/** What the page may ask, by event. */
export interface Events {
  orgs: { question: unknown; answer: Organisation[] };
  org: { question: unknown; answer: Organisation[] };
  /** The storehouses of an organisation. */
  storehouses: { question: Storehouses | Id; answer: Storehouse[] };
  /** The storehouses of an organisation. */
  storehouse: { question: Storehouses | Id; answer: Storehouse[] };
  /** Watch a storehouse, instead of the one watched before. */
  register: { question: Register; answer: Envs };
  unregister: { question: unknown; answer: null };
  /** The alarms of a storehouse that were open, or raised, since `data_minute`. */
  queryAlarms: { question: QueryAlarms; answer: Alarm[] };
  /**
   * Somebody, `by` name, has seen an alarm; that does not clear it.
   * Needs the role operate.
   */
  ackAlarm: { question: AckAlarm; answer: Alarm };
  /**
   * Clear an alarm by hand, for a `reason` such as a sensor that is faulty or was removed.
   * Needs the role operate.
   */
  closeAlarm: { question: CloseAlarm; answer: Alarm };
  /** The sensors of a storehouse, with their places and limits; the limits that were, too, back to `since`. */
  querySensors: { question: QuerySensors | Id; answer: SensorAnswer[] };
  /** The rules of our alarms, or those that may hold in one storehouse. */
  queryRules: { question: QueryRules; answer: Rules };
  /**
   * Let these rules hold from now on, instead of all that there are; only if those are still of that `revision`.
   * Needs the role configure.
   */
  saveRules: { question: SaveRules; answer: Rules };
  /**
   * From `start` to `end` nobody is to be disturbed by a storehouse, or by one of its sensors.
   * Needs the role operate.
   */
  saveMaintenance: { question: SaveMaintenance; answer: Maintenance };
  /**
   * Which alarms these rules would have raised in a storehouse from `start` to `end`, had they been all there are.
   * Needs the role configure.
   */
  previewAlarms: { question: PreviewAlarms; answer: Preview };
  /** The history of a storehouse's sensors, or of one of them, in at most `points` buckets of time each. */
  queryEnvs: { question: QueryEnvs; answer: History };
  overview: { question: unknown; answer: Overview };
  leaveOverview: { question: unknown; answer: null };
  whoami: { question: unknown; answer: Who };
  alive: { question: unknown; answer: null };
}

/** What the server sends unasked, by event. */
export interface Pushes {
  /** The watched storehouse: at register, then whenever a reading is new or a quality has changed. */
  envs: Envs;
  /** Alarm transitions of the watched storehouse, in order, none left out. */
  alarms: Alarms;
  /** To watchers of the overview: the organisations that look different, each of them whole. */
  overview: Overview;
  /** To a user whose role or visibility has changed. */
  whoami: Who;
  /** A question was refused. */
  ask_error: AskError;
  /** The server is about to close the connection; `code` says why. */
  ended: Ended;
}
