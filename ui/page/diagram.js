// The state diagram: the SVG that is generated from the table, lit by CSS.

import { here, svgOf } from "./show.js";

export class Diagram {
  #box;
  #last = "Running"; // the state that the events so far lead to

  constructor(box) { this.#box = box; }

  async load() {
    const response = await fetch(here("shutdown.svg"));
    this.#box.replaceChildren(svgOf(await response.text()));
  }

  reset() {
    this.#last = "Running";
    for (const part of this.#box.querySelectorAll(".taken, .past")) part.classList.remove("taken", "past");
  }

  // event marks the edge that it takes, if it moves the machine.
  event({ kind, state }) {
    if (state === this.#last) return;
    document.getElementById(`edge-${this.#last}-${kind}`)?.classList.add("taken");
    document.getElementById(`state-${this.#last}`)?.classList.add("past");
    this.#last = state;
  }

  state(state) {
    for (const node of this.#box.querySelectorAll(".node")) {
      node.classList.toggle("lit", node.id === `state-${state}`);
    }
    this.#box.setAttribute("aria-label", `State diagram of the shutdown; the state is ${state}`);
  }
}
