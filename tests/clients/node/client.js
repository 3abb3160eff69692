// node-redis with default settings, writing a ledger of every answer; see ../README.md.
import { openSync, writeSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "redis";

const BREATH_MS = 2;

const { values: args } = parseArgs({
  options: {
    host: { type: "string" },
    port: { type: "string" },
    password: { type: "string" },
    id: { type: "string" },
    ledger: { type: "string" },
    seconds: { type: "string", default: "Infinity" },
  },
});

let stopping = false;
process.on("SIGTERM", () => { stopping = true; });

const ledger = openSync(args.ledger, "w");
const write = (line) => writeSync(ledger, line.replaceAll("\n", " ") + "\n");

const client = createClient({
  socket: { host: args.host, port: Number(args.port) },
  password: args.password,
});
// Without a listener an error event ends the program; the library reconnects by itself.
client.on("error", () => {});
await client.connect();

const started = performance.now();
let last = started;
let gap = 0;
for (let turn = 1; !stopping && performance.now() - started < Number(args.seconds) * 1000; turn++) {
  for (const operation of ["incr", "append"]) {
    let line;
    try {
      line = operation === "incr"
        ? `incr ${await client.incr(`c:${args.id}`)}`
        : `append ${turn} ${await client.append(`log:${args.id}`, `${turn},`)}`;
    } catch (error) {
      line = `error ${operation} ${error.constructor.name}: ${error.message}`;
      await sleep(50);
    }
    const now = performance.now();
    gap = Math.max(gap, now - last);
    last = now;
    write(line);
  }
  await sleep(BREATH_MS);
}
write(`end ${gap.toFixed(1)}`);
client.destroy();
