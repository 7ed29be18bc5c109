// One instance's runs on the axis: what it ran, stopped, and when it was away.

import { make, plain, duration } from "./show.js";
import { isLeaving, verdict } from "./words.js";

const parallel = 4; // components in one track, one above the other

// draw fills a track with the runs of a row.
export function draw(track, row, axis) {
  const bars = [];
  for (const [i, run] of row.runs.entries()) {
    const next = row.runs[i + 1];
    bars.push(...lifeOf(run, axis), ...leaveOf(run, axis));
    if (run.ended && run.state !== "running") bars.push(...endOf(run, next, axis));
  }
  track.replaceChildren(...bars);
}

function lifeOf(run, axis) {
  const end = run.began ?? run.ended;
  const life = [bar("alive", run.joined, end, axis)];
  if (run.joined) life.push(mark("joined", run.joined, "joined", axis));
  return life;
}

function leaveOf(run, axis) {
  if (!run.began) return [];
  const leave = bar(`leave ${run.state}`, run.began, isLeaving(run) ? undefined : run.ended, axis);
  const parts = (run.parts ?? []).filter(({ start }) => start).sort((a, b) => a.start - b.start);
  const ends = [];
  const bars = parts.map((part) => {
    let lane = ends.findIndex((end) => end <= part.start);
    if (lane < 0) lane = Math.min(ends.length, parallel - 1);
    ends[lane] = Math.max(part.end ?? Infinity, ends[lane] ?? 0);
    return [part, lane];
  });
  const height = 100 / Math.max(1, ends.length);
  return [leave, ...bars.map(([part, lane]) => {
    const made = bar(`part ${part.outcome}${part.insisted ? " insisted" : ""}`, part.start, part.end, axis);
    made.style.top = `${lane * height}%`;
    made.style.height = `${height}%`;
    made.title = plain(`${part.id}: ${verdict(part)}${part.end ? ` after ${duration(part.end - part.start)}` : ""}`);
    return made;
  }), ...run.withdrew ? [mark("withdrew", run.withdrew, "withdrawn from the registry", axis)] : []];
}

function endOf(run, next, axis) {
  const away = bar(`away ${run.state}`, run.ended, next ? next.joined ?? run.ended : undefined, axis);
  return [away, mark(`end ${run.state}`, run.ended, run.state, axis)];
}

// bar lasts to now if it has no end, and began before everything if it has no beginning.
function bar(name, from, to, axis) {
  const made = make("i", name);
  made.style.setProperty("--from", from === undefined ? "var(--begin)" : axis.at(from));
  made.style.setProperty("--to", to === undefined ? "var(--now)" : axis.at(to));
  return made;
}

function mark(name, at, title, axis) {
  const made = bar(`mark ${name}`, at, at, axis);
  made.title = title;
  return made;
}
