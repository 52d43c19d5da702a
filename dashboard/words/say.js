// Which of the two languages is spoken, and saying a word in it.

import { computed, signal } from "@preact/signals";
import { recall, remember } from "../memory.js";
import { EN } from "./en.js";
import { ZH } from "./zh.js";

/** @typedef {"en" | "zh"} Language */
/** @typedef {keyof typeof EN} Word */

const CATALOGUES = { en: EN, zh: ZH };
const TAGS = { en: "en-GB", zh: "zh-CN" };

/** @type {import("@preact/signals").Signal<Language>} */
const spoken = signal(preferred());

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

export function switchLanguage() {
  spoken.value = other();
  remember("localStorage", "language", spoken.value);
}

/**
 * @param {Word} word
 * @param {Record<string, string | number>} [parts] what stands for each {name} in the sentence
 * @returns {string}
 */
export function say(word, parts = {}) {
  return CATALOGUES[spoken.value][word].replace(/\{(\w+)\}/g, (_, name) => String(parts[name]));
}

/**
 * @param {string} word
 * @returns {word is Word}
 */
export function known(word) {
  return Object.hasOwn(EN, word);
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
