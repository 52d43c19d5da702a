// Every word a person reads, in both languages, and which of the two is spoken.

import { recall, remember } from "./memory.js";

/** @typedef {"en" | "zh"} Language */
/** @typedef {keyof typeof WORDS} Word */

const WORDS = /** @satisfies {Record<string, Record<Language, string>>} */ ({
  otherLanguage: { en: "中文", zh: "English" },

  storehouses: { en: "Storehouses", zh: "仓库" },
  readings: { en: "Readings", zh: "实时数据" },
  alarms: { en: "Alarms of the last day", zh: "最近一天的报警" },
  asOf: { en: "As of {time} ({zone})", zh: "截至 {time}（{zone}）" },

  choose: { en: "Choose a storehouse to watch.", zh: "请选择要查看的仓库。" },
  loading: { en: "Asking the server…", zh: "正在向服务器查询…" },
  noOrganisations: { en: "There are no organisations.", zh: "没有组织机构。" },
  noStorehouses: { en: "No storehouses", zh: "没有仓库" },
  noReadings: { en: "This storehouse has no sensors.", zh: "该仓库没有传感器。" },
  noAlarms: { en: "None.", zh: "无。" },
  unknownStorehouse: {
    en: "There is no such storehouse, or you may not see it.",
    zh: "该仓库不存在，或您无权查看。",
  },
  refused: { en: "The server refused: {message}", zh: "服务器拒绝了请求：{message}" },

  connecting: { en: "Connecting to the server…", zh: "正在连接服务器…" },
  lost: {
    en: "The connection to the server is lost. What you see is not current. Trying again…",
    zh: "与服务器的连接已断开，所示内容不是最新的。正在重试…",
  },
  stale: {
    en: "The server cannot reach its database. What you see is not current.",
    zh: "服务器无法访问数据库，所示内容不是最新的。",
  },

  good: { en: "Good", zh: "正常" },
  old: { en: "Old", zh: "过期" },
  bad: { en: "Bad", zh: "异常" },
  never: { en: "no reading yet", zh: "尚无数据" },
  now: { en: "now", zh: "刚刚" },

  openAlarms: { en: "{count} open", zh: "{count} 条未解除" },
  newestAlarms: { en: "the newest {shown} of {count} are shown", zh: "显示最新 {shown} 条，共 {count} 条" },
  info: { en: "Info", zh: "提示" },
  warning: { en: "Warning", zh: "警告" },
  critical: { en: "Critical", zh: "严重" },
  pending: { en: "Pending", zh: "待确认" },
  active: { en: "Active", zh: "报警中" },
  cleared: { en: "Cleared", zh: "已解除" },
  acknowledged: { en: "{state}, acknowledged", zh: "{state}，已确认" },
  since: { en: "since {raised}", zh: "自 {raised}" },
  fromTo: { en: "{raised} to {cleared}", zh: "{raised} 至 {cleared}" },

  high: { en: "too high: {value}, limit {limit}", zh: "过高：{value}，限值 {limit}" },
  low: { en: "too low: {value}, limit {limit}", zh: "过低：{value}，限值 {limit}" },
  rate: { en: "changing too fast: {value}, limit {limit}", zh: "变化过快：{value}，限值 {limit}" },
  no_data: { en: "no data", zh: "无数据" },
  switch: { en: "{value}", zh: "{value}" },
  otherKind: { en: "{kind}: {value}", zh: "{kind}：{value}" },

  smoke0: { en: "No smoke", zh: "无烟" },
  smoke1: { en: "Smoke", zh: "有烟" },
  door0: { en: "Closed", zh: "关闭" },
  door1: { en: "Open", zh: "打开" },
  water0: { en: "Dry", zh: "无水" },
  water1: { en: "Water", zh: "有水" },
  power0: { en: "No power", zh: "断电" },
  power1: { en: "Power on", zh: "供电正常" },
});

const TAGS = { en: "en-GB", zh: "zh-CN" };

/** @type {Language} */
let spoken = preferred();

/** @returns {Language} */
function preferred() {
  const chosen = recall("localStorage", "language") ?? navigator.language;
  return chosen.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** The language tag numbers and times are written by. */
export function languageTag() {
  return TAGS[spoken];
}

export function switchLanguage() {
  spoken = spoken === "en" ? "zh" : "en";
  remember("localStorage", "language", spoken);
}

/**
 * @param {Word} word
 * @param {Record<string, string | number>} [parts] what stands for each {name} in the sentence
 */
export function say(word, parts = {}) {
  return WORDS[word][spoken].replace(/\{(\w+)\}/g, (_, name) => String(parts[name]));
}

/**
 * @param {string} word
 * @returns {word is Word}
 */
export function known(word) {
  return Object.hasOwn(WORDS, word);
}

/** Put the words that never change into the page. */
export function label() {
  document.documentElement.lang = languageTag();
  for (const element of document.querySelectorAll("[data-say]")) {
    element.textContent = say(/** @type {Word} */ (element.getAttribute("data-say")));
  }
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say(/** @type {Word} */ (element.getAttribute("data-say-label"))));
  }
}
