// What the page's server tells: one stream, opened again and again.

import { here } from "./show.js";

const firstPause = 500; // ms until it is tried again, doubled each time
const lastPause = 8000;

// follow tells show what comes: message(m), lost(why, again). It never ends.
export function follow(show) {
  let pause = firstPause;
  const open = () => {
    const source = new EventSource(here("events"));
    let watchdog;
    let ended = false;
    const end = (why) => {
      if (ended) return;
      ended = true;
      clearTimeout(watchdog);
      source.close();
      show.lost(why, pause);
      setTimeout(open, pause);
      pause = Math.min(2 * pause, lastPause);
    };
    // A server that hangs, or a machine that slept, is no better than none.
    const expect = (ms) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => end("Nothing is heard of the page's server."), ms);
    };
    let beat = 2000;
    expect(4 * beat);
    source.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.goodbye) return end("The page's server has ended.");
      if (message.reset) beat = message.reset.beatMs;
      pause = firstPause;
      expect(4 * beat);
      show.message(message);
    });
    source.addEventListener("error", () => end("The page's server cannot be reached."));
  };
  open();
}
