// Streams: items that go one by one, as the end that reads them gives credit.

import * as messages from "./messages.js";

// The credit of each stream at first, and what lets a message of any size through.
const FIRST_ITEMS = 64;
const FIRST_BYTES = 16384;
const WHOLE = 262144;

// A stream of the other end's: to be read by `for await`, once.
export class RemoteStream {
  #send;
  #number;
  #items = [];
  #taken = 0;
  #bytes = 0;
  #isAsked = false;
  #isStopped = false;
  #end = null; // {error} when it has ended
  #wake = () => {};

  constructor(number, send) {
    this.#number = number;
    this.#send = send;
  }

  // What comes from the other end. Without items, it waits for credit.
  arrived(items, bytes) {
    this.#isAsked = items.length === 0;
    this.#bytes += bytes;
    if (!this.#isStopped) this.#items.push(...items);
    this.#wake();
  }

  ended(error) {
    this.#end = { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        if (this.#items.length > 0) {
          this.#taken += 1;
          yield this.#items.shift();
        } else if (this.#end !== null) {
          if (this.#end.error) throw this.#end.error;
          return;
        } else if (this.#isAsked) {
          this.#isAsked = false;
          const most = [this.#taken + FIRST_ITEMS, this.#bytes + WHOLE];
          this.#send([messages.CREDIT, this.#number, ...most]);
        } else {
          await new Promise((resolve) => (this.#wake = resolve));
        }
      }
    } finally {
      // The loop was left early.
      if (this.#end === null) this.stop();
    }
  }

  stop() {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#items = [];
    this.#send([messages.STOP, this.#number]);
  }
}

// A stream of this end's: the items of any async iterator.
export class LocalStream {
  #items = FIRST_ITEMS;
  #bytes = FIRST_BYTES;
  #isStopped = false;
  #wake = () => {};

  credit(items, bytes) {
    this.#items = Math.max(this.#items, items);
    this.#bytes = Math.max(this.#bytes, bytes);
    this.#wake();
  }

  stop() {
    this.#isStopped = true;
    this.#wake();
  }

  // `write` makes the bytes of a message, `send` sends them.
  async run(number, iterable, write, send) {
    let items = 0;
    let bytes = 0;
    for await (const item of iterable) {
      const message = write([messages.ITEMS, number, [item]]);
      const isAllowed = () =>
        items < this.#items &&
        (bytes + message.length <= this.#bytes || this.#bytes - bytes >= WHOLE);
      if (!isAllowed() && !this.#isStopped) send(write([messages.ITEMS, number, []]));
      while (!isAllowed() && !this.#isStopped) {
        await new Promise((resolve) => (this.#wake = resolve));
      }
      if (this.#isStopped) return;
      send(message);
      items += 1;
      bytes += message.length;
    }
  }
}
