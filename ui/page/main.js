// Wires the parts of the page to the gateway. What is shown follows from what the
// gateway says; nothing is remembered but that.

import { connect, returned } from "./connection.js";
import { Acks } from "./acks.js";
import { Diagram } from "./diagram.js";
import { Log } from "./log.js";
import { NeighborhoodMap } from "./map.js";
import { duration, element, foreign, jsonOf } from "./show.js";

const refreshTime = 2000; // ms between two looks at the status

const diagram = new Diagram(element("diagram"));
const acks = new Acks(element("acks"), element("waiting"));
const log = new Log(element("log"));
const map = new NeighborhoodMap(element("map-card"), element("map"), element("map-summary"));

let gateway; // while connected
let began; // when the process did, in the page's time
let facts = {};

const show = {
  open(connection) {
    gateway = connection;
    notice("");
    diagram.reset();
    acks.reset();
    log.reset();
  },

  watching({ state, alarmMs, insistAfterMs, log: lines }) {
    setState(state);
    acks.scale(alarmMs, insistAfterMs);
    for (const line of lines) log.add(line);
    element("ask").disabled = false;
    refresh();
  },

  event(event) {
    setState(event.state);
    diagram.event(event);
    acks.event(event);
    if (event.kind === "ShutdownRequested") {
      notice(["Shutdown requested by ", foreign(event.command.by), ": ", foreign(event.command.reason)]);
      element("ask").disabled = true;
    }
  },

  logLine(line) { log.add(line); },
  connectionChange() { refresh(); },

  // The process is gone, and this is what it left.
  goodbye({ report, farewells }) {
    setState(report.state);
    acks.report(report);
    showReport(report, farewells ?? []);
    element("facts").textContent = "";
    notice(`The process is gone. Exit code ${report.exitCode}, after ${duration(report.tookMs)}. This is its final report.`, report.exitCode !== 0);
    offerReturn();
  },

  hint(text) { element("notice").append(" ", text); },

  lost(why, again) {
    gateway = undefined;
    element("ask").disabled = true;
    if (why === "goodbye") return;
    setState("none");
    notice(why + (again ? ` Trying again in ${duration(again)}.` : ""), true);
  },
};

async function refresh() {
  try {
    const status = await gateway?.call("status");
    if (!status) return;
    began = Date.now() - status.uptimeMs;
    facts = { node: status.node, uis: status.uis, version: status.version };
    acks.components(status.report.components);
    acks.elapsed(status.report);
    map.records(status.node);
    showFacts();
    if (status.node) map.draw((await gateway.call("neighborhoodGraph")).graph);
  } catch (error) {
    if (gateway) console.warn(error.message); // otherwise the connection is gone, which is shown elsewhere
  }
}

function showFacts() {
  const parts = [];
  if (facts.node) {
    const connected = facts.node.peers?.filter((peer) => peer.connected).length ?? 0;
    parts.push(`node ${shortKey(facts.node)}`, `${connected} stream${connected === 1 ? "" : "s"}`);
  }
  parts.push(`up ${duration(Date.now() - began, true)}`, `${facts.uis} UI${facts.uis === 1 ? "" : "s"}`);
  if (facts.version) parts.push(facts.version);
  element("facts").replaceChildren(foreign(parts.join(" · ")));
}

const shortKey = (node) => `${node.key.slice(0, 8)}…`;

// offerReturn waits quietly, and keeps the report, until a person wants to see who has come.
async function offerReturn() {
  const status = await returned();
  const node = status?.node;
  const who = !status ? "A process that wants a token of its own is" : !node ? "A process is"
    : node.key === facts.node?.key ? `The node ${shortKey(node)} is back, and` : `Another node, ${shortKey(node)}, is`;
  element("returned").replaceChildren(foreign(`${who} running at this address now.`));
  element("return").hidden = false;
}

element("look").addEventListener("click", () => {
  element("return").hidden = true;
  element("report-card").hidden = true;
  connect(show);
});

function setState(state) {
  const badge = element("state");
  badge.dataset.state = state;
  badge.textContent = state === "none" ? "not connected" : state;
  diagram.state(state);
}

function notice(text, bad = false) {
  const line = element("notice");
  line.replaceChildren(...[text].flat());
  line.hidden = text === "";
  line.classList.toggle("bad", bad);
}

function showReport(report, farewells) {
  element("report-card").hidden = false;
  const counts = new Map();
  for (const { outcome } of report.components) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  const outcomes = [...counts].map(([outcome, n]) => `${n} ${outcome}`).join(", ") || "no components";
  element("summary").replaceChildren(foreign(report.command.by), " asked (", foreign(report.command.reason),
    `); ended by ${report.edge.on} after ${duration(report.tookMs)}: ${outcomes}.`);
  element("report").textContent = jsonOf({ report, farewells });
  const table = element("farewells");
  table.hidden = farewells.length === 0;
  table.tBodies[0].replaceChildren(...farewells.map(({ key, outcome, tookMs, error }) => {
    const row = document.createElement("tr");
    for (const text of [key, error ? `${outcome}: ${error}` : outcome, duration(tookMs)]) row.insertCell().append(foreign(text));
    return row;
  }));
}

const dialog = element("dialog");
element("ask").addEventListener("click", () => dialog.showModal());
element("cancel").addEventListener("click", () => dialog.close());
element("form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  dialog.close();
  gateway?.shutdown(element("reason").value.trim()).catch((error) => {
    if (gateway) notice(foreign(error.message), true);
  });
});

setInterval(() => { if (gateway && !document.hidden) refresh(); }, refreshTime);
await diagram.load();
connect(show);
