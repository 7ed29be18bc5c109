// A group: a line that sums it up, with all who left packed together, and its instances.

import { foreign, make, plural } from "./show.js";
import { draw } from "./track.js";
import { ranks, stateOf } from "./words.js";

const first = 40; // instances that are shown at once, if there is room
const more = 100; // and with each press of the button
const most = 500; // which the browser can still move about
const laneHeight = 9; // px, at most
const lanesHeight = 72;

export class GroupCard {
  element = make("section", "group");
  group; // it is the card of
  #open;
  #axis;
  #show; // opens the report of a row
  #lines = new Map(); // by the instance's name
  #more = 0; // that a person wants to see
  #parts = {};
  #hits = []; // where the bars of the overview are

  constructor(group, axis, show) {
    [this.group, this.#axis, this.#show] = [group, axis, show];
    this.#build();
  }

  #build() {
    const p = this.#parts;
    const id = `group-${this.group.name}`;
    p.fold = make("button", "fold", foreign(this.group.name));
    p.fold.type = "button";
    p.fold.setAttribute("aria-controls", id);
    p.fold.addEventListener("click", () => { this.#open = !this.#open; });
    p.counts = make("p", "counts");
    p.drain = make("p", "drain");
    p.lanes = make("canvas", "lanes");
    p.lanes.setAttribute("aria-hidden", "true"); // the counts and the rows say the same
    p.lanes.addEventListener("click", (click) => this.#hit(click, (row) => this.#show(row.key)));
    p.lanes.addEventListener("mousemove", (move) => {
      p.lanes.title = "";
      this.#hit(move, (row) => { p.lanes.title = row.name; });
    });
    p.away = make("p", "at-once");
    const overview = make("div", "columns overview", p.away, p.lanes, make("span"));
    const head = make("div", "head", make("h2", "", p.fold), p.counts, p.drain);
    p.table = make("table");
    p.table.setAttribute("aria-label", `Instances of ${this.group.name}`);
    p.table.innerHTML = "<colgroup><col><col><col></colgroup><thead class=hide><tr><th scope=col>Instance<th scope=col>Time<th scope=col>State</tr></thead>";
    p.body = p.table.createTBody();
    p.rest = make("p", "rest");
    p.more = make("button");
    p.more.type = "button";
    p.more.addEventListener("click", () => { this.#more += more; });
    p.inside = make("div", "inside", p.table, p.rest, p.more);
    p.inside.id = id;
    this.element.append(head, overview, p.inside);
  }

  // update shows what has changed; matching are the rows that a filter leaves, if there
  // is one.
  update(filtered, drain, room) {
    const worst = this.group.worst;
    // What begins to go on is unfolded, and stays so; what a person has folded too.
    if (this.#open === undefined && (room.unfold || worst <= ranks.leaving)) this.#open = true;
    const open = filtered ? true : Boolean(this.#open);
    const p = this.#parts;
    p.fold.setAttribute("aria-expanded", String(open));
    p.inside.hidden = !open;
    this.element.dataset.worst = worst;
    p.counts.replaceChildren(...countsOf(this.group.counts(), filtered));
    p.drain.replaceChildren(...drainOf(drain));
    p.drain.hidden = !drain;
    const shown = Math.min(most, this.#more + Math.max(5, Math.min(first, room.rows)));
    this.#list(open ? filtered ?? this.group.order() : [], shown);
  }

  #list(rows, n) {
    const shown = rows.slice(0, n);
    const kept = new Map();
    for (const row of shown) {
      const line = this.#lines.get(row.name) ?? new Line(this.#axis, this.#show);
      line.put(row);
      kept.set(row.name, line);
    }
    for (const [name, line] of this.#lines) if (!kept.has(name)) line.element.remove();
    this.#lines = kept;
    let place = this.#parts.body.firstElementChild;
    for (const { element } of kept.values()) {
      if (element === place) place = place.nextElementSibling;
      else this.#move(element, place);
    }
    const hidden = rows.length - shown.length;
    const p = this.#parts;
    p.rest.hidden = hidden <= 0;
    p.rest.textContent = `and ${plural(hidden, "other")}, ${summary(rows.slice(n))}${n >= most ? ": filter to see them" : ""}`;
    p.more.hidden = hidden <= 0 || n >= most;
    p.more.textContent = `Show ${Math.min(more, hidden)} more`;
  }

  // move keeps the focus where it is.
  #move(line, before) {
    const focused = line.contains(document.activeElement) ? document.activeElement : undefined;
    this.#parts.body.insertBefore(line, before);
    focused?.focus({ preventScroll: true });
  }

  // tick says what changes with time alone, where somebody can see it.
  tick(colours) {
    if (!this.#parts.counts.checkVisibility({ contentVisibilityAuto: true })) return;
    for (const line of this.#lines.values()) line.tick();
    this.#overview(colours);
  }

  // overview draws who left, by canvas: of ten thousand too.
  #overview(colours) {
    const { bars, n } = this.group.lanes();
    const { begin, now, span } = this.#axis;
    const seen = bars.filter(({ run }) => (run.ended ?? now) >= begin && run.began <= now);
    const p = this.#parts;
    p.lanes.parentElement.hidden = seen.length === 0;
    this.#hits = [];
    if (seen.length === 0) return;
    const away = seen.filter(({ run }) => !run.ended).length;
    const text = away ? `${away} of ${seen.length.toLocaleString("en")} going on` : plural(seen.length, "shutdown");
    if (p.away.textContent !== text) p.away.textContent = text;
    const lane = Math.max(2, Math.min(laneHeight, Math.floor(lanesHeight / n)));
    const [width, height, scale] = [p.lanes.clientWidth, lane * n, devicePixelRatio];
    if (p.lanes.width !== Math.round(width * scale) || p.lanes.height !== Math.round(height * scale)) {
      [p.lanes.width, p.lanes.height] = [Math.round(width * scale), Math.round(height * scale)];
      p.lanes.style.height = `${height}px`;
    }
    const c = p.lanes.getContext("2d");
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    const place = (moment) => (moment - begin) / (span * 1000) * width;
    for (const bar of seen) {
      const { run, lane: at } = bar;
      const x = Math.max(0, place(run.began));
      const w = Math.max(2, Math.min(width, place(run.ended ?? now)) - x - 0.5);
      const bad = bar.row.rank === ranks.hangs && !run.ended || ["failed", "expired", "gone"].includes(run.state);
      c.fillStyle = bad ? colours.bad : run.ended ? colours.good : colours.lit;
      c.fillRect(x, at * lane, w, Math.max(1, lane - 1));
      if (bad && w > 4 && lane > 4) stripe(c, x, at * lane, w, lane - 1, colours.card);
      this.#hits.push({ row: bar.row, x, w, y: at * lane, h: lane });
    }
    p.lanes.dataset.lanes = n;
    p.lanes.dataset.bars = seen.length;
  }

  #hit({ offsetX, offsetY }, found) {
    const hit = this.#hits.find(({ x, w, y, h }) => offsetX >= x - 2 && offsetX <= x + w + 2 && offsetY >= y && offsetY < y + h);
    if (hit) found(hit.row);
  }
}

// stripe tells what went wrong from the rest without its colour.
function stripe(c, x, y, w, h, colour) {
  c.save();
  c.beginPath();
  c.rect(x, y, w, h);
  c.clip();
  c.strokeStyle = colour;
  c.lineWidth = 1;
  c.beginPath();
  for (let s = x - h; s < x + w; s += 5) {
    c.moveTo(s, y + h);
    c.lineTo(s + h, y);
  }
  c.stroke();
  c.restore();
}

const words = [
  ["hang", "hangs", "bad"], ["failed", "failed", "bad"], ["leaving", "leaving", "lit"], ["away", "away", "lit"],
  ["there", "there", ""], ["left", "left", "good"], ["back", "back", ""],
];

export function countsOf(counts, filtered) {
  const said = words.filter(([what]) => counts[what] > 0 || what === "there").flatMap(([what, word, kind], i) => [
    i ? " · " : "", make("span", kind, `${counts[what].toLocaleString("en")} ${what === "hang" && counts[what] > 1 ? "hang" : word}`),
  ]);
  return filtered ? [`${plural(filtered.length, "match").replace("matchs", "matches")} of `, ...said] : said;
}

function drainOf(drain) {
  if (!drain) return [];
  const { operator, done, total, atOnce, failed, stopped, held } = drain;
  const said = [foreign(operator), held ? " drains it: " : " began to drain it: ", `${done} of ${total}`];
  if (atOnce) said.push(", ", foreign(atOnce), " at once");
  if (failed) said.push(`, ${failed} failed`);
  if (stopped) said.push("; stopped: ", foreign(stopped));
  else if (!held) said.push("; nobody goes on with it (--resume)");
  return said;
}

function summary(rows) {
  const by = { failed: 0, leaving: 0, left: 0, running: 0 };
  for (const { rank } of rows) {
    if (rank === ranks.left) by.left++;
    else if (rank === ranks.failed) by.failed++;
    else if (rank <= ranks.leaving) by.leaving++;
    else by.running++;
  }
  return Object.entries(by).filter(([, n]) => n).map(([what, n]) => `${n.toLocaleString("en")} ${what}`).join(", ");
}

// Line is one instance.
class Line {
  element = make("tr");
  #row;
  #track = make("div", "track");
  #state;
  #text = "";
  #axis;
  #name;

  constructor(axis, show) {
    this.#axis = axis;
    this.#name = make("button", "name");
    this.#name.type = "button";
    const head = make("th", "", this.#name);
    head.scope = "row";
    this.#track.setAttribute("aria-hidden", "true");
    this.#state = make("td", "state");
    this.element.append(head, make("td", "", this.#track), this.#state);
    this.element.addEventListener("click", () => show(this.#row.key));
  }

  put(row) {
    if (row === this.#row) return;
    if (!this.#row) this.#name.append(foreign(row.name));
    this.#row = row;
    this.element.dataset.rank = row.rank;
    draw(this.#track, row, this.#axis);
    this.tick();
  }

  tick() {
    const said = stateOf(this.#row, this.#axis.now);
    const text = said.map((piece) => piece.textContent ?? piece).join("");
    if (text === this.#text) return;
    this.#text = text;
    this.#state.replaceChildren(...said);
  }
}

