// The components with their acks, as bars on a common time axis.

import { duration } from "./show.js";

// A shutdown takes 5 ms or 5 s, and both must be seen on an axis that ends at the alarm.
const axis = (ms) => ms ** 0.35;

export class Acks {
  #table;
  #rows = new Map(); // by the component's ID
  #began; // when the request took effect
  #now = 0; // ms since then, of the last event
  #alarm = 5000;
  #polite = 4000;
  #timer;

  constructor(table) { this.#table = table; }

  reset() {
    clearInterval(this.#timer);
    this.#began = this.#timer = undefined;
    this.#rows.clear();
    this.#table.tBodies[0].replaceChildren();
  }

  scale(alarm, polite) {
    [this.#alarm, this.#polite] = [alarm, polite];
    const head = this.#table.querySelector(".axis");
    head.replaceChildren();
    for (let ms = 1; ms < alarm / 2; ms *= 10) {
      if (axis(ms) > axis(alarm) / 15) this.#tick(head, ms, duration(ms), "");
    }
    this.#tick(head, polite, `insist ${duration(polite)}`, "polite");
    this.#tick(head, alarm, `alarm ${duration(alarm)}`, "alarm");
  }

  #tick(head, ms, text, kind) {
    const tick = document.createElement("span");
    tick.className = `tick ${kind}`;
    tick.textContent = text;
    tick.style.left = this.#place(ms);
    head.append(tick);
  }

  #place(ms) { return `${Math.min(100, 100 * axis(ms) / axis(this.#alarm))}%`; }

  components(list) {
    for (const { id } of list) this.#row(id);
  }

  event({ kind, at, from, error }) {
    const time = Date.parse(at);
    if (kind === "ShutdownRequested") this.#begin(time);
    this.#now = Math.max(0, time - this.#began);
    const row = from && this.#row(from);
    switch (kind) {
      case "Started": row.start = this.#now; break;
      case "Acked": row.end = this.#now; row.outcome = error ? "failed" : "acked"; break;
      case "Insisted": row.insisted = true; break;
      case "AllAcked": case "Timeout": clearInterval(this.#timer);
    }
    this.#paint();
  }

  #begin(time) {
    this.#began = time;
    const offset = Date.now() - time; // the clocks are one and the same, but the event took its way
    this.#timer = setInterval(() => {
      this.#now = Date.now() - offset - time;
      this.#paint();
    }, 100);
  }

  // report replaces what was concluded from events by what is final.
  report({ components }) {
    clearInterval(this.#timer);
    for (const { id, outcome, insisted, waitedMs, ranMs } of components) {
      const started = outcome !== "skipped";
      Object.assign(this.#row(id), {
        outcome, insisted, start: started ? waitedMs : undefined, end: started ? waitedMs + ranMs : undefined,
      });
    }
    this.#paint();
  }

  #row(id) {
    if (this.#rows.has(id)) return this.#rows.get(id);
    const line = this.#table.tBodies[0].insertRow();
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = id;
    const track = document.createElement("div");
    track.className = "track";
    track.setAttribute("aria-hidden", "true");
    for (const part of ["wait", "run", "at-polite", "at-alarm"]) {
      const span = document.createElement("span");
      span.className = part;
      track.append(span);
    }
    track.querySelector(".at-polite").style.left = this.#place(this.#polite);
    line.append(name);
    line.insertCell().append(track);
    const row = { line, track, text: line.insertCell(), insisted: false };
    this.#rows.set(id, row);
    this.#paint();
    return row;
  }

  #paint() {
    for (const row of this.#rows.values()) {
      const { start, end, insisted } = row;
      const outcome = row.outcome ?? (start !== undefined ? "stopping" : this.#began ? "waiting" : "up");
      row.line.className = insisted ? `${outcome} insisted` : outcome;
      this.#span(row.track.querySelector(".wait"), this.#began && 0, start ?? this.#now);
      this.#span(row.track.querySelector(".run"), start, end ?? this.#now);
      const took = end === undefined ? "" : ` after ${duration(end)}`;
      row.text.textContent = outcome + took + (insisted ? ", insisted upon" : "");
    }
  }

  #span(span, from, to) {
    span.hidden = from === undefined;
    if (span.hidden) return;
    span.style.left = this.#place(from);
    span.style.width = `calc(${this.#place(Math.max(from, to))} - ${this.#place(from)})`;
  }
}
