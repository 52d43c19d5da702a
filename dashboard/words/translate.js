// The language of the page, and its words in it.

import { batch, computed, signal } from "@preact/signals";
import { readStored, writeStored } from "../browser-storage.js";

/** @typedef {"en" | "zh"} Language */
/** @typedef {keyof typeof import("./en.js").EN} Word */

/** The other language is fetched only when somebody switches to it. */
const CATALOGUES = {
  en: async () => (await import("./en.js")).EN,
  zh: async () => (await import("./zh.js")).ZH,
};
const TAGS = { en: "en-GB", zh: "zh-CN" };

/** @type {import("@preact/signals").Signal<Language>} */
export const language = signal(preferredLanguage());
/** @type {import("@preact/signals").Signal<Record<Word, string>>} */
const words = signal(await CATALOGUES[language.peek()]());

/** The language tag by which numbers and times are formatted. */
export const languageTag = computed(() => TAGS[language.value]);

/** The tag of the language that one can switch to. */
export const otherTag = computed(() => TAGS[otherLanguage()]);

/** @returns {Language} */
function preferredLanguage() {
  const preferred = readStored("localStorage", "language") ?? navigator.language;
  return preferred.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** @returns {Language} */
function otherLanguage() {
  return language.value === "en" ? "zh" : "en";
}

export async function switchLanguage() {
  const chosen = otherLanguage();
  const catalogue = await CATALOGUES[chosen]();
  batch(() => {
    language.value = chosen;
    words.value = catalogue;
  });
  writeStored("localStorage", "language", chosen);
}

/**
 * @param {Word} word
 * @param {Record<string, string | number>} [parts] replace each {name} in the text
 * @returns {string}
 */
export function translate(word, parts = {}) {
  return words.value[word].replace(/\{(\w+)\}/g, (_, name) => String(parts[name]));
}

/**
 * @param {string} key
 * @returns {key is Word}
 */
export function isWord(key) {
  return Object.hasOwn(words.peek(), key);
}

/**
 * The word for a code of the server's; a code of the site's own is shown as it is.
 * @param {string} prefix
 * @param {string} code
 */
export function translateCode(prefix, code) {
  const key = `${prefix}_${code}`;
  return isWord(key) ? translate(key) : code;
}
