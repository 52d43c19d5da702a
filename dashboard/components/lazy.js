// Views that are loaded when they are first opened.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { connection } from "../data/socket.js";
import { translate } from "../words/translate.js";

/**
 * @param {() => Promise<Function>} fetch
 * @returns {(props: object) => import("preact").VNode}
 */
export function lazy(fetch) {
  /** @type {Function | null} */
  let view = null;
  return function Lazy(props) {
    const [, redraw] = useState(false);
    useEffect(() => {
      if (view) return;
      fetch().then(
        (fetched) => {
          view = fetched;
          redraw(true);
        },
        (error) => {
          if (!(error instanceof TypeError)) throw error; // no network: try again after the next reconnect
        },
      );
    }, [connection.value]);
    return view ? html`<${view} ...${props} />` : html`<p class="notice">${translate("loading")}</p>`;
  };
}
