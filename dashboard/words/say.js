// Which of the two languages is spoken, and saying a word in it.

import { batch, computed, signal } from "@preact/signals";
import { recall, remember } from "../memory.js";

/** @typedef {"en" | "zh"} Language */
/** @typedef {keyof typeof import("./en.js").EN} Word */

/** The one that is not spoken is not fetched. */
const CATALOGUES = {
  en: async () => (await import("./en.js")).EN,
  zh: async () => (await import("./zh.js")).ZH,
};
const TAGS = { en: "en-GB", zh: "zh-CN" };

/** @type {import("@preact/signals").Signal<Language>} */
const spoken = signal(preferred());
/** @type {import("@preact/signals").Signal<Record<Word, string>>} */
const words = signal(await CATALOGUES[spoken.peek()]());

/** The language tag numbers and times are written by. */
export const languageTag = computed(() => TAGS[spoken.value]);

/** The tag of the language that is not spoken. */
export const otherTag = computed(() => TAGS[other()]);

/** @returns {Language} */
function preferred() {
  const chosen = recall("localStorage", "language") ?? navigator.language;
  return chosen.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** @returns {Language} */
function other() {
  return spoken.value === "en" ? "zh" : "en";
}

export async function switchLanguage() {
  const wanted = other();
  const found = await CATALOGUES[wanted]();
  batch(() => {
    spoken.value = wanted;
    words.value = found;
  });
  remember("localStorage", "language", wanted);
}

/**
 * @param {Word} word
 * @param {Record<string, string | number>} [parts] what stands for each {name} in the sentence
 * @returns {string}
 */
export function say(word, parts = {}) {
  return words.value[word].replace(/\{(\w+)\}/g, (_, name) => String(parts[name]));
}

/**
 * @param {string} word
 * @returns {word is Word}
 */
export function known(word) {
  return Object.hasOwn(words.peek(), word);
}

/**
 * What a code of the server's is called; a code of the site's own stands as it is.
 * @param {string} prefix
 * @param {string} code
 */
export function named(prefix, code) {
  const word = `${prefix}_${code}`;
  return known(word) ? say(word) : code;
}
