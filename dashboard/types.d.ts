// Types of the page's own. Those of the messages are in contract.d.ts, which is generated from the server's types.

import type { Bound, Env, History, Id, OverviewStorehouse, Rule, Scope, SensorAnswer, Severity } from "./contract.js";

export type SensorState = Severity | "stale" | "bad" | "good";

/** A storehouse of the overview, with its owner. */
export interface StorehouseEntry {
  storehouse: OverviewStorehouse;
  org_id: Id;
  org_name: string;
}

/** What names a sensor's metric: one sensor may measure several. */
export interface SensorMetric {
  sensor_id: Id | null;
  metric: string | null;
}

/** The kinds of alarm that a rule can set. */
export type RuleKind = Exclude<keyof Rule, "scope" | "profile">;

export type Term = keyof Bound;

/**
 * What a person enters for one kind. `given`: terms of its own, as they are written, spans in minutes; `off`: no alarm;
 * `general`: as a more general rule has it.
 */
export interface RuleLine {
  mode: "general" | "off" | "given";
  terms: Record<Term, string>;
}

/** What a rule can be made for; `example`: one of its sensors. */
export interface RuleSubject {
  key: string;
  name: string;
  scope: Scope;
  example: Env | null;
}

/** What the charts of a span show. Times in milliseconds. */
export interface ChartData {
  history: History;
  sensors: SensorAnswer[];
  span: [number, number];
}
