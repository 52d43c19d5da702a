// The metrics that Storewatch knows. Generated from common/metric_registry.py by `python -m contract`: do not edit.

/** @typedef {{en: string, zh: string}} Term */

/**
 * @typedef {object} Metric
 * @property {Term} name
 * @property {string} [unit] the unit of sensors that have no unit of their own
 * @property {number} [decimals] number of decimals to show; by default as many as needed, at most three
 * @property {number} [trendStep] minimum change within 15 minutes that counts as rising or falling
 * @property {[Term, Term]} [switchWords] the words for 0 and 1; only switches have them
 */

/** @type {ReadonlyMap<string, Metric>} */
export const METRICS = new Map(
  Object.entries(
    /** @type {Record<string, Metric>} */ ({
      "temperature": { name: { en: "Temperature", zh: "温度" }, unit: "°C", decimals: 1, trendStep: 0.5 },
      "humidity": { name: { en: "Humidity", zh: "湿度" }, unit: "%", decimals: 1, trendStep: 2 },
      "light": { name: { en: "Light", zh: "照度" }, unit: "lx", decimals: 0 },
      "co2": { name: { en: "CO₂", zh: "二氧化碳" }, unit: "ppm", decimals: 0, trendStep: 50 },
      "pm25": { name: { en: "PM2.5", zh: "PM2.5" }, unit: "µg/m³", decimals: 0, trendStep: 10 },
      "pressure": { name: { en: "Pressure", zh: "压力" }, unit: "hPa", decimals: 1, trendStep: 2 },
      "dew_point": { name: { en: "Dew point", zh: "露点" }, unit: "°C", decimals: 1, trendStep: 0.5 },
      "smoke": { name: { en: "Smoke", zh: "烟雾" }, switchWords: [{ en: "No smoke", zh: "无烟" }, { en: "Smoke", zh: "有烟" }] },
      "door": { name: { en: "Door", zh: "门" }, switchWords: [{ en: "Closed", zh: "关闭" }, { en: "Open", zh: "打开" }] },
      "water": { name: { en: "Water", zh: "水浸" }, switchWords: [{ en: "Dry", zh: "无水" }, { en: "Water", zh: "有水" }] },
      "power": { name: { en: "Power", zh: "功率" }, decimals: 2, switchWords: [{ en: "No power", zh: "断电" }, { en: "Power on", zh: "供电正常" }] },
    }),
  ),
);
