// Which organisations and storehouses there are.

import { Refused, ask, onConnection } from "./socket.js";

/** @import { Id, Organisation, Storehouse } from "./contract.js" */

/**
 * @typedef {object} Place
 * @property {Organisation} organisation
 * @property {Storehouse[] | null} storehouses null while they are not known
 */

export class Places {
  /** @type {Place[] | null} null while they are not known */
  all = null;
  #changed;
  #turn = 0;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
    onConnection((connected) => {
      this.#turn += 1;
      if (connected) this.#load();
    });
  }

  /** Whether every storehouse is known. */
  get complete() {
    return this.all !== null && this.all.every((place) => place.storehouses !== null);
  }

  /**
   * @param {string} id as an address carries it, always a string
   * @returns {{organisation: Organisation, storehouse: Storehouse} | null}
   */
  find(id) {
    for (const { organisation, storehouses } of this.all ?? []) {
      const storehouse = storehouses?.find((one) => String(one.store_house_id) === id);
      if (storehouse) return { organisation, storehouse };
    }
    return null;
  }

  async #load() {
    const turn = this.#turn;
    const wanted = () => turn === this.#turn;
    const organisations = await ask("orgs", undefined, wanted);
    if (!organisations) return;
    // What was known stays in sight until it is known anew.
    const known = new Map(this.all?.map((place) => [place.organisation.org_id, place.storehouses]));
    this.all = organisations.map((organisation) => ({
      organisation,
      storehouses: known.get(organisation.org_id) ?? null,
    }));
    this.#changed();
    // One after the other: the server limits how many questions it takes at once.
    for (const place of this.all) {
      const storehouses = await storehousesOf(place.organisation.org_id, wanted);
      if (!storehouses) return;
      place.storehouses = storehouses;
      this.#changed();
    }
  }
}

/**
 * @param {Id} org_id
 * @param {() => boolean} wanted
 */
async function storehousesOf(org_id, wanted) {
  try {
    return await ask("storehouses", { org_id }, wanted);
  } catch (error) {
    if (error instanceof Refused) return []; // it went away since we were told of it
    throw error;
  }
}
