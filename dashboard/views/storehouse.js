// One storehouse: its name, whether it is well, and the ways to look at it.

import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import { late } from "../parts/late.js";
import { StateMark } from "../parts/state.js";
import { SENSOR_STATES, stateOf } from "../data/states.js";
import { places } from "../data/places.js";
import { connection, offers, probe } from "../data/socket.js";
import { minute } from "../data/time.js";
import { activeAlarms, envs, refused, watchedPlace, zone } from "../data/watch.js";
import { TABS, route, toStorehouse } from "../route.js";
import { say } from "../words/say.js";
import { clock, knownZone } from "../words/times.js";
import { Alarms, OpenAlarms } from "./alarms.js";
import { Episode } from "./episode.js";
import { Plan } from "./plan.js";
import { Table } from "./table.js";
import { Tiles } from "./tiles.js";

const Charts = late(async () => (await import("./charts.js")).Charts);
const Rules = late(async () => (await import("./rules.js")).Rules);

export function StorehousePage() {
  useEffect(() => {
    if (connection.value !== "connected") return;
    probe("queryRules");
    probe("previewAlarms");
  }, [connection.value]);
  if (refused.value?.code === "not_found") return html`<${Notice} text=${say("unknownStorehouse")} />`;
  if (refused.value) return html`<${Notice} text=${say("refused", { message: refused.value.message })} />`;
  if (!envs.value) return html`<${Notice} text=${say("loading")} />`;
  return html`<article class="storehouse">
    <${Title} />
    <${Tabs} />
    <${Tab} />
  </article>`;
}

/** @param {{text: string}} props */
function Notice({ text }) {
  return html`<p class="notice">${text} <a href="#/">${say("toOverview")}</a></p>`;
}

function Title() {
  const place = watchedPlace.value;
  const told = envs.value;
  const states = (told?.envs ?? []).map(stateOf);
  const worst = SENSOR_STATES.find((state) => states.includes(state)) ?? "empty";
  return html`<div class="title">
    <div class="names">
      <p class="crumbs"><a href="#/">${say("storehouses")}</a> <span aria-hidden="true">›</span> <bdi>${place?.org_name}</bdi></p>
      <h1><bdi>${place?.storehouse.store_house_name ?? (places.value ? route.value.storehouse : "")}</bdi></h1>
    </div>
    <p class="standing">
      <${StateMark} state=${worst} />
      <span id="as-of">
        ${told && say("asOf", { time: clock(zone.value, minute.value)(told.time), zone: knownZone(zone.value) })}
      </span>
    </p>
  </div>`;
}

function Tabs() {
  const open = activeAlarms.value.length;
  const offered = TABS.filter(
    (tab) => !(tab === "charts" && !offers("queryEnvs")) && !(tab === "rules" && !offers("queryRules")),
  );
  const places = /** @type {{current: HTMLElement | null}} */ (useRef(null));
  useEffect(() => {
    places.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [route.value.tab, offered.length, open]);
  return html`<nav class="tabs" aria-label=${say("views")} ref=${places}>
    ${offered.map(
      (tab) =>
        html`<a
          key=${tab}
          href=${toStorehouse(route.value.storehouse, tab)}
          aria-current=${route.value.tab === tab ? "page" : null}
        >
          ${say(`tab_${tab}`)}${tab === "alarms" && open > 0 && html` <b class="badge">${open}</b>`}
        </a>`,
    )}
  </nav>`;
}

function Tab() {
  const { tab, alarm } = route.value;
  switch (tab) {
    case "tiles":
      return html`<${OpenAlarms} /><${Tiles} />`;
    case "plan":
      return html`<${OpenAlarms} /><${Plan} />`;
    case "table":
      return html`<${OpenAlarms} /><${Table} />`;
    case "charts":
      return html`<${Charts} />`;
    case "alarms":
      return alarm ? html`<${Episode} key=${alarm} id=${alarm} />` : html`<${Alarms} />`;
    case "rules":
      return html`<${Rules} />`;
  }
}
