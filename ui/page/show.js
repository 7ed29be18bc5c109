// What several parts of the page need.

export const element = (id) => document.getElementById(id);

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
