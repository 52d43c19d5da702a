// A modal dialog that asks for a text.

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused } from "../data/socket.js";
import { NameField } from "./name-field.js";
import { translate } from "../words/translate.js";

/** @import { Word } from "../words/translate.js" */

/**
 * Ask for a text and the person's name, then call `act` with the text.
 * @param {{title: Word, label: Word, needed: boolean, choices?: Word[], act: (text: string) => Promise<void>, done: () => void}} props
 */
export function Question({ title, label, needed, choices = [], act, done }) {
  const dialog = /** @type {{current: HTMLDialogElement | null}} */ (useRef(null));
  const [text, setText] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    try {
      await act(text.trim());
      done();
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      setError(translate("refused", { message: refused.message }));
      setBusy(false);
    }
  }

  return html`<dialog ref=${dialog} onClose=${done} aria-labelledby="question">
    <form onSubmit=${submit}>
      <h2 id="question">${translate(title)}</h2>
      ${choices.length > 0 &&
      html`<p class="choices">
        ${choices.map((word) => html`<button type="button" key=${word} onClick=${() => setText(translate(word))}>${translate(word)}</button>`)}
      </p>`}
      <label>
        ${translate(label)}
        <textarea
          rows="3"
          required=${needed}
          maxlength="1000"
          value=${text}
          onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
        ></textarea>
      </label>
      <${NameField} />
      <p class="error" role="alert">${error}</p>
      <p class="buttons">
        <button type="button" onClick=${() => dialog.current?.close()}>${translate("cancel")}</button>
        <button type="submit" class="chief" disabled=${busy}>${translate(title)}</button>
      </p>
    </form>
  </dialog>`;
}
