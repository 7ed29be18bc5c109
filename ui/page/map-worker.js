// Lays a graph out, away from the page: that takes a while.

import { instance } from "./viz/viz.js";

const viz = instance();
const look = {
  graphAttributes: { bgcolor: "transparent", nodesep: 0.4 },
  nodeAttributes: { fontname: "Helvetica", fontsize: 11 },
  edgeAttributes: { arrowsize: 0.6 },
};

addEventListener("message", async ({ data: dot }) => {
  try {
    postMessage({ svg: (await viz).renderString(dot, { format: "svg", engine: "dot", ...look }) });
  } catch (error) {
    postMessage({ error: error.message });
  }
});
