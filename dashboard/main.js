// Brings the parts together: what is heard changes what is shown.

import { find, write } from "./elements.js";
import { clock, knownZone } from "./formats.js";
import { Places } from "./places.js";
import { onAvailability, onConnection } from "./socket.js";
import { showAlarms, summarise } from "./view-alarms.js";
import { markPlace, showPlaces } from "./view-places.js";
import { ReadingsView } from "./view-readings.js";
import { Watch } from "./watch.js";
import { label, languageTag, say, switchLanguage } from "./words.js";

const SECOND = 1000; // milliseconds

const list = /** @type {Element} */ (document.querySelector("#places nav"));
const drawer = /** @type {HTMLDetailsElement} */ (find("places"));
const narrow = window.matchMedia("(max-width: 44rem)"); // as in style.css
const readings = new ReadingsView(find("readings"));
const places = new Places(placesChanged);
const watch = new Watch(showStorehouse, showReadings);

/** @type {"connecting" | "connected" | "lost"} */
let connection = "connecting";
let available = true;

onConnection((connected) => {
  connection = connected ? "connected" : "lost";
  showBanner();
});
onAvailability((now) => {
  available = now;
  showBanner();
});
window.addEventListener("hashchange", choose);
narrow.addEventListener("change", arrange);
find("language").addEventListener("click", () => {
  switchLanguage();
  showAll();
});
setInterval(() => readings.tick(watch.now()), SECOND);
setInterval(showStorehouse, 60 * SECOND); // what is a day old leaves, and today becomes yesterday
showAll();
arrange();

function showAll() {
  label();
  const button = find("language");
  write(button, say("otherLanguage"));
  button.lang = languageTag() === "zh-CN" ? "en" : "zh-CN";
  placesChanged();
  showStorehouse();
}

function placesChanged() {
  showPlaces(list, places.all);
  choose();
}

/** Watch what the address names. */
function choose() {
  const chosen = places.find(address())?.storehouse ?? null;
  if (chosen?.store_house_id !== watch.storehouse?.store_house_id) {
    watch.follow(chosen);
    arrange();
  }
  markPlace(list, window.location.hash);
  showNotice();
}

/** The storehouse the address names, or "". */
function address() {
  const hash = window.location.hash.slice(1);
  try {
    return decodeURIComponent(hash);
  } catch {
    return hash; // somebody's own percent sign
  }
}

/** On a narrow screen the list makes room for the storehouse that was chosen from it. */
function arrange() {
  drawer.open = !narrow.matches || watch.storehouse === null;
}

function showStorehouse() {
  const { storehouse, envs } = watch;
  find("storehouse").hidden = storehouse === null || envs === null;
  document.title = storehouse ? `${storehouse.store_house_name} · Storewatch` : "Storewatch";
  if (storehouse && envs) {
    const alarms = watch.alarms();
    write(find("organisation"), places.find(String(storehouse.store_house_id))?.organisation.org_name ?? "");
    write(find("storehouse-name"), storehouse.store_house_name);
    summarise(find("alarms-summary"), alarms, watch.alarmsKnown);
    showAlarms(find("alarms"), alarms, envs.envs, storehouse.time_zone, watch.now());
  }
  showReadings();
  showNotice();
}

function showReadings() {
  const { storehouse, envs } = watch;
  if (storehouse && envs) {
    const [zone, now] = [storehouse.time_zone, watch.now()];
    write(find("as-of"), say("asOf", { time: clock(zone, now)(envs.time), zone: knownZone(zone) }));
    find("no-readings").hidden = envs.envs.length > 0;
    readings.show(envs.envs, watch.alarms(), zone, now);
  }
  showBanner();
}

/** What stands in the place of a storehouse. */
function showNotice() {
  write(find("notice"), notice());
}

function notice() {
  if (watch.refused?.code === "not_found") return say("unknownStorehouse");
  if (watch.refused) return say("refused", { message: watch.refused.message });
  if (watch.storehouse) return watch.envs ? "" : say("loading");
  if (address() === "") return say("choose");
  return places.complete ? say("unknownStorehouse") : say("loading");
}

/** Whether what is seen is current. */
function showBanner() {
  const text = trouble();
  const banner = find("banner");
  banner.hidden = text === "";
  write(banner, text);
  document.body.classList.toggle("not-current", text !== "" && connection !== "connecting");
}

function trouble() {
  if (connection !== "connected") return say(connection);
  return watch.envs?.stale || !available ? say("stale") : "";
}
