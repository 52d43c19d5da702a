// A question to a person, before everything else until it is answered.

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused } from "../data/socket.js";
import { YourName } from "./your-name.js";
import { say } from "../words/say.js";

/** @import { Word } from "../words/say.js" */

/**
 * Ask for a text and the person's name, and do what they are for.
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
      setError(say("refused", { message: refused.message }));
      setBusy(false);
    }
  }

  return html`<dialog ref=${dialog} onClose=${done} aria-labelledby="question">
    <form onSubmit=${submit}>
      <h2 id="question">${say(title)}</h2>
      ${choices.length > 0 &&
      html`<p class="choices">
        ${choices.map((word) => html`<button type="button" key=${word} onClick=${() => setText(say(word))}>${say(word)}</button>`)}
      </p>`}
      <label>
        ${say(label)}
        <textarea
          rows="3"
          required=${needed}
          maxlength="1000"
          value=${text}
          onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
        ></textarea>
      </label>
      <${YourName} />
      <p class="error" role="alert">${error}</p>
      <p class="buttons">
        <button type="button" onClick=${() => dialog.current?.close()}>${say("cancel")}</button>
        <button type="submit" class="chief" disabled=${busy}>${say(title)}</button>
      </p>
    </form>
  </dialog>`;
}
