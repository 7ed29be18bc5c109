// Speaks MASQNode-UIv2 to the gateway that this page came from.

const subprotocol = "MASQNode-UIv2";
const firstPause = 500; // ms until it is tried again, doubled each time
const lastPause = 8000;

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
  const socket = new WebSocket(new URL("ws", document.baseURI), subprotocol);
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
      setTimeout(() => connect(show, Math.min(2 * pause, lastPause)), pause);
    }
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
