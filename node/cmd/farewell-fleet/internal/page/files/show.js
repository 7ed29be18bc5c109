// What several parts of the page need.

export const element = (id) => document.getElementById(id);

// here is the URL of something beside the page: without the name and password that may
// stand in the page's own, with which nothing can be fetched.
export const here = (path) => new URL(path, location.origin + location.pathname);

// make makes an element of a class, with what is in it.
export function make(tag, className = "", ...inside) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...inside);
  return made;
}

// duration is a number of milliseconds for people.
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = ms / 1000;
  if (s < 10) return `${Number(s.toFixed(1))} s`;
  return seconds(ms);
}

// seconds is the same in whole seconds, for what goes on.
export function seconds(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const [m, h] = [Math.floor(s / 60), Math.floor(s / 3600)];
  const [big, small] = h ? [`${h} h`, `${m % 60} min`] : [`${m} min`, `${s % 60} s`];
  return small.startsWith("0 ") ? big : `${big} ${small}`;
}

export const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

// What controls a terminal, breaks lines, or reorders text (UAX #9): a reason is written
// by whoever asks, and must not change what stands around it.
const disturbing = /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;

export const plain = (text) => String(text).replace(disturbing, " ");

// foreign is text that others wrote, isolated from what stands around it.
export function foreign(text) {
  const isolated = document.createElement("bdi");
  isolated.textContent = plain(text);
  return isolated;
}

// lines is foreign text of several lines, as a stack is.
export const lines = (text) => String(text).replace(disturbing, (c) => c === "\n" || c === "\t" ? c : " ");

// jsonOf is JSON for people, in which nothing that disturbs is hidden.
export const jsonOf = (value) => JSON.stringify(value, null, 2).replace(disturbing, (c) =>
  c === "\n" ? c : `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
