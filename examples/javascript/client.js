// Calls a server in Python, as guest: `node client.js PORT`. It is guest_server.py.

import { Connection, Referenceable } from "./connection.js";

class Bell extends Referenceable {
  remote_ring(number) {
    return `ding ${number}`;
  }
}

async function* countdown(from) {
  for (let number = from; number > 0; number -= 1) yield number;
}

const connection = await Connection.open("127.0.0.1", Number(process.argv[2]));

// Anonymous login: the argument is the mind, of which there is none.
const guest = await connection.root.call("loginAnonymous", null);
console.log("sum:", await guest.call("add", 2, 3));

// The server calls an object of ours, as often as it likes.
console.log("called back:", await guest.call("ring", new Bell(), 2));

// A call of a part of an answer that is on its way: one round trip for both.
const folder = guest.begin("open", "news");
console.log("in the folder:", await folder.at("files", 0).call("read"));
folder.finish();

// A stream of the server's, of which no more is made than is read.
let sum = 0;
for await (const number of await guest.call("count", 1_000_000)) {
  sum += number;
  if (number === 1000) break;
}
console.log("read from a stream:", sum);

// A stream of ours, which the server reads.
console.log("sent by a stream:", await guest.call("sum", countdown(1000)));

try {
  await guest.call("divide", 1, 0);
} catch (error) {
  console.log("refused:", error.name);
}

guest.release(); // which logs out
connection.close();
