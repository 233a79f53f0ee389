// A connection: calls in both directions, references, answers on their way, streams.

import net from "node:net";

import * as messages from "./messages.js";
import { LocalStream, RemoteStream } from "./streams.js";
import { Failure, Mine, Promised, StreamNumber, Yours, encode, replaced } from "./values.js";

// The base of objects that go by reference. The other end calls their methods whose
// names begin with `remote_`.
export class Referenceable {}

// An error of the other end's.
export class RemoteError extends Error {
  constructor([names, text]) {
    super(text);
    this.name = names[0];
    this.names = names;
  }
}

// An object of the other end's.
export class Remote {
  constructor(connection, target) {
    this.connection = connection;
    this.target = target;
  }

  // Calls a method; returns a promise of the answer.
  call(name, ...args) {
    return this.connection.call(this.target, name, args).value;
  }

  // Calls a method, and has its answer kept, so that it can be used before it is there.
  begin(name, ...args) {
    return this.connection.call(this.target, name, args, new Map([[2, true]]));
  }

  // Lets go of the object.
  release() {
    this.connection.send([messages.RELEASE, [this.target, 1]]);
  }
}

// A part of an answer: it can be called, and be an argument, before the answer is there.
export class Part extends Remote {
  at(...keys) {
    return new Part(this.connection, [...this.target, ...keys]);
  }
}

export class Answer extends Part {
  // `value` is a promise of the answer.
  constructor(connection, number, value) {
    super(connection, [number]);
    this.value = value;
  }

  // Says that the answer is not used any more.
  finish() {
    this.connection.send([messages.FINISH, ...this.target]);
  }
}

export class Connection {
  #socket;
  #frames;
  #greeted;
  #calls = new Map(); // by number: what becomes of the answer, or of the error
  #lastCall = 0;
  #exports = new Map(); // objects and streams of this end's, by number
  #numbers = new Map(); // numbers of the objects
  #lastNumber = 0;
  #streams = new Map(); // streams of the other end's, by number
  #queue = []; // a call that waits for credit, and what comes behind it
  #credit = { calls: 0, bytes: 0 }; // what may have been begun in all
  #begun = { calls: 0, bytes: 0 };

  // Returns a promise of a connection on which messages can be sent.
  static open(host, port) {
    return new Promise((resolve, reject) => new Connection(host, port, resolve, reject));
  }

  constructor(host, port, resolve, reject) {
    this.#greeted = resolve;
    this.#socket = net.connect(port, host);
    this.#frames = new messages.Frames(this.#socket, (...message) => this.#take(...message));
    this.#socket.on("data", (bytes) => {
      try {
        this.#frames.arrived(bytes);
      } catch (error) {
        this.#socket.destroy(error);
      }
    });
    this.#socket.on("error", reject);
    this.#socket.on("close", () => {
      const error = new Error("the connection is lost");
      for (const call of this.#calls.values()) call.reject(error);
      for (const stream of this.#streams.values()) stream.ended(error);
      for (const { stream } of this.#exports.values()) stream?.stop();
      reject(error);
    });
    // The other end's calls are not bounded here, so no credit has to be told later.
    const most = Number.MAX_SAFE_INTEGER;
    const limits = { calls: most, bytes: most, lanes: 127, streams: 100 };
    const terms = { version: [1, 1], features: [], max_frame: messages.MAX_FRAME };
    this.#frames.choose();
    this.#frames.send(encode([messages.HELLO, { ...terms, limits }]));
  }

  get root() {
    return new Remote(this, "root");
  }

  close() {
    this.#socket.end();
  }

  // Messages out

  call(target, name, args, options = new Map()) {
    const number = (this.#lastCall += 1);
    const value = new Promise((resolve, reject) => this.#calls.set(number, { resolve, reject }));
    value.catch(() => {}); // it is no fault if only parts of it are looked at
    const starts = [];
    const sent = replaced(args, (each) => this.#outward(each, starts));
    const message = [messages.CALL, number, target, name, sent, {}, options];
    this.send(message, true, () => starts.forEach((start) => start()));
    return new Answer(this, number, value);
  }

  // Sends a message; one that needs credit waits for it, and all others behind it.
  send(message, needsCredit = false, sent = () => {}) {
    this.#queue.push({ bytes: encode(message), needsCredit, sent });
    this.#flush();
    if (this.#queue.length > 0) this.#frames.send(encode([messages.PING, 0]));
  }

  #flush() {
    while (this.#queue.length > 0) {
      const { bytes, needsCredit, sent } = this.#queue[0];
      if (needsCredit) {
        const calls = this.#begun.calls + 1;
        const size = this.#begun.bytes + bytes.length;
        if (calls > this.#credit.calls || size > this.#credit.bytes) return;
        this.#begun = { calls, bytes: size };
      }
      this.#queue.shift();
      this.#frames.send(bytes);
      sent();
    }
  }

  // Returns what stands for a value on the wire.
  #outward(value, starts) {
    if (value instanceof Part) {
      return new Promised(value.target.length === 1 ? value.target[0] : value.target);
    }
    if (value instanceof Remote) {
      return new Yours(typeof value.target === "string" ? [value.target] : value.target);
    }
    if (value instanceof Referenceable) return new Mine(this.#export(value));
    if (!value?.[Symbol.asyncIterator]) return value;
    const number = (this.#lastNumber += 1);
    starts.push(() => this.#produce(number, value));
    return new StreamNumber(number);
  }

  #export(object) {
    let number = this.#numbers.get(object);
    if (number === undefined) {
      number = this.#lastNumber += 1;
      this.#numbers.set(object, number);
      this.#exports.set(number, { object, count: 0 });
    }
    this.#exports.get(number).count += 1;
    return number;
  }

  async #produce(number, iterable) {
    const stream = new LocalStream();
    this.#exports.set(number, { stream });
    const write = (message) => encode(replaced(message, (each) => this.#outward(each, [])));
    let end = [messages.END, number];
    try {
      await stream.run(number, iterable, write, (bytes) => this.#frames.send(bytes));
    } catch (error) {
      end = [...end, failureOf(error)];
    }
    this.#exports.delete(number);
    this.send(end);
  }

  // Messages in

  // Returns the meaning of a value on the wire.
  #inward(value) {
    if (value instanceof Mine) return new Remote(this, value.content);
    if (value instanceof Yours) return this.#exports.get(value.content)?.object;
    if (value instanceof Failure) return new RemoteError(value.content);
    if (!(value instanceof StreamNumber)) return value;
    const stream = new RemoteStream(value.content, (message) => this.send(message));
    this.#streams.set(value.content, stream);
    return stream;
  }

  #take(message, size) {
    const [kind, number, ...rest] = replaced(message, (each) => this.#inward(each));
    if (kind === messages.HELLO) this.#greet(number);
    else if (kind === messages.CALL) this.#serve(number, ...rest);
    else if (kind === messages.ANSWER) this.#settled(number).resolve(rest[0]);
    else if (kind === messages.ERROR) this.#settled(number).reject(rest[0]);
    else if (kind === messages.RELEASE) [number, ...rest].forEach(this.#released, this);
    else if (kind === messages.ITEMS) this.#streams.get(number).arrived(rest[0], size);
    else if (kind === messages.END) {
      this.#streams.get(number).ended(rest[0]);
      this.#streams.delete(number);
    } else if (kind === messages.CREDIT) this.#exports.get(number)?.stream.credit(...rest);
    else if (kind === messages.STOP) this.#exports.get(number)?.stream.stop();
    else if (kind === messages.ACK) this.#grant(...rest);
    else if (kind === messages.PING) this.#frames.send(encode([messages.PONG, number]));
    else if (kind === messages.DROP) this.#frames.forget(number);
    // The others ask nothing of this end: it keeps no answers and no copies, and lets
    // its methods run to their ends.
  }

  #greet(terms) {
    const [lowest, highest] = terms.get("version");
    if (lowest > 1 || highest < 1) throw new Error("the server speaks another version of pb2");
    this.#frames.mostBytes = Math.min(terms.get("max_frame"), messages.MAX_FRAME);
    this.#grant(terms.get("limits").get("bytes"), terms.get("limits").get("calls"));
    this.#greeted(this);
  }

  #grant(bytes, calls) {
    this.#credit = { bytes, calls };
    this.#flush();
  }

  #settled(number) {
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    return call;
  }

  #released([number, count]) {
    const entry = this.#exports.get(number);
    entry.count -= count;
    if (entry.count > 0) return;
    this.#exports.delete(number);
    this.#numbers.delete(entry.object);
  }

  async #serve(number, target, name, args, keywords, options) {
    const starts = [];
    let reply;
    try {
      for (const key of options?.keys() ?? []) {
        if (key < 0) throw new NotExecuted(`option ${key} is not known here`);
      }
      const method = this.#exports.get(target)?.object?.[`remote_${name}`];
      if (typeof method !== "function") throw new NotExecuted(`no method ${name}`);
      const value = await method.apply(this.#exports.get(target).object, args);
      reply = [messages.ANSWER, number, replaced(value, (each) => this.#outward(each, starts))];
    } catch (error) {
      reply = [messages.ERROR, number, failureOf(error)];
    }
    if (number !== 0) this.send(reply, false, () => starts.forEach((start) => start()));
  }
}

class NotExecuted extends Error {
  names = ["pb_broker.errors.NotExecuted"];
}

function failureOf(error) {
  const names = error.names ?? [`javascript.${error.name}`, "builtins.Exception"];
  return new Failure([names, String(error.message), null]);
}
