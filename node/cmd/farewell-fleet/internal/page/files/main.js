// Wires the stream to what is shown. What comes is kept at once; what is shown is
// painted at most ten times a second, however much comes.

import { Axis } from "./axis.js";
import { Fleet } from "./fleet.js";
import { GroupCard, countsOf } from "./group.js";
import { ReportDialog } from "./report.js";
import { follow } from "./stream.js";
import { element, foreign, make, plural, seconds } from "./show.js";
import { ranks, stateOf, textOf } from "./words.js";

const pace = 100; // ms between two paintings
const calmPace = 1000; // for who wants less motion
const hiddenPace = 2000;
const gap = 60_000; // ms of silence after which what goes on is something new
const recently = 15 * 60_000; // ms for which a failure is news
const mostTrouble = 6;
const mostRows = 240; // of all groups, before a button is pressed
const fewGroups = 3; // are unfolded from the beginning

const calm = matchMedia("(prefers-reduced-motion: reduce)");

const fleet = new Fleet();
const axis = new Axis(element("axis"), document.documentElement);
const dialog = new ReportDialog(fleet, axis);
const show = (key) => dialog.open(key);
const cards = new Map(); // by the group's name

let status = { nats: true, problem: "", listed: false, more: 0, drains: [] };
let settings = { group: "" };
let lost = "connecting";
let retryAt = 0;
let paused = false;
let changed = true; // something has come, or a person has chosen something
let since = 0; // when what is going on began
const said = new Map(); // trouble that has been announced

follow({
  message(message) {
    lost = "";
    if (message.reset) settings = message.reset;
    if (message.status) status = message.status;
    if (status.nats && !status.problem) axis.heard(message.now);
    else axis.stop();
    fleet.take(message);
    changed ||= Boolean(message.reset || message.rows || message.dropped || message.status);
  },
  lost(why, again) {
    lost = why;
    retryAt = performance.now() + again;
    axis.stop();
  },
});

function paint() {
  if (!document.hidden && !paused) {
    if (changed) since = fleet.since(axis.now, gap);
    axis.move(element("window").value, since);
    if (changed) paintFleet();
    const colours = coloursNow();
    for (const card of cards.values()) card.tick(colours);
    paintTrouble();
    dialog.tick();
    changed = false;
  }
  paintState();
}

// loop paints, and leaves the browser as much time as it took for other things.
function loop() {
  const began = performance.now();
  paint();
  const took = performance.now() - began;
  setTimeout(() => requestAnimationFrame(loop), Math.max(calm.matches ? calmPace : pace, 2 * took));
}

function paintState() {
  const badge = element("state");
  const [state, text] = lost ? ["none", lost === "connecting" ? lost : "not connected"] : !status.nats || status.problem ? ["stale", "stale"]
    : paused ? ["paused", "paused"] : status.listed ? ["live", "live"] : ["none", "listing"];
  if (badge.dataset.state !== state || badge.textContent !== text) {
    badge.dataset.state = state;
    badge.textContent = text;
  }
  document.body.classList.toggle("stale", state === "stale" || state === "none");
  notice(noticeText());
}

function noticeText() {
  const age = axis.age > 1000 && fleet.rows.size ? ` What is shown is ${seconds(axis.age)} old.` : "";
  if (lost && lost !== "connecting") {
    return `${lost} ${retryAt > performance.now() ? `Trying again in ${seconds(retryAt - performance.now() + 999)}.` : "Trying again."}${age}`;
  }
  if (lost) return "";
  if (!status.nats) return `NATS cannot be reached.${age}`;
  if (status.problem) return `${status.problem}${age}`;
  return status.more ? `${plural(status.more, "instance")} more, which the page only counts: watch one group.` : "";
}

function notice(text) {
  const line = element("notice");
  if (line.textContent === text) return;
  line.replaceChildren(foreign(text));
  line.hidden = text === "";
}

function paintFleet() {
  const terms = element("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const drains = new Map(status.drains?.map((drain) => [drain.group, drain]));
  const groups = [...fleet.groups.values()];
  const order = groups.sort((a, b) => (a.worst > ranks.failed) - (b.worst > ranks.failed) || a.name.localeCompare(b.name, "en", { numeric: true }));
  for (const [name, card] of cards) {
    if (fleet.groups.get(name) === card.group) continue;
    card.element.remove();
    cards.delete(name);
  }
  const matching = terms.length === 0 ? undefined : new Map(order.map((group) => [group, group.matching(terms, axis.now)]));
  const shown = order.filter((group) => !matching || matching.get(group).length > 0).length;
  const room = { rows: Math.floor(mostRows / Math.max(1, shown)), unfold: order.length <= fewGroups };
  let place = element("groups").firstElementChild;
  for (const group of order) {
    let card = cards.get(group.name);
    if (!card) {
      card = new GroupCard(group, axis, show);
      cards.set(group.name, card);
    }
    const rows = matching?.get(group);
    card.element.hidden = rows?.length === 0;
    card.update(rows, drains.get(group.name), room);
    if (card.element === place) place = place.nextElementSibling;
    else element("groups").insertBefore(card.element, place);
  }
  const facts = [settings.group ? ["group ", foreign(settings.group)] : [plural(groups.length, "group")], [" · "], countsOf(withAll(fleet.counts()))];
  element("facts").replaceChildren(...facts.flat());
}

const withAll = (counts) => ({ there: 0, leaving: 0, hang: 0, left: 0, away: 0, failed: 0, back: 0, ...counts });

// paintTrouble says in one sentence how it stands, and then who a person should look at.
function paintTrouble() {
  const trouble = fleet.trouble(axis.now - recently);
  const head = element("now");
  const text = headline(trouble);
  if (head.textContent !== text) head.textContent = text;
  entitle(text);
  element("now-card").dataset.worst = trouble[0]?.rank ?? ranks.running;
  const list = element("trouble");
  const shown = trouble.slice(0, mostTrouble);
  while (list.childElementCount > shown.length) list.lastElementChild.remove();
  while (list.childElementCount < shown.length) list.append(item());
  for (const [i, row] of shown.entries()) fill(list.children[i], row);
  const more = trouble.length - shown.length;
  element("more-trouble").textContent = more ? `and ${more} more` : "";
  announce(trouble);
}

// entitle says it in the tab too.
function entitle(text) {
  const title = `${text} Farewell fleet`;
  if (document.title !== title) document.title = title;
}

function headline(trouble) {
  const counts = withAll(fleet.counts());
  if (fleet.rows.size === 0) return status.listed ? "Nobody is there." : "Nothing is known yet.";
  const parts = [];
  const say = (n, one, more) => { if (n) parts.push(`${n.toLocaleString("en")} ${n === 1 ? one : more}`); };
  say(counts.hang, "hangs", "hang");
  say(counts.leaving, "leaves", "leave");
  say(counts.away, "is away", "are away");
  say(trouble.filter(({ rank }) => rank === ranks.failed).length, "has failed", "have failed");
  return parts.length ? `${parts.join(", ")}.` : `Nobody is leaving: ${plural(counts.there, "instance")} there.`;
}

function item() {
  const line = make("li");
  const name = make("button", "name");
  name.type = "button";
  name.addEventListener("click", () => show(line.dataset.key));
  line.append(name, make("span", "how"));
  line.dataset.key = "";
  return line;
}

function fill(line, row) {
  if (line.dataset.key !== row.key) {
    line.dataset.key = row.key;
    line.firstElementChild.replaceChildren(foreign(row.key));
  }
  line.dataset.rank = row.rank;
  const words = stateOf(row, axis.now);
  const last = row.runs.at(-1);
  const ago = axis.now - last.ended;
  if (row.rank === ranks.left && ago > 1000) words.push(`, not back for ${seconds(ago)}`);
  if (row.rank === ranks.failed && ago > 1000) words.push(`, ${seconds(ago)} ago`);
  const text = textOf(words);
  const how = line.lastElementChild;
  if (how.textContent !== text) how.replaceChildren(...words);
}

// announce tells who listens what goes wrong, once each.
function announce(trouble) {
  const bad = trouble.filter(({ rank }) => rank === ranks.hangs || rank === ranks.failed);
  const fresh = bad.filter((row) => said.get(row.key) !== row.rank);
  said.clear();
  for (const row of bad) said.set(row.key, row.rank);
  if (fresh.length) element("said").replaceChildren(...fresh.slice(0, 3).flatMap((row) => [foreign(row.key), " ", ...stateOf(row, axis.now), ". "]));
}

// coloursNow are those of the scheme that a person prefers now.
function coloursNow() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["good", "bad", "lit", "card"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

element("controls").addEventListener("submit", (submit) => submit.preventDefault());
for (const [id, what] of [["filter", "input"], ["window", "change"]]) {
  element(id).addEventListener(what, () => { changed = true; });
}
element("groups").addEventListener("click", () => { changed = true; }); // folds and buttons
element("pause").addEventListener("click", () => {
  paused = !paused;
  element("pause").setAttribute("aria-pressed", String(paused));
  element("pause").textContent = paused ? "Go on" : "Pause";
  changed = true;
});
setInterval(() => { // in a tab that is not looked at nothing is painted but its name
  if (document.hidden && !paused) entitle(headline(fleet.trouble(axis.now - recently)));
}, hiddenPace);
loop();
