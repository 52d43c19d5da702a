// What the server sends, as the page sees it. Ids keep the JSON type their column has.

export type Id = string | number;

export interface Organisation {
  org_id: Id;
  org_name: string;
}

export interface Env {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string | null;
  value: number | null;
  time: string | null;
  quality: "good" | "stale" | "bad";
}

export interface Envs {
  store_house_id: Id;
  cursor: number;
  time: string;
  stale: boolean;
  reset?: boolean;
  envs: Env[];
}

export type Severity = "info" | "warning" | "critical";

export type State = Severity | "stale" | "good" | "empty";

export interface Overview {
  time: string;
  stale: boolean;
  organisations: OverviewOrganisation[];
}

export interface OverviewOrganisation extends Organisation {
  storehouses: OverviewStorehouse[];
}

export interface OverviewStorehouse {
  store_house_id: Id;
  store_house_name: string;
  time_zone: string;
  state: State;
  envs: Env[];
  alarms: { open: number; unacknowledged: number; worst: Severity | null };
  spark: (number | null)[];
}

export interface Sensor {
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  unit: string | null;
  interval_s: number | null;
  position: [number, number] | null;
  limits: Limits;
  past_limits?: (Limits & { start: string; end: string })[];
}

export interface Limits {
  high: number | null;
  high_high: number | null;
  low: number | null;
  low_low: number | null;
}

/** The keys from `transition` on are those of the server's own alarms; a site's have none of them. */
export interface Alarm {
  alarm_id: Id;
  store_house_id: Id;
  sensor_id: Id | null;
  sensor_name: string | null;
  metric: string | null;
  kind: string;
  severity: Severity;
  state: "pending" | "active" | "cleared";
  acknowledged: unknown;
  value: number | null;
  limit: number | null;
  raised: string;
  cleared: string | null;
  transition?: string;
  since?: string;
  peak?: number | null;
  acknowledged_by?: string | null;
  acknowledged_at?: string | null;
  comment?: string | null;
  closed_by?: string | null;
  reason?: string | null;
  cause?: Id | null;
  late?: boolean;
  silenced?: boolean;
  drill?: boolean;
  limits?: Limit[];
}

export interface Limit {
  limit: number;
  severity: Severity;
  delay?: number;
  clear_delay?: number;
  hysteresis?: number;
  reopen?: number;
  within?: number;
}

export interface Alarms {
  store_house_id: Id;
  cursor: number;
  alarms: Alarm[];
}

/** Time, lowest, highest, mean, how many. */
export type Point = [time: string, min: number, max: number, mean: number, count: number];

export interface History {
  store_house_id: Id;
  start: string;
  end: string;
  bucket_s: number;
  sensors: { sensor_id: Id; sensor_name: string; metric: string; unit: string | null; points: Point[] }[];
}

/** An acknowledgement. */
export type Answer<Data> = { ok: true; data: Data } | { ok: false; error: Refusal };

export interface Refusal {
  code: string;
  message: string;
  field?: string;
}

export type Role = "watch" | "operate" | "configure";

/** Without a name: anybody, for access is open. */
export interface Who {
  name: string;
  role: Role;
  expires: string | null;
}

/** What each question is answered with. */
export interface Answers {
  whoami: Who | null;
  overview: Overview;
  leaveOverview: null;
  alive: null;
  register: Envs;
  unregister: null;
  querySensors: Sensor[];
  queryEnvs: History;
  queryAlarms: Alarm[];
  ackAlarm: Alarm;
  closeAlarm: Alarm;
  queryRules: RuleBook;
  saveRules: RuleBook;
  previewAlarms: Preview;
  saveMaintenance: Maintenance;
}

/** What the server sends unasked. */
export interface Pushes {
  whoami: Who | null;
  overview: Overview;
  envs: Envs;
  alarms: Alarms;
}

export interface Scope {
  store_house_id?: Id;
  sensor_id?: Id;
  sensor_name?: string;
  metric?: string;
}

export interface Terms {
  limit?: number | string;
  severity?: Severity;
  delay?: number | string;
  clear_delay?: number | string;
  hysteresis?: number;
  reopen?: number | string;
  within?: number | string;
}

export type RuleKind = "high" | "high_high" | "low" | "low_low" | "rate" | "switch" | "no_data";

export type Rule = { scope?: Scope; profile?: string | null } & {
  [kind in RuleKind]?: Terms | number | string | null;
};

export interface Maintenance {
  maintenance_id: number;
  store_house_id: Id;
  sensor_id: Id | null;
  start: string;
  end: string;
  reason: string;
  by: string;
}

export interface RuleBook {
  rules: Rule[];
  profiles: Record<string, unknown>;
  maintenance: Maintenance[];
  revision?: number;
  changes: { written: string; by: string; before: Rule[]; after: Rule[] }[];
}

export interface Preview {
  sensors: { proposed: { count: number }; in_force: { count: number } }[];
}
