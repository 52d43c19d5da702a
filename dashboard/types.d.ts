// Types of the page. The types of the messages are in contract.d.ts, which is generated from the server's types.

import type { Bound, Env, History, Id, OverviewStorehouse, Rule, Scope, SensorAnswer, Severity } from "./contract.js";

export type SensorState = Severity | "stale" | "bad" | "good";

/** A storehouse of the overview, with its organisation. */
export interface StorehouseEntry {
  storehouse: OverviewStorehouse;
  org_id: Id;
  org_name: string;
}

/** Identifies one metric of a sensor, which may measure several. */
export interface SensorMetric {
  sensor_id: Id | null;
  metric: string | null;
}

/** The kinds of alarm that a rule can set. */
export type RuleKind = Exclude<keyof Rule, "scope" | "profile">;

export type Term = keyof Bound;

/**
 * What a user enters for one kind of alarm. Mode `given`: the terms as entered, spans in minutes. `off`: no alarm.
 * `general`: inherited from a more general rule.
 */
export interface RuleLine {
  mode: "general" | "off" | "given";
  terms: Record<Term, string>;
}

/** The subject of a rule; `example` is one of its sensors. */
export interface RuleSubject {
  key: string;
  name: string;
  scope: Scope;
  example: Env | null;
}

/** The data of the charts of a span, which is in milliseconds. */
export interface ChartData {
  history: History;
  sensors: SensorAnswer[];
  span: [number, number];
}
