// Checks of the example in JavaScript, which are run in a copy of its folder.

import assert from "node:assert/strict";
import { Connection, Referenceable } from "./connection.js";
import { Tuple } from "./values.js";

const connection = await Connection.open("127.0.0.1", Number(process.argv[2]));
const root = connection.root;

// Values.
const values = [null, true, -1, 2 ** 40, -(2 ** 40), 1.5, "é", Buffer.from([0, 255])];
assert.deepEqual(await root.call("echo", ...values), values);
assert.deepEqual(await root.call("echo", 2n ** 100n, undefined), [2n ** 100n, null]);
const map = new Map([[1, [2]], ["a", new Tuple(1, new Tuple())]]);
assert.deepEqual(await root.call("echo", map, { b: {} }), [map, new Map([["b", new Map()]])]);

// Objects and errors.
class Bell extends Referenceable {
  remote_ring() { return this; }
  remote_fail() { throw new TypeError("no bell"); }
}
const bell = new Bell();
assert.equal((await root.call("echo", bell))[0], bell);
assert.equal(await root.call("call", bell, "ring"), bell);
assert.deepEqual(await root.call("call", bell, "fail"), ["no bell", "javascript.TypeError"]);
assert.equal((await root.call("call", bell, "constructor"))[1], "pb_broker.errors.NotExecuted");
assert.equal((await root.call("echo", root))[0].constructor, root.constructor);

// Large messages, in pieces in both directions, and small ones beside them.
const large = Buffer.alloc(600_000, 7);
const [first, second] = await Promise.all([root.call("echo", large), root.call("echo", 1)]);
assert(large.equals(first[0]));
assert.deepEqual(second, [1]);

// More calls than there is credit for.
const many = await Promise.all(Array.from({ length: 500 }, (_, n) => root.call("echo", n)));
assert.deepEqual(many.map(([n]) => n), Array.from({ length: 500 }, (_, n) => n));

// Answers on their way, as targets and arguments, and one that is an error.
const kept = root.begin("echo", [10, { a: [11] }]);
const echoed = root.call("echo", kept.at(0, 1, "a", 0), kept);
assert.deepEqual(await echoed, [11, [[10, new Map([["a", [11]]])]]]);
kept.finish();
const failed = root.begin("missing");
await assert.rejects(failed.at(0).call("x"), { name: "twisted.spread.flavors.NoSuchMethod" });

// Streams: large items, an early end at either side, and an error.
const sizes = [];
for await (const item of await root.call("sizes", 20_000, 10, 500_000, 0)) sizes.push(item.length);
assert.deepEqual(sizes, [20_000, 10, 500_000, 0]);
for await (const item of await root.call("sizes", ...Array(1000).fill(1000))) break;
async function* endless() { for (let n = 5; ; n += 1) yield n; }
assert.equal(await root.call("first", endless()), 5);
async function* failing() { throw new RangeError("no item"); }
await assert.rejects(root.call("first", failing()), { message: /no item/ });

connection.close();
console.log("all is well");
