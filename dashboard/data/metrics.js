// The metrics that Storewatch knows. Generated from common/metric_registry.py by `python -m contract`: do not edit.

/** @typedef {{en: string, zh: string}} Term */

/**
 * @typedef {object} Metric
 * @property {"measurement" | "switch"} kind a switch is 0 or 1; with a unit, it is a measurement all the same
 * @property {Term} name
 * @property {string} unit used where a sensor names none
 * @property {number} [decimals] shown; without: as many as needed, at most three
 * @property {number} [trendStep] the change within 15 minutes from which on a value rises or falls
 * @property {[Term, Term]} [switchWords] for 0 and for 1
 */

/** @type {ReadonlyMap<string, Metric>} */
export const METRICS = new Map(
  /** @type {[string, Metric][]} */ ([
    [
      "temperature",
      {
        kind: "measurement",
        name: { en: "Temperature", zh: "温度" },
        unit: "°C",
        decimals: 1,
        trendStep: 0.5,
      },
    ],
    [
      "humidity",
      {
        kind: "measurement",
        name: { en: "Humidity", zh: "湿度" },
        unit: "%",
        decimals: 1,
        trendStep: 2,
      },
    ],
    [
      "light",
      {
        kind: "measurement",
        name: { en: "Light", zh: "照度" },
        unit: "lx",
        decimals: 0,
      },
    ],
    [
      "co2",
      {
        kind: "measurement",
        name: { en: "CO₂", zh: "二氧化碳" },
        unit: "ppm",
        decimals: 0,
        trendStep: 50,
      },
    ],
    [
      "pm25",
      {
        kind: "measurement",
        name: { en: "PM2.5", zh: "PM2.5" },
        unit: "µg/m³",
        decimals: 0,
        trendStep: 10,
      },
    ],
    [
      "pressure",
      {
        kind: "measurement",
        name: { en: "Pressure", zh: "压力" },
        unit: "hPa",
        decimals: 1,
        trendStep: 2,
      },
    ],
    [
      "dew_point",
      {
        kind: "measurement",
        name: { en: "Dew point", zh: "露点" },
        unit: "°C",
        decimals: 1,
        trendStep: 0.5,
      },
    ],
    [
      "smoke",
      {
        kind: "switch",
        name: { en: "Smoke", zh: "烟雾" },
        unit: "",
        switchWords: [{ en: "No smoke", zh: "无烟" }, { en: "Smoke", zh: "有烟" }],
      },
    ],
    [
      "door",
      {
        kind: "switch",
        name: { en: "Door", zh: "门" },
        unit: "",
        switchWords: [{ en: "Closed", zh: "关闭" }, { en: "Open", zh: "打开" }],
      },
    ],
    [
      "water",
      {
        kind: "switch",
        name: { en: "Water", zh: "水浸" },
        unit: "",
        switchWords: [{ en: "Dry", zh: "无水" }, { en: "Water", zh: "有水" }],
      },
    ],
    [
      "power",
      {
        kind: "switch",
        name: { en: "Power", zh: "电力" },
        unit: "",
        decimals: 2,
        switchWords: [{ en: "No power", zh: "断电" }, { en: "Power on", zh: "供电正常" }],
      },
    ],
  ]),
);
