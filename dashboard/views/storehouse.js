// The page of one storehouse, with its name, its state and its tabs.

import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import { lazy } from "../components/lazy.js";
import { StateMark } from "../components/state-mark.js";
import { worstState } from "../data/sensor-state.js";
import { storehouses } from "../data/storehouses.js";
import { connection, offers, probe } from "../data/socket.js";
import { minute } from "../data/time.js";
import { activeAlarms, envs, refused, watchedStorehouse, zone } from "../data/watched-storehouse.js";
import { TABS, route, toStorehouse } from "../route.js";
import { describeError } from "../words/errors.js";
import { displayName, translate } from "../words/translate.js";
import { clock, usableZone } from "../words/times.js";
import { Alarms, OpenAlarms } from "./alarms.js";
import { AlarmDetail } from "./alarm-detail.js";
import { FloorPlan } from "./floor-plan.js";
import { Table } from "./table.js";
import { Tiles } from "./tiles.js";

const Charts = lazy(async () => (await import("./charts.js")).Charts);
const RulesPage = lazy(async () => (await import("./rules.js")).RulesPage);

export function StorehousePage() {
  useEffect(() => {
    if (connection.value !== "connected") return;
    probe("queryRules");
    probe("previewAlarms");
  }, [connection.value]);
  if (refused.value) return html`<${Notice} text=${describeError(refused.value)} />`;
  if (!envs.value) return html`<${Notice} text=${translate("loading")} />`;
  return html`<article class="storehouse">
    <${Title} />
    <${Tabs} />
    <${Tab} />
  </article>`;
}

/** @param {{text: string}} props */
function Notice({ text }) {
  return html`<p class="notice">${text} <a href="#/">${translate("toOverview")}</a></p>`;
}

function Title() {
  const entry = watchedStorehouse.value;
  const newest = envs.value;
  const name = entry?.storehouse.store_house_name ?? (storehouses.value ? route.value.storehouse : "");
  return html`<div class="title">
    <div class="names">
      <p class="crumbs"><a href="#/">${translate("storehouses")}</a> <span aria-hidden="true">›</span> <bdi>${entry && displayName(entry.org_name)}</bdi></p>
      <h1><bdi>${displayName(name)}</bdi></h1>
    </div>
    <p class="storehouse-state">
      <${StateMark} state=${worstState(newest?.envs ?? [])} />
      <span id="as-of">
        ${newest && translate("asOf", { time: clock(zone.value, minute.value)(newest.time), zone: usableZone(zone.value) })}
      </span>
    </p>
  </div>`;
}

function Tabs() {
  const open = activeAlarms.value.length;
  const offered = TABS.filter(
    (tab) => !(tab === "charts" && !offers("queryEnvs")) && !(tab === "rules" && !offers("queryRules")),
  );
  const tabs = /** @type {{current: HTMLElement | null}} */ (useRef(null));
  useEffect(() => {
    tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [route.value.tab, offered.length, open]);
  return html`<nav class="tabs" aria-label=${translate("views")} ref=${tabs}>
    ${offered.map(
      (tab) =>
        html`<a
          key=${tab}
          href=${toStorehouse(route.value.storehouse, tab)}
          aria-current=${route.value.tab === tab ? "page" : null}
        >
          ${translate(`tab_${tab}`)}${tab === "alarms" && open > 0 && html` <b class="badge">${open}</b>`}
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
      return html`<${OpenAlarms} /><${FloorPlan} />`;
    case "table":
      return html`<${OpenAlarms} /><${Table} />`;
    case "charts":
      return html`<${Charts} />`;
    case "alarms":
      return alarm ? html`<${AlarmDetail} key=${alarm} id=${alarm} />` : html`<${Alarms} />`;
    case "rules":
      return html`<${RulesPage} />`;
  }
}
