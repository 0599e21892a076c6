// Fails when the runner itself does otherwise than k6 with a script: what ends an iteration, what counts, exit codes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";

const ONCE = "executor: 'per-vu-iterations', vus: 2, iterations: 1";
const MAIN = fileURLToPath(new URL("../runner/main.js", import.meta.url));
let folder;
let server;
let url;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "runner-"));
  server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => {
      if (data.toString() === "restart") socket.close(1012, '{"retry_in_ms":7}');
      else if (data.toString() === "die") socket.terminate();
      else socket.send(data, { binary: isBinary });
    });
  });
  await once(server, "listening");
  url = `ws://127.0.0.1:${server.address().port}/`;
});

after(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

/// Runs a script; `executor` and `thresholds` are its options.
async function run(body, { executor = ONCE, thresholds = "{}" } = {}) {
  const script = join(folder, "script.ts");
  const summary = join(folder, "summary.json");
  await rm(summary, { force: true });
  await writeFile(script, `
    import { WebSocket } from "k6/websockets";
    import { setTimeout } from "k6/timers";
    import { Counter, Rate } from "k6/metrics";
    import exec from "k6/execution";
    const seen = new Counter("seen");
    export const options = { scenarios: { s: { ${executor} } }, thresholds: ${thresholds} };
    ${body}
  `);
  const child = spawn(process.execPath, [MAIN, "run", "-e", `URL=${url}`, "--summary-export", summary, script]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const [code] = await once(child, "exit");
  const text = await readFile(summary, "utf8").catch(() => "{}");
  return { code, output, metrics: JSON.parse(text).metrics ?? {} };
}

test("an iteration lasts as long as its sockets and timers", async () => {
  const { code, metrics, output } = await run(`
    export default () => {
      const socket = new WebSocket(__ENV.URL, null, { tags: { name: "echo" } });
      socket.onopen = () => socket.send("hello");
      socket.onmessage = ({ data }) => {
        if (data === "hello") setTimeout(() => { seen.add(1); socket.close(); }, 50);
      };
    };
  `);
  assert.equal(code, 0, output);
  assert.equal(metrics.seen.count, 2);
  assert.equal(metrics.iterations.count, 2);
  assert.equal(metrics.ws_sessions.count, 2);
  assert.equal(metrics.ws_connecting.count, 2);
  assert.ok(metrics.iteration_duration.min >= 50);
});

test("virtual users share metrics and nothing else", async () => {
  const { metrics, output } = await run(`
    let mine = 0;
    export default async () => { mine += 1; seen.add(mine === 1 && exec.vu.idInTest <= 2 ? 1 : 100); };
  `);
  assert.equal(metrics.seen.count, 2, output);
});

test("a close by the server tells code and reason, first as an error and then as the end", async () => {
  const { metrics, output } = await run(`
    export default () => {
      const order = [];
      const socket = new WebSocket(__ENV.URL);
      socket.addEventListener("open", () => socket.send("restart"));
      socket.addEventListener("error", ({ error }) => order.push(error));
      socket.addEventListener("close", ({ code, reason }) => {
        const told = order.length === 1 && order[0].startsWith("websocket: close 1012: {");
        seen.add(told && code === 1012 && JSON.parse(reason).retry_in_ms === 7 ? 1 : 100);
      });
    };
  `);
  assert.equal(metrics.seen.count, 2, output);
});

test("a socket that is torn ends with 1006, and so does one that was never let in", async () => {
  const { metrics, output } = await run(`
    const count = (socket) => socket.addEventListener("close", ({ code }) => seen.add(code === 1006 ? 1 : 100));
    export default () => {
      const torn = new WebSocket(__ENV.URL);
      torn.onopen = () => torn.send("die");
      count(torn);
      count(new WebSocket("ws://127.0.0.1:1/"));
    };
  `);
  assert.equal(metrics.seen.count, 4, output);
});

test("a missed threshold is 99, and what cannot be asked is 104", async () => {
  const body = "export default async () => { seen.add(1); };";
  assert.equal((await run(body, { thresholds: "{ seen: ['count==2'] }" })).code, 0);
  const missed = await run(body, { thresholds: "{ seen: ['count<2'] }" });
  assert.equal(missed.code, 99);
  assert.equal(missed.metrics.seen.thresholds["count<2"], true);
  assert.equal((await run(body, { thresholds: "{ unseen: ['count<2'] }" })).code, 104);
  assert.equal((await run(body, { executor: "executor: 'ramping-vus', stages: []" })).code, 104);
  assert.equal((await run("import 'k6/browser'; " + body)).code, 104);
});

test("an iteration that throws, also in a handler, is not counted as done", async () => {
  for (const body of [
    "export default async () => { throw new Error('on purpose'); };",
    "export default () => { setTimeout(() => { throw new Error('on purpose'); }, 1); };",
    "export default () => { new WebSocket(__ENV.URL).onopen = () => { throw new Error('on purpose'); }; };",
  ]) {
    const { code, output } = await run(body, { thresholds: "{ iterations: ['count==2'] }" });
    assert.equal(code, 99, output);
    assert.match(output, /on purpose/);
  }
});

test("an iteration that does not end is ended, and not counted", async () => {
  const { code, output } = await run("export default () => { new WebSocket(__ENV.URL); };", {
    executor: "executor: 'per-vu-iterations', vus: 2, maxDuration: '200ms', gracefulStop: '100ms'",
    thresholds: "{ iterations: ['count==2'] }",
  });
  assert.equal(code, 99, output);
  assert.match(output, /interrupted/);
});

test("arrivals come at their rate, and those for whom nobody is free are dropped", async () => {
  const body = "export default () => { setTimeout(() => {}, 150); };";
  const rate = "executor: 'constant-arrival-rate', rate: 20, timeUnit: '1s', duration: '1s'";
  const thresholds = "{ dropped_iterations: ['count==0'] }";
  const many = await run(body, { executor: `${rate}, preAllocatedVUs: 20`, thresholds });
  assert.equal(many.code, 0, many.output);
  assert.equal(many.metrics.iterations.count, 20);
  const few = await run(body, { executor: `${rate}, preAllocatedVUs: 2`, thresholds });
  assert.equal(few.code, 99, few.output);
  assert.equal(few.metrics.iterations.count + few.metrics.dropped_iterations.count, 20);
});
