// The last lines of the log.

import { foreign } from "./show.js";

const lines = 200;

export class Log {
  #list;

  constructor(list) { this.#list = list; }

  reset() { this.#list.replaceChildren(); }

  add({ msg, logLevel }) {
    const atEnd = this.#list.scrollTop + this.#list.clientHeight >= this.#list.scrollHeight - 4;
    const line = document.createElement("li");
    line.className = logLevel;
    const level = document.createElement("b");
    level.textContent = logLevel;
    line.append(level, " ", foreign(msg));
    this.#list.append(line);
    while (this.#list.childElementCount > lines) this.#list.firstElementChild.remove();
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }
}
