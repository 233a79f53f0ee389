// Negotiation, frames, and the numbers of messages: docs/protocol-pb2-messages.md.

import { decodeAll } from "./values.js";

export const HELLO = 0;
export const CALL = 1;
export const ANSWER = 2;
export const ERROR = 3;
export const FINISH = 5;
export const RELEASE = 6;
export const ITEMS = 9;
export const END = 10;
export const CREDIT = 11;
export const ACK = 12;
export const PING = 13;
export const PONG = 14;
export const DROP = 18;
export const STOP = 19;

// The most bytes of a frame's payload that are taken here.
export const MAX_FRAME = 65536;

const CHOICE = Buffer.from("\x03\x82pb2", "latin1");

// Turns bytes into messages and back. `take` is called with each message and with the
// bytes of the frame that it came in.
export class Frames {
  #socket;
  #take;
  #bytes = Buffer.alloc(0);
  #isChosen = false;
  #lanes = new Map();
  mostBytes = 16384; // of a payload, until the other end has said more

  constructor(socket, take) {
    this.#socket = socket;
    this.#take = take;
  }

  arrived(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    if (!this.#isChosen && !this.#choose()) return;
    while (this.#bytes.length >= 4) {
      const length = this.#bytes.readUIntBE(0, 3);
      const lane = this.#bytes[3];
      if (this.#bytes.length < 4 + length) return;
      const payload = this.#bytes.subarray(4, 4 + length);
      this.#bytes = this.#bytes.subarray(4 + length);
      if (lane === 0) this.#read(payload);
      else this.#piece(lane, payload);
    }
  }

  // The server's offer is a list of byte strings: its length and 0x80, and for each of
  // them the length, 0x82 and the string.
  #choose() {
    const bytes = this.#bytes;
    const names = [];
    let place = 2;
    while (names.length < bytes[0] && place + 2 + bytes[place] <= bytes.length) {
      const end = place + 2 + bytes[place];
      names.push(bytes.toString("latin1", place + 2, end));
      place = end;
    }
    if (bytes.length < 2 || names.length < bytes[0]) return false;
    if (!names.includes("pb2")) throw new Error("the server does not speak pb2");
    this.#bytes = bytes.subarray(place);
    this.#isChosen = true;
    return true;
  }

  #read(payload) {
    decodeAll(payload, (message) => this.#take(message, payload.length));
  }

  // A large message comes in pieces: its length in eight bytes, then itself. The last
  // piece has 128 more in its lane.
  #piece(lane, payload) {
    const pieces = this.#lanes.get(lane & 127) ?? [];
    pieces.push(payload);
    this.#lanes.set(lane & 127, pieces);
    if (lane < 128) return;
    this.#lanes.delete(lane & 127);
    const whole = Buffer.concat(pieces);
    if (Number(whole.readBigUInt64BE(0)) !== whole.length - 8) {
      throw new Error("a message is not as long as it has said");
    }
    this.#read(whole.subarray(8));
  }

  forget(lane) {
    this.#lanes.delete(lane);
  }

  choose() {
    this.#socket.write(CHOICE);
  }

  send(message) {
    if (message.length <= this.mostBytes) {
      this.#frame(0, message);
      return;
    }
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(message.length));
    const bytes = Buffer.concat([length, message]);
    for (let place = 0; place < bytes.length; place += this.mostBytes) {
      const isLast = place + this.mostBytes >= bytes.length;
      this.#frame(isLast ? 129 : 1, bytes.subarray(place, place + this.mostBytes));
    }
  }

  #frame(lane, payload) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(payload.length * 256 + lane);
    this.#socket.write(Buffer.concat([head, payload]));
  }
}
