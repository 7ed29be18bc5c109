// How things stand, in words: arrays of text, and of nodes for what others wrote.

import { duration, foreign, seconds } from "./show.js";

const mostNames = 3;

export const isLeaving = (run) => run.state === "withdrawing" || run.state === "awaitingAcks";
export const isGone = (run) => run.state === "failed" || run.state === "expired" || run.state === "gone";

const open = (part) => part.start && !part.end;
const isWrong = ({ outcome, insisted }) => insisted || !["waiting", "stopping", "acked"].includes(outcome);

// hangs: it has been told twice, or does not answer.
export const hangs = (run) => isLeaving(run) && Boolean(run.silent || run.parts?.some((part) => open(part) && part.insisted));

// rank is what is shown first: the smaller, the worse.
export const ranks = { hangs: 0, failed: 1, leaving: 2, back: 3, left: 4, running: 5 };

export function rankOf(row) {
  const last = row.runs.at(-1);
  if (row.runs.some(hangs)) return ranks.hangs;
  if (isGone(last)) return ranks.failed;
  if (row.runs.some(isLeaving)) return ranks.leaving;
  if (row.runs.some(isGone)) return ranks.back;
  return last.state === "left" ? ranks.left : ranks.running;
}

// stateOf says how a row stands.
export function stateOf(row, now) {
  const [run, before] = [row.runs.at(-1), row.runs.at(-2)];
  const said = runState(run, now);
  if (run.state === "running" && before) {
    const away = before.ended && run.joined ? ` after ${duration(run.joined - before.ended)}` : "";
    said.push(isLeaving(before) ? ", while its last run still leaves: " : `, back${away}`);
    if (isLeaving(before)) said.push(...runState(before, now));
    if (isGone(before)) said.push("; its last run: ", ...runState(before, now));
  }
  return said;
}

export function runState(run, now) {
  switch (run.state) {
    case "running": return ["running"];
    case "left": return [`left politely${after(run)}`];
    case "expired": return ["expired: it fell silent, and there is no report"];
    case "gone": return ["gone, and there is no report"];
    case "failed": return why(run);
  }
  return leaving(run, now);
}

const after = (run) => run.ended && run.began ? ` after ${duration(run.ended - run.began)}` : "";

// leaving says on whom it waits, for how long, and how long it still may.
function leaving(run, now) {
  const waits = (run.parts ?? []).filter(open);
  const told = waits.filter((part) => part.insisted);
  const those = told.length ? told : waits;
  const said = [hangs(run) ? "hangs" : run.state === "withdrawing" ? "Withdrawing" : "AwaitingAcks"];
  if (those.length) said.push(hangs(run) ? " on " : ", waits for ", ...names(those, (part) => now - part.start < 1000 ? "" : ` (${seconds(now - part.start)})`));
  if (told.length) said.push(", insisted upon");
  if (run.silent) said.push(`, does not answer for ${seconds(now - run.heard)}`);
  if (run.due && run.due > now) said.push(`, alarm in ${seconds(run.due - now)}`);
  return said;
}

// why says who is to blame.
function why(run) {
  const wrong = (run.parts ?? []).filter(isWrong);
  const counted = wrong.filter((part) => !part.bestEffort);
  const said = names(counted.length ? counted : wrong, (part) => [` ${verdict(part)}`, ...inside(part)]);
  const how = run.forcedBy ? ["forced by ", foreign(run.forcedBy)] : run.timedOut ? ["alarm"] : [];
  return [...said.length ? said : ["failed"], ...how.length ? ["; ", ...how] : [], `; exit code ${run.exit ?? 0}${after(run)}`];
}

export const verdict = ({ outcome, insisted }) =>
  !insisted ? outcome : outcome === "acked" ? "acked when insisted upon" : outcome === "stopping" ? "insisted upon" : outcome;

// inside says who is to blame in another process that this one has waited for.
const inside = (part) => part.inside ? [" (there: ", ...part.inside.flatMap((text, i) => [i ? ", " : "", foreign(text)]), ")"] : [];

const names = (parts, more) => [
  ...parts.slice(0, mostNames).flatMap((part, i) => [i ? ", " : "", foreign(part.id), ...[more(part)].flat()]),
  ...parts.length > mostNames ? [` and ${parts.length - mostNames} more`] : [],
];

// textOf is what is said as a string.
export const textOf = (said) => said.map((piece) => typeof piece === "string" ? piece : piece.textContent).join("");
