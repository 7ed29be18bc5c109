// The components with their acks, as bars on a common time axis.

import { duration, foreign } from "./show.js";

// A shutdown takes 5 ms or 5 s, and both must be seen on an axis that ends at the alarm.
const axis = (ms) => ms ** 0.35;

const patience = 1000; // ms, from which on people want to know whom it waits for
const mostNames = 5;

export class Acks {
  #table;
  #rows = new Map(); // by the component's ID
  #began; // when the request took effect
  #now = 0; // ms since then, of the last event
  #alarm = 5000;
  #polite = 4000;
  #timer;
  #offset = 0; // ms from the event's clock to the page's
  #due; // ms from the request to its own alarm, if that is known
  #waiting; // where it says whom the shutdown waits for

  constructor(table, waiting) { [this.#table, this.#waiting] = [table, waiting]; }

  reset() {
    this.#stop();
    this.#began = this.#due = undefined;
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
      case "AllAcked": case "Timeout": this.#stop();
    }
    this.#paint();
  }

  #begin(time) {
    this.#began = time;
    this.#offset = Date.now() - time; // the clocks may differ, and the event took its way
    this.#timer = setInterval(() => {
      this.#now = Date.now() - this.#offset - time;
      this.#paint();
      this.#sayWhom();
    }, 100);
  }

  // elapsed sets right what was concluded from the event, which may have come long after
  // the request; and whoever asked may have given it less time than the alarm.
  elapsed({ tookMs, began, deadline }) {
    if (!this.#timer) return;
    this.#offset = Date.now() - this.#began - tookMs;
    if (deadline) this.#due = Date.parse(deadline) - Date.parse(began);
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#waiting.hidden = true;
  }

  // sayWhom says whom the shutdown waits for, and how long still, in whole seconds.
  #sayWhom() {
    const open = [...this.#rows].filter(([, row]) => row.outcome === undefined);
    const stopping = open.filter(([, row]) => row.start !== undefined);
    this.#waiting.hidden = this.#now < patience || open.length === 0;
    if (this.#waiting.hidden) return;
    const names = (stopping.length ? stopping : open).slice(0, mostNames);
    const more = (stopping.length || open.length) - names.length;
    const idle = stopping.length ? open.length - stopping.length : 0;
    const left = Math.max(0, Math.ceil(((this.#due ?? this.#alarm) - this.#now) / 1000));
    this.#waiting.replaceChildren("Waits for ", ...names.flatMap(([id, row], i) => [
      i ? ", " : "", foreign(id), row.start === undefined ? " (not begun)" : ` (for ${seconds(this.#now - row.start)})`,
    ]), more ? ` and ${more} more` : "", idle ? `; ${idle} not begun yet` : "", `. Alarm in ${left} s.`);
  }

  // report replaces what was concluded from events by what is final.
  report({ components }) {
    this.#stop();
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
    name.append(foreign(id));
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

const seconds = (ms) => `${Math.floor(ms / 1000)} s`;
