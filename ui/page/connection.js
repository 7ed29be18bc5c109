// Speaks MASQNode-UIv2 to the gateway that this page came from.

import { here } from "./show.js";

const subprotocol = "MASQNode-UIv2";
const firstPause = 500; // ms until it is tried again, doubled each time
const lastPause = 8000;
const rarely = 30_000; // ms between two looks for a process that has said goodbye

// The token stands in the fragment, which no server is ever sent; it is taken out
// of the address bar, and kept for reloads of this tab.
function takeToken() {
  const token = location.hash.slice(1);
  if (token) {
    sessionStorage.setItem("token", token);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem("token");
}

// connect keeps a connection, and tells show what comes over it, until the
// process says goodbye.
export function connect(show, pause = firstPause) {
  const socket = new WebSocket(here("ws"), subprotocol);
  const connection = new Connection(socket, show);
  socket.addEventListener("open", () => {
    pause = firstPause;
    connection.start();
  });
  socket.addEventListener("message", ({ data }) => connection.receive(JSON.parse(data)));
  socket.addEventListener("close", ({ code }) => {
    connection.end();
    if (connection.saidGoodbye) {
      show.lost("goodbye");
    } else if (code === 1008) {
      show.lost("This process wants a token: open the page by the URL that `farewell status --open-url` prints.");
    } else {
      show.lost(connection.opened ? "The connection is lost." : "The process cannot be reached.", pause);
      if (!connection.opened) explain(show);
      setTimeout(() => connect(show, Math.min(2 * pause, lastPause)), pause);
    }
  });
}

// explain says more if this page's own server can be reached, and only the WebSocket cannot.
async function explain(show) {
  if (await isReady()) show.hint("The page gets through, but no WebSocket: there are too many UIs, or a proxy does not pass it on.");
}

// isReady reports whether a process is here that is not about to leave.
async function isReady() {
  try {
    return (await fetch(here("readyz"), { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

// returned resolves when a process is at this address again, to what it says of itself,
// or to undefined if it wants another token. It looks ever more rarely, but at once when
// a person looks at the page.
export async function returned() {
  for (let pause = 2 * firstPause; ; pause = Math.min(2 * pause, rarely)) {
    await Promise.race([
      new Promise((resolve) => setTimeout(resolve, pause)),
      new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true })),
    ]);
    if (!await isReady()) continue;
    const answer = await askOnce();
    if (answer) return answer.status;
  }
}

// askOnce resolves to {status}, without one if the process wants another token; to
// undefined if there is none that this page understands.
function askOnce() {
  return new Promise((resolve) => {
    const socket = new WebSocket(here("ws"), subprotocol);
    const connection = new Connection(socket, { logLine() {}, connectionChange() {} });
    const hangUp = setTimeout(() => socket.close(), lastPause);
    socket.addEventListener("message", ({ data }) => connection.receive(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => {
      clearTimeout(hangUp);
      connection.end();
      resolve(code === 1008 ? {} : undefined); // unless it has been resolved before
    });
    socket.addEventListener("open", async () => {
      try {
        const token = takeToken();
        if (token) await connection.call("token", { token });
        const status = await connection.call("status");
        if (status.report.state === "Running") resolve({ status });
        socket.close();
      } catch { } // the gateway closes the connection
    });
  });
}

class Connection {
  #socket;
  #show;
  #waiting = new Map();
  #last = 0;
  opened = false;
  saidGoodbye = false;

  constructor(socket, show) {
    this.#socket = socket;
    this.#show = show;
  }

  async start() {
    this.opened = true;
    const token = takeToken();
    let state;
    try {
      if (token) await this.call("token", { token });
      state = await this.#watch();
    } catch {
      return; // the gateway closes the connection, and says why
    }
    this.#show.watching(state);
  }

  // Events may follow the answer at once: what shows them must be ready.
  #watch() {
    const answer = this.call("watch");
    this.#show.open(this);
    return answer;
  }

  // call resolves to the payload of the answer.
  call(opcode, payload = {}) {
    return new Promise((resolve, reject) => {
      const contextId = ++this.#last;
      this.#waiting.set(contextId, { resolve, reject });
      this.#socket.send(JSON.stringify({ opcode, contextId, payload }));
    });
  }

  async shutdown(reason) {
    this.#goodbye(await this.call("shutdown", reason ? { reason } : {}));
  }

  receive({ opcode, contextId, payload, error }) {
    if (contextId !== undefined) {
      const { resolve, reject } = this.#waiting.get(contextId) ?? {};
      this.#waiting.delete(contextId);
      if (error) reject?.(new Error(error.message));
      else resolve?.(payload);
      return;
    }
    switch (opcode) {
      case "event": return this.#show.event(payload);
      case "goodbye": return this.#goodbye(payload);
      case "logBroadcast": return this.#show.logLine(payload);
      case "connectionChange": return this.#show.connectionChange();
    }
  }

  // Whoever has the report hangs up, so that the process need not wait for it.
  #goodbye(payload) {
    this.saidGoodbye = true;
    this.#show.goodbye(payload);
    this.#socket.close();
  }

  end() {
    for (const { reject } of this.#waiting.values()) reject(new Error("the connection ended"));
    this.#waiting.clear();
  }
}
