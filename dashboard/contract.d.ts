// What the server sends, as the page sees it. Ids keep the JSON type their column has.

export type Id = string | number;

export interface Organisation {
  org_id: Id;
  org_name: string;
}

export interface Storehouse {
  store_house_id: Id;
  store_house_name: string;
  org_id: Id;
  time_zone: string;
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

export interface Alarm {
  alarm_id: Id;
  store_house_id: Id;
  sensor_id: Id;
  sensor_name: string;
  metric: string;
  kind: string;
  severity: "info" | "warning" | "critical";
  state: "pending" | "active" | "cleared";
  acknowledged: unknown;
  value: number | null;
  limit: number | null;
  raised: string;
  cleared: string | null;
}

export interface Alarms {
  store_house_id: Id;
  cursor: number;
  alarms: Alarm[];
}

/** An acknowledgement. */
export type Answer<Data> = { ok: true; data: Data } | { ok: false; error: Refusal };

export interface Refusal {
  code: string;
  message: string;
  field?: string;
}

/** What each question is answered with. */
export interface Answers {
  orgs: Organisation[];
  storehouses: Storehouse[];
  register: Envs;
  unregister: null;
  queryAlarms: Alarm[];
}

/** What the server sends unasked. */
export interface Pushes {
  envs: Envs;
  alarms: Alarms;
}
