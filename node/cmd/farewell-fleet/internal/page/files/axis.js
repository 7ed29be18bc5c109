// The axis of time that all instances share. Bars say when they begin and end, in
// seconds; where that is on the screen follows from three variables, in CSS.

import { make, seconds } from "./show.js";

const spans = [6, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 450, 600, 900, 1200, 1800, 3600]; // s
const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200];

export class Axis {
  #head;
  #root;
  #base; // ms, from which the page counts: small numbers are exact ones
  #ahead; // ms from the page's own clock to the axis
  #asOf; // where it stands still, if it does
  #shown = "";
  span = 60;
  now = 0; // ms

  constructor(head, root) { [this.#head, this.#root] = [head, root]; }

  // heard sets the axis by what the server says.
  heard(now) {
    this.#base ??= now;
    const ahead = now - performance.now();
    // A message that has been under way for long says less than those before it.
    if (this.#ahead === undefined || ahead > this.#ahead || this.#ahead - ahead > 1000) this.#ahead = ahead;
    this.#asOf = undefined;
  }

  // stop keeps it where it is, until something is heard.
  stop() { this.#asOf ??= this.#clock(); }

  get stopped() { return this.#asOf !== undefined; }
  get age() { return this.stopped ? this.#clock() - this.#asOf : 0; }

  #clock() { return this.#ahead === undefined ? 0 : performance.now() + this.#ahead; }

  // at is a moment as bars have it.
  at(moment) { return ((moment - this.#base) / 1000).toFixed(3); }

  get begin() { return this.now - this.span * 1000; }

  // move shows the time up to now: so many seconds, or as many as reach back to a moment.
  move(choice, since) {
    this.now = this.#asOf ?? this.#clock();
    const wanted = (this.now - since) / 1000 * 1.04;
    this.span = choice === "fit" ? spans.find((span) => span >= wanted) ?? spans.at(-1) : Number(choice);
    const style = this.#root.style;
    style.setProperty("--now", this.at(this.now));
    style.setProperty("--begin", this.at(this.begin));
    style.setProperty("--span", this.span);
    this.#label();
  }

  #label() {
    const most = this.#head.clientWidth < 420 ? 4 : 7;
    const step = steps.find((step) => this.span / step <= most) ?? steps.at(-1);
    const last = this.stopped ? `${seconds(this.age)} ago` : "now";
    const shown = `${this.span} ${step} ${last}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#root.style.setProperty("--step", `${100 * step / this.span}%`);
    const ticks = [this.#tick(0, last)];
    for (let s = step; s <= this.span; s += step) ticks.push(this.#tick(s, `−${seconds(s * 1000)}`));
    this.#head.replaceChildren(...ticks);
  }

  #tick(s, text) {
    const tick = make("span", "tick", text);
    tick.style.right = `${100 * s / this.span}%`;
    return tick;
  }
}
