// What the server has told, kept: rows by name, and what follows from them per group.

import { hangs, isGone, isLeaving, rankOf, ranks, runState, textOf } from "./words.js";

const mostLanes = 24;
const sameMoment = 50; // ms by which one that follows another may seem to begin before its end

export class Fleet {
  rows = new Map(); // by "group/name"
  groups = new Map();

  #told; // while everything is told anew
  #trouble; // in order, as of now

  take({ reset, whole, rows = [], dropped = [] }) {
    this.#trouble = undefined;
    if (reset) this.#told = new Set();
    for (const name of dropped) this.#drop(name);
    for (const row of rows) {
      const name = `${row.group}/${row.name}`;
      row.key = name;
      row.rank = rankOf(row);
      this.rows.set(name, row);
      this.#told?.add(name);
      this.#group(row.group).put(row);
    }
    if (!whole) return;
    for (const name of [...this.rows.keys()]) if (!this.#told.has(name)) this.#drop(name);
    this.#told = undefined;
  }

  #group(name) {
    if (!this.groups.has(name)) this.groups.set(name, new Group(name));
    return this.groups.get(name);
  }

  #drop(name) {
    const row = this.rows.get(name);
    if (!row) return;
    this.rows.delete(name);
    const group = this.groups.get(row.group);
    group.drop(row);
    if (group.rows.size === 0) this.groups.delete(row.group);
  }

  counts() {
    const sum = {};
    for (const group of this.groups.values()) {
      for (const [what, n] of Object.entries(group.counts())) sum[what] = (sum[what] ?? 0) + n;
    }
    return sum;
  }

  // trouble are the rows that a person should look at now: who hangs, who has failed
  // since a moment, who leaves, who has left since then and is expected back; the longest
  // first.
  trouble(since) {
    this.#trouble ??= [...this.rows.values()].filter(({ rank, group }) => rank <= ranks.leaving || rank === ranks.left && this.groups.get(group).returns)
      .sort((a, b) => a.rank - b.rank || began(a) - began(b));
    return this.#trouble.filter(({ runs }) => !(runs.at(-1).ended <= since));
  }

  // since is when what is going on began: the first leave of those that followed each
  // other within a time.
  since(now, gap) {
    const leaves = [...this.rows.values()].flatMap(({ runs }) => runs.filter(({ began }) => began))
      .sort((a, b) => b.began - a.began);
    if (leaves.length === 0) return now;
    let first = leaves[0].began;
    for (const { began, ended } of leaves) {
      if (first - (ended ?? now) > gap) break;
      first = Math.min(first, began);
    }
    return first;
  }
}

const began = ({ runs }) => (runs.find(isLeaving) ?? runs.at(-1)).began ?? 0;

class Group {
  rows = new Map();
  #returns = false; // its instances come back under their names: who has left is away
  #counts;
  #order;
  #lanes;

  constructor(name) { this.name = name; }

  put(row) {
    this.rows.set(row.name, row);
    this.#returns ||= row.runs.length > 1;
    this.#dirty();
  }

  drop(row) {
    this.rows.delete(row.name);
    this.#dirty();
  }

  #dirty() {
    this.#counts = this.#order = this.#lanes = undefined;
  }

  // counts says how many names are how. One that is back may still leave under its last run.
  counts() {
    if (this.#counts) return this.#counts;
    const counts = { there: 0, leaving: 0, hang: 0, left: 0, away: 0, failed: 0, back: 0 };
    for (const { runs } of this.rows.values()) {
      const last = runs.at(-1);
      if (last.state === "running") counts.there++;
      if (last.state === "running" && runs.length > 1) counts.back++;
      if (last.state === "left") counts.left++;
      if (isGone(last)) counts.failed++;
      if (runs.some(hangs)) counts.hang++;
      else if (runs.some(isLeaving)) counts.leaving++;
    }
    if (this.#returns) [counts.away, counts.left] = [counts.left, 0];
    return this.#counts = counts;
  }

  get returns() { return this.#returns; }

  get worst() { return this.order()[0]?.rank ?? ranks.running; }

  // order is what goes wrong first, then who leaves, then who has left last, then who is
  // there.
  order() {
    return this.#order ??= [...this.rows.values()].sort((a, b) => a.rank - b.rank || within(a, b) || natural.compare(a.name, b.name));
  }

  matching(terms, now) {
    if (terms.length === 0) return this.order();
    return this.order().filter((row) => {
      const text = searched(row, now);
      return terms.every((term) => text.includes(term));
    });
  }

  // lanes are the runs that have begun to leave, packed into as few lanes as there were
  // of them away at once.
  lanes() {
    if (this.#lanes) return this.#lanes;
    const bars = [...this.rows.values()].flatMap((row) => row.runs.filter(({ began }) => began).map((run) => ({ row, run, lane: 0 })));
    bars.sort((a, b) => a.run.began - b.run.began);
    const ends = [];
    for (const [at, bar] of bars.entries()) {
      let lane = ends.findIndex((end) => end <= bar.run.began + sameMoment);
      if (lane < 0) lane = ends.length < mostLanes ? ends.length : at % mostLanes;
      ends[lane] = bar.run.ended ?? Infinity;
      bar.lane = lane;
    }
    return this.#lanes = { bars, n: ends.length };
  }
}

function within(a, b) {
  const [x, y] = [a.runs.at(-1), b.runs.at(-1)];
  switch (a.rank) {
    case ranks.hangs: case ranks.leaving: return began(a) - began(b);
    case ranks.failed: case ranks.left: return (y.ended ?? 0) - (x.ended ?? 0);
  }
  return 0;
}

const natural = new Intl.Collator("en", { numeric: true });

function searched(row, now) {
  return (row.searched ??= [row.key, ...row.runs.flatMap((run) => [
    run.state, textOf(runState(run, now)), run.by, run.reason, run.forcedBy, ...(run.parts ?? []).flatMap(({ id, error, inside }) => [id, error, ...inside ?? []]),
  ])].filter(Boolean).join(" ").toLowerCase());
}
