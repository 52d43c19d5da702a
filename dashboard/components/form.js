// Parts of forms: running an action, errors, the user's name, and a question with one text field.

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused } from "../data/socket.js";
import { personName, setPersonName, user } from "../data/user.js";
import { describeError } from "../words/errors.js";
import { translate } from "../words/translate.js";

/** @import { Word } from "../words/translate.js" */

/** Return a function that runs actions, whether an action is running, and the refusal of the last action. */
export function useAttempt() {
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState(/** @type {Refused | null} */ (null));
  /** @param {() => Promise<void>} act */
  async function attempt(act) {
    setBusy(true);
    setRefused(null);
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      setRefused(error);
    } finally {
      setBusy(false);
    }
  }
  return { attempt, busy, refused };
}

/** Shows why the server refused an action. @param {{refused: Refused | null, children?: unknown}} props */
export function ErrorText({ refused, children }) {
  return html`<p class="error" role="alert">${refused && html`${describeError(refused)} ${children}`}</p>`;
}

/** Shows a field for the user's name if the user is not logged in. */
export function NameField() {
  if (user.value?.name) return null;
  return html`<label>
    ${translate("field_by")}
    <input required maxlength="100" autocomplete="name" value=${personName.value} onInput=${onText(setPersonName)} />
  </label>`;
}

/** Return an event handler that passes the text of a field. @param {(text: string) => void} setText */
export function onText(setText) {
  return (/** @type {any} */ event) => setText(event.currentTarget.value);
}

/**
 * Asks for a text and the user's name, then calls `act` with the text.
 * @param {{title: Word, label: Word, needed: boolean, choices?: Word[], act: (text: string) => Promise<void>, done: () => void}} props
 */
export function Question({ title, label, needed, choices = [], act, done }) {
  const dialog = /** @type {{current: HTMLDialogElement | null}} */ (useRef(null));
  const [text, setText] = useState("");
  const { attempt, busy, refused } = useAttempt();
  useEffect(() => dialog.current?.showModal(), []);

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    attempt(async () => {
      await act(text.trim());
      done();
    });
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
        <textarea rows="3" required=${needed} maxlength="1000" value=${text} onInput=${onText(setText)}></textarea>
      </label>
      <${NameField} />
      <${ErrorText} refused=${refused} />
      <p class="buttons">
        <button type="button" onClick=${() => dialog.current?.close()}>${translate("cancel")}</button>
        <button type="submit" class="primary" disabled=${busy}>${translate(title)}</button>
      </p>
    </form>
  </dialog>`;
}
