// Views that few people open: each is fetched when somebody wants it.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { connection } from "../data/socket.js";
import { say } from "../words/say.js";

/**
 * @param {() => Promise<Function>} fetch
 * @returns {(props: object) => import("preact").VNode}
 */
export function late(fetch) {
  /** @type {Function | null} */
  let view = null;
  return function Late(props) {
    const [, drawAnew] = useState(false);
    useEffect(() => {
      if (view) return;
      fetch().then(
        (found) => {
          view = found;
          drawAnew(true);
        },
        (error) => {
          if (!(error instanceof TypeError)) throw error; // no network: again when it is back
        },
      );
    }, [connection.value]);
    return view ? html`<${view} ...${props} />` : html`<p class="notice">${say("loading")}</p>`;
  };
}
