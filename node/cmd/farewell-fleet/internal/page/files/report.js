// The dialog with what is known of one instance: how its components stopped, on an axis
// of their own, and what they left in the way of errors and stacks.

import { duration, element, foreign, here, jsonOf, lines, make, seconds } from "./show.js";
import { runState, stateOf, verdict } from "./words.js";

const again = 1000; // ms between two looks at the report of one that leaves

export class ReportDialog {
  #dialog = element("dialog");
  #fleet;
  #axis;
  #key;
  #run; // that is shown
  #row; // as it was shown
  #asked = 0;

  constructor(fleet, axis) {
    [this.#fleet, this.#axis] = [fleet, axis];
    this.#dialog.addEventListener("click", (click) => { if (click.target === this.#dialog) this.#dialog.close(); });
  }

  open(key) {
    this.#key = key;
    this.#row = this.#run = undefined;
    element("dialog-report").replaceChildren();
    this.tick();
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#dialog.scrollTop = 0;
  }

  // tick follows the row, as long as the dialog is open.
  tick() {
    const row = this.#key && this.#fleet.rows.get(this.#key);
    if (!row) return;
    element("dialog-state").replaceChildren(...stateOf(row, this.#axis.now));
    element("dialog-state").dataset.rank = row.rank;
    // The last run of which there is something to say.
    const run = row.runs.findLast(({ state }) => state !== "running") ?? row.runs.at(-1);
    const leaves = run.began && !run.ended;
    const due = leaves && performance.now() - this.#asked > again;
    if (row === this.#row && !due) return;
    if (row !== this.#row) this.#head(row, run);
    [this.#row, this.#run] = [row, run];
    if (run.began || run.ended) this.#load(row, run);
    else element("dialog-report").replaceChildren(make("p", "hint", "It runs. When it leaves, its report is here."));
  }

  #head(row, run) {
    element("dialog-title").replaceChildren(foreign(row.key));
    const facts = [];
    const fact = (name, ...what) => facts.push(make("dt", "", name), make("dd", "", ...what));
    const newest = row.runs.at(-1);
    if (newest !== run) fact("Now", ...runState(newest, this.#axis.now));
    if (run.by || run.reason) fact("Asked by", foreign(run.by ?? "(not said)"), ", because of ", foreign(run.reason ?? "(not said)"));
    if (run.since) fact("Joined", `${new Date(run.since).toLocaleString("en-GB")}, by its own clock`);
    if (run.withdrew && run.began) fact("Withdrew", `${duration(Math.max(0, run.withdrew - run.began))} after it was asked`);
    fact("Incarnation", make("code", "", foreign(run.incarnation)));
    element("dialog-facts").replaceChildren(...facts);
  }

  async #load({ group, name }, run) {
    this.#asked = performance.now();
    const where = here("report");
    where.search = new URLSearchParams({ group, name, incarnation: run.incarnation });
    const failed = (text) => {
      const place = element("dialog-report");
      if (place.querySelector("table")) return; // which is better than nothing
      place.replaceChildren(make("p", "hint", foreign(text), " What its events said:"), known(run));
    };
    let report;
    try {
      const answer = await fetch(where, { cache: "no-store" });
      if (this.#run !== run) return; // somebody has looked on
      if (!answer.ok) return failed(`${(await answer.text()).trim()}.`);
      report = await answer.json();
    } catch {
      return failed("The page's server cannot be reached.");
    }
    if (this.#run !== run) return;
    const place = element("dialog-report");
    const said = (details) => details.firstElementChild.textContent;
    const unfolded = new Map([...place.querySelectorAll("details")].map((details) => [said(details), details.open]));
    place.replaceChildren(...contents(report));
    for (const details of place.querySelectorAll("details")) details.open = unfolded.get(said(details)) ?? details.open;
  }
}

// contents are those of a report, and of the reports inside of it.
function contents(report) {
  const whole = make("details", "", make("summary", "", "The whole report, as JSON"), make("pre", "", jsonOf(report)));
  return [...sections(report), whole];
}

function sections(report) {
  const components = report.components ?? [];
  const over = report.state === "Terminated";
  const how = over ? `ended by ${report.edge?.on} after ${duration(report.tookMs)}, exit code ${report.exitCode}`
    : `${report.state} for ${seconds(report.tookMs)}`;
  const forced = report.forcedBy ? [", forced by ", foreign(report.forcedBy.by), ": ", foreign(report.forcedBy.reason)] : [];
  const total = Math.max(1, report.tookMs);
  const table = tableOf(components.map((line) => ({
    ...line, begin: line.waitedMs, length: line.outcome === "waiting" || line.outcome === "skipped" ? undefined : line.ranMs,
    on: line.waitedOn ?? [], errors: [line.error, line.quiesceError].filter(Boolean).flatMap((text) => text.split("\n")), // as errors are joined
  })), total);
  const stacks = components.filter(({ stack }) => stack).map(({ id, outcome, stack }) =>
    make("details", "stack", make("summary", "", "Where ", foreign(id), ` ${outcome === "hung" ? "hangs" : outcome}`), make("pre", "", lines(stack))));
  if (stacks.length === 1) stacks[0].open = true;
  const inner = components.filter(({ inner }) => inner).map(({ id, inner }) =>
    make("section", "inner", make("h3", "", "Inside ", foreign(id)), ...sections(inner)));
  return [make("p", "", `Shutdown ${how}`, ...forced, "."), scrolled(table), ...stacks, ...inner];
}

// known is what the events said.
function known(run) {
  const total = Math.max(1, ...(run.parts ?? []).map(({ start, end }) => (end ?? start ?? run.began) - run.began));
  return scrolled(tableOf((run.parts ?? []).map((part) => ({
    ...part, begin: (part.start ?? run.began) - run.began, length: part.start && (part.end ?? run.began + total) - part.start,
    on: part.waitedOn ?? [], errors: [part.error].filter(Boolean),
  })), total));
}

function scrolled(table) {
  const box = make("div", "scroll", table);
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Components");
  return box;
}

function tableOf(rows, total) {
  const table = make("table", "components");
  table.innerHTML = "<thead><tr><th scope=col>Component<th scope=col>Time since the request<th scope=col>Outcome<th scope=col>Waited on<th scope=col>Error</tr></thead>";
  const body = table.createTBody();
  for (const { id, outcome, insisted, bestEffort, begin, length, on, errors } of rows) {
    const line = body.insertRow();
    line.className = `${outcome}${insisted ? " insisted" : ""}`;
    const head = make("th", "", foreign(id));
    head.scope = "row";
    const track = make("div", "track");
    track.setAttribute("aria-hidden", "true");
    const wait = make("i", "wait");
    wait.style.width = `${100 * begin / total}%`;
    track.append(wait);
    if (length !== undefined) {
      const run = make("i", `part ${outcome}${insisted ? " insisted" : ""}`);
      run.style.left = `${100 * begin / total}%`;
      run.style.width = `${100 * length / total}%`;
      track.append(run);
    }
    line.append(head, make("td", "", track));
    line.insertCell().append(`${verdict({ outcome, insisted })}${length === undefined ? "" : `, ran ${duration(length)}`}${bestEffort ? ", best effort" : ""}`);
    line.insertCell().append(...on.length ? on.flatMap((id, i) => [i ? ", " : "", foreign(id)]) : ["–"]);
    line.insertCell().append(...errors.length ? errors.flatMap((text, i) => [i ? "; " : "", foreign(text)]) : ["–"]);
  }
  return table;
}
