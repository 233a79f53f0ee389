// Values: CBOR with the tags of docs/protocol-pb2.md, by npm's cbor-x.

import { Encoder, addExtension } from "cbor-x";

// An array is a list in Python; this is a tuple.
export class Tuple extends Array {}

// The values of a connection, as they are on the wire: a number, or an array.
class Connected {
  constructor(content) {
    this.content = content;
  }
}
export class Mine extends Connected {} // an object of the sender's
export class Yours extends Connected {} // an object of the receiver's
export class Promised extends Connected {} // a part of an answer that is on its way
export class StreamNumber extends Connected {}
export class Failure extends Connected {} // [names of classes, text, traceback, ...]

const TAGS = [
  [47543, Mine],
  [47544, Yours],
  [47547, Promised],
  [47548, StreamNumber],
  [47549, Failure],
];
for (const [tag, Class] of TAGS) {
  addExtension({
    Class,
    tag,
    encode: (value, encode) => encode(value.content),
    decode: (content) => new Class(content),
  });
}
addExtension({
  Class: Tuple,
  tag: 47536,
  encode: (tuple, encode) => encode(Array.from(tuple)),
  decode: (items) => Tuple.from(items),
});

// Plain maps and byte strings: none of the tags that are cbor-x's own. What comes is
// a Map, since its keys need not be texts.
const codec = new Encoder({
  useRecords: false,
  mapsAsObjects: false,
  useTag259ForMaps: false,
  variableMapSize: true,
  tagUint8Array: false,
});

export const encode = (value) => codec.encode(replaced(value, plain));

// Calls `take` with each message of a frame.
export function decodeAll(bytes, take) {
  codec.decodeMultiple(bytes, (message) => void take(replaced(message, exact)));
}

// Returns a value with others in the place of those in it that are no arrays and maps.
export function replaced(value, put) {
  if (value instanceof Tuple) {
    return Tuple.from(Array.from(value, (item) => replaced(item, put)));
  }
  if (Array.isArray(value)) return value.map((item) => replaced(item, put));
  if (value instanceof Map) {
    const entries = [...value].map((entry) => replaced(entry, put));
    return new Map(entries);
  }
  if (value?.constructor === Object) {
    return replaced(new Map(Object.entries(value)), put);
  }
  return put(value);
}

// cbor-x writes integers of more than 32 bits as floats, unless they are BigInts; and
// pb2 has one value for nothing, which is null.
function plain(value) {
  if (value === undefined) return null;
  if (value instanceof Connected) return new value.constructor(replaced(value.content, plain));
  return Number.isSafeInteger(value) && Math.abs(value) > 0xffffffff ? BigInt(value) : value;
}

// It reads integers of 64 bits as BigInts.
function exact(value) {
  if (value instanceof Connected) return new value.constructor(replaced(value.content, exact));
  if (typeof value !== "bigint") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
