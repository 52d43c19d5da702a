// The language of the page, and the texts and names in this language.

import { batch, computed, effect, signal } from "@preact/signals";
import { readStored, writeStored } from "../browser-storage.js";

/** @typedef {"en" | "zh"} Language */
/** @typedef {keyof typeof import("./en.js").EN} Word */

/** The texts of each language. The other language is loaded only when the user switches to it. */
const CATALOGUES = {
  en: async () => (await import("./en.js")).EN,
  zh: async () => (await import("./zh.js")).ZH,
};
const TAGS = { en: "en-GB", zh: "zh-CN" };

/** @type {import("@preact/signals").Signal<Language>} */
export const language = signal(preferredLanguage());
/** @type {import("@preact/signals").Signal<Record<Word, string>>} */
const words = signal(await CATALOGUES[language.peek()]());

/** The language tag for formatting numbers and times. */
export const languageTag = computed(() => TAGS[language.value]);

/** The tag of the language that the user can switch to. */
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
 * Return the text of a word in the language of the page.
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
 * Return the word for a code from the server. A code from the site's own system is returned unchanged.
 * @param {string} prefix
 * @param {string} code
 */
export function translateCode(prefix, code) {
  const key = `${prefix}_${code}`;
  return isWord(key) ? translate(key) : code;
}

// The demo has Chinese names. The server puts the address of these names in the page. A site's own names have no such
// address.
const namesAddress = document.querySelector("meta[name=chinese-names]")?.getAttribute("content");
const chineseNames = signal(/** @type {ReadonlyMap<string, string>} */ (new Map()));

effect(() => {
  if (namesAddress && language.value === "zh") loadNames(namesAddress);
});

/** @param {string} address */
async function loadNames(address) {
  try {
    chineseNames.value = new Map(Object.entries(await (await fetch(address)).json()));
  } catch {
    // The page then shows the names from the database.
  }
}

/**
 * Return the name of an organisation, storehouse or sensor in the language of the page.
 * @param {string} name the name in the database
 * @returns {string}
 */
export function displayName(name) {
  return (language.value === "zh" && chineseNames.value.get(name)) || name;
}
