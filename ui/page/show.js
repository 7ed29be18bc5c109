// What several parts of the page need.

export const element = (id) => document.getElementById(id);

// here is the URL of something beside the page: without the name and password that may
// stand in the page's own, with which nothing can be fetched.
export const here = (path) => new URL(path, location.origin + location.pathname);

// duration is a number of milliseconds for people.
export function duration(ms, coarse = false) {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 100) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return coarse ? `${Math.floor(s)} s` : `${Number(s.toFixed(2))} s`;
  const [m, h] = [Math.floor(s / 60), Math.floor(s / 3600)];
  const [big, small] = h ? [`${h} h`, `${m % 60} min`] : [`${m} min`, `${Math.floor(s % 60)} s`];
  return small.startsWith("0 ") ? big : `${big} ${small}`;
}

// svgOf parses SVG text that this page's own server, or its own worker, has made.
export function svgOf(text) {
  const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  for (const title of svg.querySelectorAll("title")) title.remove(); // they would pop up, and say nothing new
  return document.importNode(svg, true);
}

// What controls a terminal, breaks lines, or reorders text (UAX #9): a reason is written
// by whoever asks, and must not change what stands around it.
const disturbing = /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;

// foreign is text that others wrote, isolated from what stands around it.
export function foreign(text) {
  const isolated = document.createElement("bdi");
  isolated.textContent = String(text).replace(disturbing, " ");
  return isolated;
}

// jsonOf is JSON for people, in which nothing that disturbs is hidden.
export const jsonOf = (value) => JSON.stringify(value, null, 2).replace(disturbing, (c) =>
  c === "\n" ? c : `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
