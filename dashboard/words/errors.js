// Describes errors that the server reports as text for the user.

import { isWord, translate, translateCode } from "./translate.js";
import { formatNumber } from "./values.js";

const NEED_FIELD = ["error_invalid_value", "error_missing_field"];

/** @import { Refusal } from "../contract.js" */

/**
 * Describe why the server refused a request. The text depends on the reason, or on the code if the reason is unknown.
 * The page never shows the English `message`, which is for programs.
 * @param {Pick<Refusal, "code" | "field" | "params">} error
 * @returns {string}
 */
export function describeError({ code, field, params = {} }) {
  const values = Object.entries({ ...params, field: field ?? "" });
  const parts = Object.fromEntries(values.map(([name, value]) => [name, describeParam(name, value)]));
  const [byReason, byCode] = [`error_${params.reason}`, `error_${code}`];
  const text = translate(isWord(byCode) ? byCode : "error");
  const namesField = isWord(`field_${field}`);
  if (byReason !== byCode && isWord(byReason) && (namesField || !NEED_FIELD.includes(byReason))) {
    return translate(byReason, parts);
  }
  return namesField ? translate("labelled", { label: parts.field ?? "", value: text }) : text;
}

/**
 * @param {string} name
 * @param {number | string} value
 */
function describeParam(name, value) {
  return typeof value === "number" ? formatNumber(value) : translateCode(name, value);
}
