// The map of the neighborhood, drawn in a worker from the DOT that the node gives.

import { here, svgOf } from "./show.js";

const most = 100; // nodes that a map can show so that a person sees something

export class NeighborhoodMap {
  #card;
  #box;
  #summary;
  #worker; // only made when there is something to draw
  #drawn; // the DOT that is shown, or on its way
  #nodes = 0;

  constructor(card, box, summary) {
    [this.#card, this.#box, this.#summary] = [card, box, summary];
  }

  // records says in words what the map shows; above a size, in place of it.
  records(node) {
    this.#card.hidden = !node;
    const records = node?.records ?? [];
    const lists = new Map(records.map(({ key, halfNeighbors }) => [key, new Set(halfNeighbors)]));
    this.#nodes = lists.size;
    const degrees = [...lists].map(([key, others]) => [...others].filter((other) => lists.get(other)?.has(key)).length);
    const streets = degrees.reduce((sum, degree) => sum + degree, 0) / 2;
    this.#summary.textContent = `${plural(lists.size, "node")}, ${plural(streets, "neighborship")}` +
      (degrees.length ? `; the best connected node has ${plural(Math.max(...degrees), "neighbor")}.` : ".") +
      (lists.size > most ? ` That is too much for a map.` : "") + parts(node);
  }

  draw(dot) {
    if (this.#nodes > most) {
      this.#box.replaceChildren();
      this.#drawn = undefined;
    } else if (dot !== this.#drawn) {
      this.#drawn = dot;
      this.#worker ??= this.#startWorker();
      this.#worker.postMessage(dot);
    }
  }

  #startWorker() {
    const worker = new Worker(here("map-worker.js"), { type: "module" });
    worker.addEventListener("message", ({ data: { svg, error } }) => {
      if (error) console.warn(error);
      else if (this.#drawn) this.#box.replaceChildren(svgOf(svg));
    });
    return worker;
  }
}

// parts says who cannot be reached, if the node knows of anybody.
function parts(node) {
  const missing = (node?.missing ?? []).map(({ key, left }) => `${key.slice(0, 8)}…${left ? " (it has left)" : ""}`);
  return (node?.inParts ? " The map is in parts." : "") +
    (node?.beyondReach ? ` ${plural(node.beyondReach, "node")} out of reach.` : "") +
    (missing.length ? ` Not reachable, and dialed again and again: ${missing.join(", ")}.` : "");
}

const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
